"""What a recorded call comes to, as machines read it: each figure from the events that say it."""

from typing import Any

import pytest
from msgspec.structs import replace

from relay.record.entries import Timed, Told
from relay.record.sides import CallSides
from relay.record.summary import CallSummary, summarise
from tests.support.recordings_of_calls import attached, call_of, ended, sent, spoken, told

FLUSHED = {
    "onset_to_clear_ms": 105.0,
    "decide_to_clear_ms": 0.2,
    "flushed_ms": 400.0,
    "heard_ms": 900.0,
    "by": "caller",
}


def summary(*entries: Timed, complete: bool = True) -> CallSummary:
    call = call_of(*entries, complete=complete)
    return summarise(call, CallSides(call))


def test_times_count_from_the_callers_first_stream() -> None:
    found = summary(told(0.0, "call.started"), attached(2.5), ended(12.75))

    assert (found.call_id, found.call_sid) == ("call", "CA1")
    assert found.started_at == "1970-01-12T13:46:42.500Z"
    assert (found.duration_s, found.end_reason, found.complete) == (10.25, "caller_hangup", True)


def test_what_the_provider_told_of_its_calls_is_there_also_when_it_came_after_the_end() -> None:
    def heard(name: str, assistant_call_id: str | None, reason: str | None, cost_usd: float | None = None) -> Told:
        values = {"assistant_call_id": assistant_call_id, "ended_reason": reason, "cost_usd": cost_usd}
        return told(1.0, name, type="any", **values)

    call = call_of(
        attached(),
        heard("webhook.accepted", "lost", "pipeline-error"),
        heard("webhook.accepted", "second", None),
        heard("webhook.accepted", None, "of-nobody"),
    )
    call.after_end[:] = [
        heard("webhook.joined", "lost", None, 0.25),
        heard("webhook.accepted", "second", "hangup", 0.5),
    ]

    assert summarise(call, CallSides(call)).assistant_calls == [
        {"assistant_call_id": "lost", "ended_reason": "pipeline-error", "cost_usd": 0.25},
        {"assistant_call_id": "second", "ended_reason": "hangup", "cost_usd": 0.5},
    ]


def test_a_recording_that_was_cut_short_has_no_end_and_goes_as_far_as_it_goes() -> None:
    found = summary(attached(1.0), *spoken(1.0, 100), complete=False)

    assert (found.duration_s, found.end_reason, found.complete) == (2.0, None, False)


def test_the_end_in_one_process_is_none_if_the_call_went_on_in_another() -> None:
    drained = summary(attached(), ended(5.0, reason="drain"), attached(6.0), *spoken(6.0, 50))
    over = summary(attached(), ended(5.0, reason="drain"), attached(6.0), ended(9.0))

    assert (drained.end_reason, drained.duration_s) == (None, 7.0)
    assert (over.end_reason, over.duration_s) == ("caller_hangup", 9.0)


@pytest.mark.parametrize(
    ("then", "silent_ms", "outcome"),
    [
        ([("bargein.silent", {"clear_to_silent_ms": 60.0}), ("bargein.settled", {})], 60.0, "settled"),
        ([("bargein.false", {"by": "assistant"})], None, "false_alarm"),
        ([], None, None),
    ],
)
def test_an_interruption_has_its_times_and_what_it_turned_out_to_be(
    then: list[tuple[str, dict[str, Any]]], silent_ms: float | None, outcome: str | None
) -> None:
    events = [told(4.0 + n, name, turn=2, **values) for n, (name, values) in enumerate(then)]
    earlier = [told(2.0, "bargein.flushed", turn=1, **FLUSHED), told(2.5, "bargein.settled", turn=1)]
    found = summary(attached(1.0), *earlier, told(3.0, "bargein.flushed", turn=2, **FLUSHED), *events, ended(9.0))

    assert found.interruptions[0]["outcome"] == "settled"
    assert found.interruptions[1:] == [
        {
            "at_s": 2.0,
            "turn": 2,
            "onset_to_clear_ms": 105.0,
            "decide_to_clear_ms": 0.2,
            "clear_to_silent_ms": silent_ms,
            "outcome": outcome,
        }
    ]


def test_each_reconnect_is_told_from_the_moment_of_the_loss() -> None:
    again = {"gap_ms": 1500.0, "replayed_ms": 400, "dropped_ms": 20, "attempt": 1}
    found = summary(
        attached(),
        told(5.0, "assistant.reconnected", **again),
        told(7.0, "caller.reattached", gap_ms=500.0, replayed_ms=60),
        told(9.0, "caller.reattached", transport="polling", before="websocket", away_ms=250),
        ended(10.0),
    )

    assert found.reconnects == [
        {"at_s": 3.5, "leg": "assistant", "gap_ms": 1500.0, "replayed_ms": 400, "dropped_ms": 20},
        {"at_s": 6.5, "leg": "caller", "gap_ms": 500.0, "replayed_ms": 60, "dropped_ms": 0},
        {"at_s": 8.75, "leg": "caller", "gap_ms": 250, "replayed_ms": 0, "dropped_ms": 0},
    ]


def test_each_hole_has_its_cause() -> None:
    said = [replace(frame, missing=3) if n == 50 else frame for n, frame in enumerate(spoken(0.0, 100))]
    found = summary(
        attached(),
        *said,
        told(3.0, "playout.hole", hole_ms=140.0),
        told(4.0, "assistant.lost", error="x"),
        told(4.5, "playout.hole", hole_ms=340.0),
        told(5.0, "assistant.reconnected", gap_ms=1000.0, attempt=1),
        told(6.0, "playout.hole", hole_ms=20.0),
        ended(9.0),
    )

    assert found.holes == [
        {"at_s": 1.02, "ms": 60.0, "cause": "caller_audio_missing"},
        {"at_s": 3.0, "ms": 140.0, "cause": "assistant_late"},
        {"at_s": 4.5, "ms": 340.0, "cause": "assistant_lost"},
        {"at_s": 6.0, "ms": 20.0, "cause": "assistant_late"},
    ]


def stopped(at_s: float) -> list[Timed]:
    """The caller spoke for a second until then, of which the detector is sure 256 ms later."""
    return [
        told(at_s - 0.9, "speech.started", onset_ms=0),
        told(at_s + 0.256, "speech.ended", at_ms=1000, decided_ms=1256),
    ]


@pytest.mark.parametrize(
    ("entries", "latencies"),
    [
        ([*stopped(2.0), *sent(3.0, 5)], [(2.0, 1000)]),
        ([*stopped(2.0), *sent(2.5, 5, audible=False), *sent(3.0, 5, position_ms=100)], [(2.0, 1000)]),
        ([*stopped(2.0), *sent(3.0, 5), *stopped(6.0), *sent(10.5, 5, position_ms=100)], [(2.0, 1000), (6.0, 4500)]),
        ([*stopped(2.0)], []),
        ([*stopped(2.0), *stopped(4.0), *sent(5.0, 5)], [(4.0, 1000)]),
        ([*sent(1.99, 5), *stopped(2.0)], []),
    ],
    ids=["answered", "behind silence", "twice", "never", "went on", "spoken over"],
)
def test_latency_is_from_the_callers_last_word_to_the_first_sound_that_they_heard(
    entries: list[Timed], latencies: list[tuple[float, int]]
) -> None:
    found = summary(attached(), *spoken(0.0, 600), *entries, ended(12.0))

    assert [(it["at_s"], it["caller_stopped_to_assistant_heard"]) for it in found.latency_ms] == latencies
