"""The spans of a call: what each covers, what it is in, and that none is left open or told twice."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.call.report.assistant_events import (
    AssistantGivenUp,
    AssistantLost,
    AssistantReady,
    AssistantReconnected,
    DialFailed,
    Dialing,
    Said,
)
from relay.call.report.events import (
    BrowserLost,
    BrowserReattached,
    CallEnded,
    CallerLost,
    CallerNotBack,
    CallerPaused,
    CallerReattached,
    CallerSpoke,
    CallEvent,
    CallStarted,
    Speech,
)
from relay.call.report.interruption_events import (
    CallerSilenced,
    FalseAlarm,
    Interrupted,
    InterruptionSettled,
    PlayoutHole,
)
from relay.call.report.spans import CallSpans, Span, TracedSpan

STARTED, DIALING, READY = CallStarted("CA1", 2), Dialing("main", "pcm"), AssistantReady("v1")
FAILED, LOST = DialFailed("VAPI_UNREACHABLE", "no answer from 10.0.0.1"), AssistantLost("no pong", close_code=1006)
BACK = AssistantReconnected(
    gap_ms=900.0, replayed_ms=700, dropped_ms=0, attempt=1, assistant_call_id="v2", replaces="v1"
)
SPOKE = CallerSpoke(onset_ms=2000, likely_ms=2100, decided_ms=2200, level_dbfs=-20.0, over_floor_db=30.0)
PAUSED = CallerPaused(at_ms=3000, decided_ms=3256)
CUT = Interrupted(
    turn=3, by="caller", onset_to_clear_ms=250.0, decide_to_clear_ms=1.0, flushed_ms=400.0, heard_ms=900.0
)
EVENTS: list[CallEvent] = [
    *(DIALING, READY, FAILED, LOST, BACK, SPOKE, PAUSED, CUT, AssistantGivenUp(3), CallerLost("gone"), CallerNotBack()),
    *(BrowserLost("polling"), BrowserReattached("websocket", "polling", 20), CallerReattached(20.0, 0)),
    *(CallerSilenced(3, 300.0, 50.0), FalseAlarm(3, "assistant"), InterruptionSettled(3, "new_turn", 400.0)),
    *(Speech("assistant", started=True), Speech("assistant", started=False), PlayoutHole(80.0)),
    Said("user", "my number is 0049 30 1234", final=True),
]


def ended(reason: str = "caller_hangup") -> CallEnded:
    return CallEnded(reason, 60.0, "CA1", "v1", {})


def told(*events: tuple[float, CallEvent], reason: str = "caller_hangup", at_s: float = 60.0) -> list[Span]:
    spans = CallSpans()
    return [
        span for when, event in ((0.0, STARTED), *events, (at_s, ended(reason))) for span in spans.note(event, when)
    ]


def test_a_call_is_a_span_with_its_ids_and_its_end() -> None:
    assert told() == [
        Span("call", 0, None, 0.0, 60.0, None, {"call_sid": "CA1", "generation": 2, "end_reason": "caller_hangup"})
    ]


@pytest.mark.parametrize(
    ("reason", "failed"),
    [("error", "error"), ("assistant_unavailable", "assistant_unavailable"), ("idle", None), ("assistant_ended", None)],
)
def test_a_call_has_failed_by_its_end_reason(reason: str, failed: str | None) -> None:
    (call,) = told(reason=reason)

    assert call.failed == failed


@pytest.mark.parametrize(
    ("events", "wanted"),
    [
        (
            [(1.0, DIALING), (1.5, READY)],
            Span("dial", 1, 0, 1.0, 1.5, None, {"assistant": "main", "audio": "pcm", "assistant_call_id": "v1"}),
        ),
        (
            [(1.0, DIALING), (2.0, FAILED)],
            Span("dial", 1, 0, 1.0, 2.0, "VAPI_UNREACHABLE", {"assistant": "main", "audio": "pcm"}),
        ),
        ([(1.0, DIALING)], Span("dial", 1, 0, 1.0, 60.0, None, {"assistant": "main", "audio": "pcm"})),
        (
            [(5.0, LOST), (5.9, BACK)],
            Span(
                "reconnect",
                1,
                0,
                5.0,
                5.9,
                None,
                {"leg": "assistant", "attempt": 1, "replayed_ms": 700, "dropped_ms": 0},
            ),
        ),
        (
            [(5.0, LOST), (25.0, AssistantGivenUp(3))],
            Span("reconnect", 1, 0, 5.0, 25.0, "given up", {"leg": "assistant"}),
        ),
        (
            [(5.0, CallerLost("gone")), (7.0, CallerReattached(2000.0, 120))],
            Span("reconnect", 1, 0, 5.0, 7.0, None, {"leg": "caller", "replayed_ms": 120}),
        ),
        (
            [(5.0, BrowserLost("websocket")), (7.0, BrowserReattached("polling", "websocket", 2000))],
            Span("reconnect", 1, 0, 5.0, 7.0, None, {"leg": "caller", "transport": "polling"}),
        ),
        (
            [(5.0, CallerLost("gone")), (20.0, CallerNotBack())],
            Span("reconnect", 1, 0, 5.0, 20.0, "not back", {"leg": "caller"}),
        ),
        ([(10.2, SPOKE), (11.256, PAUSED)], Span("turn", 1, 0, 10.0, 11.0, None, {"role": "user"})),
        (
            [(3.0, Speech("assistant", started=True)), (9.0, Speech("assistant", started=False))],
            Span("turn", 1, 0, 3.0, 9.0, None, {"role": "assistant"}),
        ),
        (
            [(8.0, CUT), (8.1, CallerSilenced(3, 300.0, 50.0)), (9.0, InterruptionSettled(3, "new_turn", 400.0))],
            Span(
                "interruption",
                1,
                0,
                7.75,
                9.0,
                None,
                {**CUT.log_values(), "onset_to_silent_ms": 300.0, "outcome": "settled", "settled_by": "new_turn"},
            ),
        ),
        (
            [(8.0, CUT), (10.0, FalseAlarm(3, "assistant"))],
            Span(
                "interruption",
                1,
                0,
                7.75,
                10.0,
                None,
                {**CUT.log_values(), "outcome": "false_alarm", "settled_by": "assistant"},
            ),
        ),
    ],
)
def test_what_happens_in_a_call_is_a_span_in_it(events: list[tuple[float, CallEvent]], wanted: Span) -> None:
    span, call = told(*events)
    span.began_at_s, span.ended_at_s = round(span.began_at_s, 9), round(span.ended_at_s, 9)

    assert span == wanted
    assert call.name == "call"


def test_a_dial_for_an_assistant_that_was_lost_is_in_its_reconnect() -> None:
    spans = {span.number: span for span in told((5.0, LOST), (5.2, DIALING), (5.8, READY), (5.9, BACK))}

    assert [(spans[number].name, spans[number].parent) for number in range(3)] == [
        ("call", None),
        ("reconnect", 0),
        ("dial", 1),
    ]


@given(st.lists(st.tuples(st.floats(0, 50), st.sampled_from(EVENTS)), max_size=60))
def test_whatever_a_call_tells_each_span_closes_once_within_its_call_and_says_nothing_personal(
    events: list[tuple[float, CallEvent]],
) -> None:
    spans = told(*sorted(events, key=lambda it: it[0]))

    assert sorted(span.number for span in spans) == list(range(len(spans)))
    assert spans[-1].name == "call"
    for span in spans:
        assert 0 <= span.began_at_s <= span.ended_at_s <= 60
        assert (span.parent is None) == (span.name == "call")
        assert span.parent is None or span.parent < span.number
        assert not any("1234" in str(value) or "10.0.0.1" in str(value) for value in span.attributes.values())


def test_no_more_spans_are_open_than_there_are_kinds() -> None:
    spans = CallSpans()
    spans.note(STARTED, 0.0)
    for number in range(1000):
        for event in EVENTS:
            spans.note(event, float(number))

    assert len(spans._open) <= 7


def test_ids_of_the_spans_of_a_call_differ_and_are_never_none() -> None:
    traced = TracedSpan("0" * 32, 2**64 - 3, 0.0, Span("call", 0, None, 0.0))
    ids = [traced.id_of(number) for number in range(10)]

    assert len(set(ids)) == 10
    assert all(0 < one < 2**64 for one in ids)
