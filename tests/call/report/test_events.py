"""The feed of a call's events: everybody is told, and nobody who listens can harm the call."""

import pytest
from structlog.testing import capture_logs

from relay.call.report.events import LISTENERS_MAX, CallEvent, EventFeed, Said, Speech, StateChanged


def test_everybody_who_listens_is_told_everything_in_order() -> None:
    feed = EventFeed()
    first: list[CallEvent] = []
    second: list[CallEvent] = []
    events: list[CallEvent] = [
        Speech("user", started=True),
        Said("user", "hello", final=True),
        StateChanged("ended", "idle"),
    ]
    feed.publish(events[0])
    with feed.listening(first.append), feed.listening(second.append):
        for event in events:
            feed.publish(event)
    feed.publish(events[0])

    assert first == second == events


def test_a_listener_that_fails_is_heard_of_once_and_the_others_go_on() -> None:
    feed = EventFeed()
    told: list[CallEvent] = []

    def fail(event: CallEvent) -> None:
        raise ValueError("listener")

    with capture_logs() as logs, feed.listening(fail), feed.listening(told.append):
        feed.publish(Speech("user", started=True))
        feed.publish(Speech("user", started=False))

    assert len(told) == 2
    assert [line["event"] for line in logs] == ["events.listener_failed"]


def test_only_so_many_may_listen() -> None:
    feed = EventFeed()
    told: list[CallEvent] = []
    contexts = [feed.listening(told.append) for _ in range(LISTENERS_MAX + 1)]
    room = [context.__enter__() for context in contexts]
    feed.publish(Speech("user", started=True))

    assert room == [True] * LISTENERS_MAX + [False]
    assert len(told) == LISTENERS_MAX
    for context in contexts:
        context.__exit__(None, None, None)
    feed.publish(Speech("user", started=True))
    assert len(told) == LISTENERS_MAX


@pytest.mark.parametrize("text", ["hello", ""])
def test_what_was_said_is_not_in_a_repr(text: str) -> None:
    assert "hello" not in repr(Said("user", text, final=True))
