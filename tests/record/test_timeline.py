"""The data of a timeline: what was there at each moment, and what happened when, at its place on the time line."""

import numpy as np
import pytest
from msgspec.structs import replace

from relay.record.entries import BufferTarget, ClearSent, MarkReturned, SpeechScore, Timed, ToCaller
from relay.record.recorded_call import RecordedCall
from relay.record.sides import CallSides
from relay.record.timeline import NONE_8, NONE_16, STEP_MS, Timeline, timeline
from tests.record.test_summary import FLUSHED
from tests.support.recordings_of_calls import attached, call_of, ended, sent, spoken, told


def of(*entries: Timed, is_live: bool = False) -> Timeline:
    call = call_of(attached(), *entries)
    return timeline(call, CallSides(call), is_live=is_live)


def values(shown: Timeline, track: str, from_ms: float, to_ms: float) -> list[int]:
    of_step = shown.tracks[track]
    found: list[int] = of_step.values[int(from_ms / of_step.step_ms) : int(to_ms / of_step.step_ms)].tolist()
    return found


def test_the_waves_are_the_lowest_and_highest_sample_of_each_10_ms() -> None:
    shown = of(*spoken(0.0, 50), *sent(0.2, 5), ended(1.0))

    assert len(shown.tracks["caller_low"].values) == 100
    assert values(shown, "heard_low", 0, 200) == [0] * 20
    assert all(low < -80 for low in values(shown, "heard_low", 200, 300))
    assert values(shown, "heard_low", 300, 1000) == [0] * 70


def test_the_probability_of_speech_stands_where_its_window_was_and_is_unknown_elsewhere() -> None:
    shown = of(*spoken(0.0, 50), SpeechScore(0.5, 500.0, 0.75), SpeechScore(0.532, 532.0, 1.0), ended(1.0))

    assert values(shown, "speech", 440, 560) == [NONE_8, 150, 150, 200, 200, NONE_8]


def test_what_waits_in_the_relay_is_known_from_each_frame_until_shortly_after_it() -> None:
    frames = [ToCaller(0.19 + n * 0.02, 1, (n + 1) * 20, True, 180 - n, b"\x10" * 160) for n in range(3)]
    shown = of(*spoken(0.0, 50), *frames, ended(1.0))

    assert values(shown, "queued", 180, 260) == [180, 179, 178, 178]
    assert values(shown, "queued", 400, 440) == [178, NONE_16]


def test_the_target_of_the_buffer_is_as_configured_until_the_relay_makes_another_of_it() -> None:
    changes = [BufferTarget(0.1, 200), BufferTarget(0.51, 320), BufferTarget(0.91, 260)]
    call = call_of(attached(), *spoken(0.0, 50), *changes, ended(1.0))
    configured = RecordedCall(replace(call.header, settings={"jitter": {"target_ms": 200}}), call.entries, True)
    shown, unknown = (timeline(it, CallSides(it)) for it in (configured, call))

    assert values(shown, "target", 0, 100) == [200] * 5
    assert values(shown, "target", 460, 540) == [200, 200, 320, 320]
    assert values(shown, "target", 880, 960) == [320, 260, 260, 260]
    assert values(unknown, "target", 0, 40) == [NONE_16, NONE_16]


def test_what_was_sent_and_is_not_heard_yet_gets_less_with_time_and_is_gone_at_a_clear() -> None:
    shown = of(*spoken(0.0, 50), *sent(0.19, 10), ClearSent(0.27), ended(1.0))

    assert values(shown, "ahead", 160, 300) == [0, 190, 170, 150, 130, 0, 0]


def test_a_turn_is_from_its_first_sound_to_its_last_and_a_long_silence_divides_it() -> None:
    shown = of(
        *spoken(0.0, 300),
        *sent(1.0, 5),
        *sent(1.5, 5, position_ms=100),
        *sent(3.0, 5, position_ms=200),
        *sent(3.2, 5, turn=2, position_ms=300),
        *sent(3.4, 50, turn=2, position_ms=400, audible=False),
        ended(6.0),
    )

    assert shown.lists["turns"] == [
        {"from": 1000.0, "to": 1600.0, "turn": 1},
        {"from": 3000.0, "to": 3100.0, "turn": 1},
        {"from": 3200.0, "to": 3300.0, "turn": 2},
    ]


@pytest.mark.parametrize(
    ("then", "outcome"),
    [
        ([("bargein.settled", {})], "settled"),
        ([("bargein.false", {"by": "assistant"})], "false alarm"),
        ([("bargein.false", {"by": "agreement"})], "agreement"),
        ([], None),
    ],
)
def test_a_cut_has_its_pause_its_clear_and_the_last_byte_that_could_be_heard(
    then: list[tuple[str, dict[str, str]]], outcome: str | None
) -> None:
    noticed = told(1.2, "speech.started", onset_ms=1000, likely_ms=1100, decided_ms=1200)
    cut = told(1.21, "bargein.flushed", turn=1, **FLUSHED)
    shown = of(
        *spoken(0.0, 200),
        *sent(1.0, 20),
        noticed,
        ClearSent(1.21),
        cut,
        *[told(1.5, name, turn=1, **values) for name, values in then],
        *sent(2.0, 5, position_ms=400),
        ended(4.0),
    )
    [found] = shown.lists["cuts"]

    assert (found["at"], found["turn"], found["last"], found["outcome"]) == (1210.0, 1, 1210.0, outcome)
    assert shown.lists["pauses"] == [{"from": 1100.0, "to": 1210.0, "then": "cut"}]
    assert shown.lists["clears"] == [{"at": 1210.0}]
    assert shown.lists["speech"] == [{"from": 1000.0, "to": 4000.0}]


def test_a_pause_that_was_taken_back_ends_where_it_was() -> None:
    shown = of(*spoken(0.0, 200), told(2.0, "bargein.resumed", paused_ms=140), ended(4.0))

    assert shown.lists["pauses"] == [{"from": 1860.0, "to": 2000.0, "then": "resumed"}]


def test_holes_reconnects_and_words_have_their_places() -> None:
    lost = told(1.0, "assistant.lost", error="no pong", close_code=None)
    back = told(2.5, "assistant.reconnected", gap_ms=1500.0, replayed_ms=400, dropped_ms=20, attempt=1)
    words = [
        told(1.2, "transcript.partial", role="user", text="tell"),
        told(1.4, "transcript.partial", role="assistant", text="hello"),
        told(1.9, "transcript.final", role="user", text="tell me"),
        told(3.0, "transcript.final", role="user", text="now"),
    ]
    shown = of(*spoken(0.0, 200), lost, told(2.0, "playout.hole", hole_ms=340.0), *words, back, ended(4.0))

    assert shown.lists["holes"] == [{"from": 1660.0, "to": 2000.0, "ms": 340.0, "cause": "assistant_lost"}]
    assert shown.lists["away"] == [
        {"from": 1000.0, "to": 2500.0, "leg": "assistant", "gap_ms": 1500.0, "replayed_ms": 400, "dropped_ms": 20}
    ]
    assert shown.lists["said"] == [
        {"from": 1200.0, "to": 1900.0, "role": "user", "text": "tell me"},
        {"from": 3000.0, "to": 3000.0, "role": "user", "text": "now"},
    ]
    assert [it["name"] for it in shown.lists["events"]][:3] == [
        "caller.attached",
        "assistant.lost",
        "transcript.partial",
    ]
    assert shown.lists["moments"][0]["at"] == 1000.0


def test_a_hole_of_the_assistants_ends_where_the_caller_hears_the_next_sound() -> None:
    """The relay tells of it when that is sent, and the way to the caller takes its time."""
    later = sent(2.0, 5, position_ms=100)
    hole = told(2.0, "playout.hole", hole_ms=340.0)
    shown = of(*spoken(0.0, 200), *sent(1.5, 5), hole, *later, MarkReturned(2.16, 1, 200), ended(4.0))

    assert [(it["from"], it["to"]) for it in shown.lists["holes"]] == [(1720.0, 2060.0)]


def test_of_a_call_that_goes_on_it_is_said_that_it_does() -> None:
    shown = of(*spoken(0.0, 100), is_live=True)

    assert shown.is_live
    assert shown.verdict == [
        "Nothing has gone wrong so far.",
        "The call goes on: this is what was recorded until 00:02.0.",
    ]


def test_a_call_without_a_caller_has_a_timeline_all_the_same() -> None:
    call = call_of(told(0.0, "call.started"), ended(2.5))
    shown = timeline(call, CallSides(call))

    assert shown.duration_ms == 2500.0
    assert {name: len(track.values) * track.step_ms for name, track in shown.tracks.items()} == dict.fromkeys(
        shown.tracks, 2500
    ) | dict.fromkeys(("caller_low", "caller_high", "heard_low", "heard_high"), 2500)
    assert STEP_MS == 20
    assert not np.any(shown.tracks["ahead"].values)
