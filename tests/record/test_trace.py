"""The trace of a call, as Chrome's Trace Event Format wants it."""

import json

from relay.record.entries import SpeechScore, Timed
from relay.record.sides import CallSides
from relay.record.timeline import timeline
from relay.record.trace import PROCESS, THREADS, TraceEvent, trace
from tests.record.test_summary import FLUSHED
from tests.support.recordings_of_calls import attached, call_of, ended, sent, spoken, told

CALL: list[Timed] = [
    attached(),
    *spoken(0.0, 200),
    *sent(1.0, 10),
    SpeechScore(0.5, 500.0, 0.75),
    told(1.05, "speech.started", onset_ms=1000, likely_ms=1020, decided_ms=1050),
    told(1.1, "bargein.flushed", turn=1, **FLUSHED),
    told(1.5, "speech.ended", at_ms=1300, decided_ms=1500),
    ended(4.0),
]


def events() -> list[TraceEvent]:
    call = call_of(*CALL)
    found = trace(timeline(call, CallSides(call)))
    assert json.loads(json.dumps(found)) == found
    return list(found["traceEvents"])


def test_each_event_has_what_its_phase_needs() -> None:
    needed = {
        "M": {"name", "pid", "args"},
        "X": {"name", "cat", "pid", "tid", "ts", "dur", "args"},
        "i": {"name", "cat", "pid", "tid", "ts", "s", "args"},
        "C": {"name", "pid", "ts", "args"},
    }
    found = events()

    assert {event["ph"] for event in found} == set(needed)
    assert all(needed[event["ph"]] <= set(event) for event in found)
    assert {event["pid"] for event in found} == {PROCESS}
    assert all(event["ts"] >= 0 and event.get("dur", 0) >= 0 for event in found if "ts" in event)


def test_the_tracks_are_named_and_in_order() -> None:
    named = {event["tid"]: event["args"]["name"] for event in events() if event["name"] == "thread_name"}

    assert list(named.values()) == list(THREADS)


def test_speech_and_turns_are_spans_in_microseconds_and_the_clear_is_a_moment() -> None:
    found = {(event["ph"], event["name"]): event for event in events()}

    assert (found["X", "speaks"]["ts"], found["X", "speaks"]["dur"]) == (1_000_000, 300_000)
    assert (found["X", "turn 1"]["ts"], found["X", "turn 1"]["dur"]) == (1_000_000, 200_000)
    assert found["i", "clear, turn 1"]["ts"] == 1_100_000
    assert found["i", "bargein.flushed"]["cat"] == "events"


def test_a_counter_is_told_where_it_changes() -> None:
    speech = [(it["ts"], it["args"]["value"]) for it in events() if it["name"] == "speech probability"]

    assert speech == [(0, 0.0), (460_000, 0.75), (500_000, 0.0)]
