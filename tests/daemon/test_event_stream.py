"""Events as server-sent events: one line of ASCII each, whatever the words, under the names that are documented."""

import json

import pytest

from relay.call.report.assistant_events import AssistantLost, HandedOff, Said
from relay.call.report.events import CallEvent, StateChanged
from relay.call.report.interruption_events import InterruptionSettled
from relay.call.report.listeners import CallNews
from relay.daemon.event_stream import news_block


@pytest.mark.parametrize(
    ("event", "name", "values"),
    [
        (Said("user", "a\nb\r\u2028\u0085ä", final=False), "partial", {"role": "user", "text": "a\nb\r\u2028\u0085ä"}),
        (StateChanged("ended", "idle"), "state", {"status": "ended", "reason": "idle"}),
        (
            AssistantLost(error="no pong", close_code=1006),
            "error",
            {"leg": "assistant", "code": "ASSISTANT_LOST", "error": "no pong"},
        ),
        (HandedOff(to="desk"), "assistant.handed_off", {"to": "desk"}),
        (InterruptionSettled(3, "expired", 80.0), "bargein.settled", {"turn": 3, "by": "expired"}),
    ],
)
def test_an_event_is_one_block_of_three_lines(event: CallEvent, name: str, values: dict[str, object]) -> None:
    news = CallNews("the-call", 1.23456, event)
    of_one, of_all = (news_block(news, of_one=of_one).decode("ascii") for of_one in (True, False))
    lines = of_one.split("\n")

    assert lines[0] == f"event: {name}"
    assert json.loads(lines[1].removeprefix("data: ")) == {"at_s": 1.235, **values}
    assert lines[2:] == ["", ""]
    assert len(of_one.splitlines()) == 3
    assert json.loads(of_all.split("\n")[1].removeprefix("data: "))["call_id"] == "the-call"
