"""What a call says once becomes a log line, a count, and news for everybody who listens; none of them can harm it."""

from structlog.testing import capture_logs

from relay.call.report.assistant_events import Said
from relay.call.report.events import BadCallerMessage, CallEvent, CallStarted, Speech, StateChanged
from relay.call.report.listeners import LISTENERS_MAX
from relay.call.report.report import Report
from relay.errors import RemoteProtocolError
from relay.metrics import Metrics


def a_report() -> Report:
    return Report("the-call", Metrics())


def test_one_event_is_logged_with_the_call_counted_and_told() -> None:
    metrics = Metrics()
    told: list[CallEvent] = []
    with capture_logs() as logs:
        report = Report("the-call", metrics)
        with report.listeners.listening(told.append):
            report.tell(CallStarted("CA1"))

    assert logs == [
        {"event": "call.started", "log_level": "info", "call_id": "the-call", "call_sid": "CA1", "generation": 1}
    ]
    assert metrics.registry.get_sample_value("relay_calls_active") == 1
    assert told == [CallStarted("CA1")]


def test_everybody_who_listens_is_told_everything_in_order() -> None:
    report = a_report()
    first: list[CallEvent] = []
    second: list[CallEvent] = []
    events: list[CallEvent] = [
        Speech("user", started=True),
        Said("user", "hello", final=True),
        StateChanged("ended", "idle"),
    ]
    report.tell(events[0])
    with report.listeners.listening(first.append), report.listeners.listening(second.append):
        for event in events:
            report.tell(event)
    report.tell(events[0])

    assert first == second == events


def test_a_listener_that_fails_is_heard_of_once_and_the_others_go_on() -> None:
    report = a_report()
    told: list[CallEvent] = []

    def fail(event: CallEvent) -> None:
        raise ValueError("listener")

    with capture_logs() as logs, report.listeners.listening(fail), report.listeners.listening(told.append):
        report.tell(Speech("user", started=True))
        report.tell(Speech("user", started=False))

    assert len(told) == 2
    assert [line["event"] for line in logs] == ["events.listener_failed"]


def test_only_so_many_guests_may_listen_and_none_of_them_takes_a_place_of_the_relays_own() -> None:
    report = a_report()
    told: list[CallEvent] = []
    contexts = [report.listeners.listening_guest(told.append) for _ in range(LISTENERS_MAX + 1)]
    room = [context.__enter__() for context in contexts]
    report.tell(Speech("user", started=True))

    assert room == [True] * LISTENERS_MAX + [False]
    assert len(told) == LISTENERS_MAX
    own: list[CallEvent] = []
    with report.listeners.listening(own.append), report.listeners.listening(own.append):
        report.tell(Speech("user", started=False))
    assert len(own) == 2
    del told[LISTENERS_MAX:]
    for context in contexts:
        context.__exit__(None, None, None)
    report.tell(Speech("user", started=True))
    assert len(told) == LISTENERS_MAX
    with report.listeners.listening_guest(told.append) as room_again:
        assert room_again


def test_of_bad_messages_the_first_of_each_kind_is_told_and_all_are_counted() -> None:
    report = a_report()
    told: list[CallEvent] = []
    with report.listeners.listening(told.append):
        for code in ("NOT_JSON", "NOT_JSON", "NOT_TEXT"):
            report.bad_caller_message(RemoteProtocolError("no good", code))
        report.bad_assistant_message(RemoteProtocolError("no good", "NOT_JSON"))

    assert [event.log_name for event in told] == ["caller.bad_message"] * 2 + ["assistant.bad_message"]
    assert told[0] == BadCallerMessage("caller", "NOT_JSON", "no good")
    totals = report.counts.totals()
    assert totals["protocol_errors"] == {"caller.NOT_JSON": 2, "caller.NOT_TEXT": 1, "assistant.NOT_JSON": 1}
    assert totals["frames_dropped"] == {"malformed": 3}
