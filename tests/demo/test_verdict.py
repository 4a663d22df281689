"""Every promise can be broken, is then named, and is judged by the records of all sides."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from relay.demo.evidence import Evidence
from relay.demo.promise import Promise
from relay.demo.reconnect import RECONNECT_FIGURES
from relay.demo.verdict import FIGURES, NEED_REAL_TIME, DemoVerdict, judge
from relay.media.comfort import comfort_frames
from relay.media.frames import TELEPHONE
from relay.standin.compare import audible_frames, explain, missing_frames
from relay.standin.phrases import spoken
from relay.standin.sound import Samples, mulaw_to_samples

FLUSH = {
    "onset_to_clear_ms": 96.0,
    "decide_to_clear_ms": 0.4,
    "flushed_ms": 300.0,
    "heard_ms": 1000.0,
    "turn": 2,
}
RECONNECT = {"gap_ms": 191.5, "replayed_ms": 2440, "dropped_ms": 0}
ENDED = {
    "reason": "caller_hangup",
    "frames_dropped": {"stale": 61, "pause": 12, "trimmed": 5, "gap": 0},
    "frames_invented": {"gap": 0},
    "messages_missing": 0,
}


def said(name: str) -> Samples:
    return mulaw_to_samples(spoken(name, TELEPHONE))


def silence(ms: int) -> Samples:
    return np.zeros(ms * 8, np.int16)


COMFORT = mulaw_to_samples(b"".join(comfort_frames(TELEPHONE) * 2))
OLD = said("description")[:20000]
GREETING, ANSWER = said("agreement"), said("question")[:8000]
AFTER = np.concatenate([silence(1000), ANSWER])
GOOD = Evidence(
    broken=None,
    onset_s=10.0,
    clears_s=[10.15],
    cleared_ms=100.0,
    greeting=GREETING,
    old_turn=OLD,
    new_turn=ANSWER,
    sent_late=OLD[8000:],
    heard_before=np.concatenate([GREETING, silence(1000), OLD[:8000]]),
    heard_after=AFTER,
    arrived_after=AFTER,
    said=said("stop"),
    said_at_cut=said("request"),
    said_later=np.concatenate([silence(3000), said("goodbye")]),
    received=np.concatenate([silence(200), said("stop"), silence(500), said("request")[:6000]]),
    received_again=np.concatenate([silence(100), said("request"), silence(1500), said("goodbye")]),
    comfort=COMFORT,
    phone_end="caller_hangup",
    assistant_end="customer-ended-call",
    flushes=[FLUSH],
    reconnects=[RECONNECT],
    ended=ENDED,
    daemon_exit=0,
)
LEAK = OLD[16480:16960]
HOLED = np.concatenate([ANSWER[:2400], silence(60), ANSWER[2880:]])


def once(compare: Callable[..., Any]) -> Callable[..., Any]:
    """The same comparison, made once for the same audio: most verdicts here differ in one of nine."""
    known: dict[tuple[bytes, ...], Any] = {}

    def compared(*pieces: Samples) -> Any:
        key = tuple(piece.tobytes() for piece in pieces)
        if key not in known:
            known[key] = compare(*pieces)
        return known[key]

    return compared


MISSING_FRAMES, EXPLAIN = once(missing_frames), once(explain)


@pytest.fixture(autouse=True)
def compared_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.demo.verdict.missing_frames", MISSING_FRAMES)
    monkeypatch.setattr("relay.demo.reconnect.missing_frames", MISSING_FRAMES)
    monkeypatch.setattr("relay.demo.verdict.explain", EXPLAIN)


def test_a_good_call_keeps_every_promise_and_has_every_figure() -> None:
    verdict = judge(GOOD)

    assert verdict.ok, verdict.broken
    assert verdict.bargein == {**{name: FLUSH.get(name) for name in FIGURES}, "stale_frames_after_clear": 0}
    assert tuple(verdict.bargein) == FIGURES
    assert verdict.reconnect == {**RECONNECT, "caller_audio_lost_ms": 0}
    assert tuple(verdict.reconnect) == RECONNECT_FIGURES


@pytest.mark.parametrize(
    ("changes", "broken"),
    [
        ({"broken": "no answer was heard"}, "the call went as planned"),
        ({"clears_s": [10.6]}, "silent at once"),
        ({"clears_s": [9.9]}, "silent at once"),
        ({"flushes": [{**FLUSH, "onset_to_clear_ms": 600.0}]}, "silent at once"),
        ({"flushes": [{**FLUSH, "decide_to_clear_ms": 80.0}]}, "clear at once"),
        ({"flushes": [FLUSH, FLUSH]}, "stopped once"),
        ({"clears_s": [10.15, 12.0]}, "stopped once"),
        ({"cleared_ms": 400.0}, "all buffers emptied"),
        ({"flushes": [{**FLUSH, "heard_ms": 1600.0}]}, "knows what was heard"),
        ({"arrived_after": np.concatenate([LEAK, AFTER])}, "no stale audio sent"),
        ({"heard_after": np.concatenate([LEAK, AFTER])}, "no stale audio heard"),
        ({"arrived_after": np.concatenate([said("goodbye"), AFTER])}, "no foreign audio"),
        ({"received": said("stop")[:4000]}, "the assistant heard every word"),
        ({"reconnects": []}, "reconnected"),
        ({"reconnects": [RECONNECT, RECONNECT]}, "reconnected"),
        ({"reconnects": [{**RECONNECT, "gap_ms": 1600.0}]}, "reconnected in time"),
        ({"reconnects": [{**RECONNECT, "dropped_ms": 20}]}, "nothing dropped at the cut"),
        ({"received_again": GOOD.received_again[12000:]}, "cut sentence came whole"),
        ({"received_again": GOOD.received_again[:-12000]}, "the assistant heard every word"),
        ({"received_again": silence(100)}, "the assistant heard every word"),
        ({"heard_after": HOLED}, "the caller heard every word"),
        ({"ended": {**ENDED, "frames_dropped": {"overflow": 1}}}, "no frame lost or invented"),
        ({"ended": {**ENDED, "frames_invented": {"underrun": 2}}}, "no frame lost or invented"),
        ({"ended": {**ENDED, "messages_missing": 1}}, "no frame lost or invented"),
        ({"underruns": [(1, 20.0)]}, "no frame lost or invented"),
        ({"warnings": ["31951: mark: keys"]}, "Twilio's protocol kept"),
        ({"phone_end": "twiml_hangup"}, "ended in order"),
        ({"assistant_end": "worker-shutdown"}, "ended in order"),
        ({"daemon_exit": -9}, "ended in order"),
        ({"ended": None}, "ended in order"),
    ],
)
def test_what_was_broken_is_named(changes: dict[str, Any], broken: str) -> None:
    verdict = judge(replace(GOOD, **changes))

    assert broken in [promise.name for promise in verdict.broken]
    assert not verdict.ok


def test_what_is_torn_by_a_hole_is_not_said_to_be_of_either_turn() -> None:
    """The pieces on both sides of it are no sound that anybody sent; what arrived is judged by itself."""
    torn = replace(GOOD, heard_after=np.concatenate([silence(500), LEAK, AFTER]))
    hole_at = len(GOOD.heard_before) + 4000 + 240
    assert [promise.name for promise in judge(torn).broken] == ["no stale audio heard"]

    with_a_hole = [promise.name for promise in judge(replace(torn, underruns=[(hole_at, 20.0)])).broken]
    elsewhere = [promise.name for promise in judge(replace(torn, underruns=[(hole_at + 4000, 20.0)])).broken]

    assert "no stale audio heard" not in with_a_hole
    assert "no stale audio heard" in elsewhere


def test_what_the_caller_said_and_nobody_received_is_measured() -> None:
    verdict = judge(replace(GOOD, received_again=silence(100)))

    audible = len(audible_frames(GOOD.said_at_cut)) + len(audible_frames(GOOD.said_later))
    assert 0.9 * 20 * audible < (verdict.reconnect["caller_audio_lost_ms"] or 0) <= 20 * audible


def test_the_sound_that_fills_the_wait_is_neither_foreign_nor_invented_without_a_reason() -> None:
    filled = np.concatenate([silence(200), COMFORT, AFTER])
    counted = {**ENDED, "frames_invented": {"reconnect": 120}}

    verdict = judge(replace(GOOD, arrived_after=filled, heard_after=filled, ended=counted))

    assert verdict.ok, verdict.broken


@pytest.mark.parametrize("offset", [0, 53])
@pytest.mark.parametrize("note_ms", range(100, 220, 20))
def test_the_seam_between_that_sound_and_the_answer_is_of_known_origin(note_ms: int, offset: int) -> None:
    arrived = np.concatenate([silence(200)[offset:], COMFORT[: 8 * note_ms], ANSWER])

    assert judge(replace(GOOD, arrived_after=arrived, heard_after=arrived)).broken == []


@pytest.mark.parametrize("frames", [3, 4, 5])
def test_a_few_stale_frames_between_that_sound_and_the_answer_are_stale(frames: int) -> None:
    leaked = np.concatenate([COMFORT[: 8 * 120], OLD[16640 : 16640 + frames * 160], ANSWER])

    broken = judge(replace(GOOD, arrived_after=leaked, heard_after=leaked)).broken

    assert {"no stale audio sent", "no stale audio heard"} <= {promise.name for promise in broken}


def test_a_foreign_sound_between_that_sound_and_the_answer_stays_foreign() -> None:
    foreign = said("goodbye")[audible_frames(said("goodbye"))[3] :][: 8 * 80]
    arrived = np.concatenate([COMFORT[: 8 * 120], foreign, ANSWER])

    broken = judge(replace(GOOD, arrived_after=arrived, heard_after=arrived)).broken

    assert "no foreign audio" in [promise.name for promise in broken]


@pytest.mark.parametrize("frames", [1, 2, 3, 5])
def test_every_stale_frame_is_counted(frames: int) -> None:
    leaked = np.concatenate([silence(60), OLD[16640 : 16640 + frames * 160], AFTER])

    verdict = judge(replace(GOOD, arrived_after=leaked))

    assert verdict.bargein["stale_frames_after_clear"] == frames


def test_a_call_without_an_interruption_has_no_figures_and_breaks_the_promise() -> None:
    verdict = judge(replace(GOOD, flushes=[], clears_s=[]))

    assert "silent at once" in [promise.name for promise in verdict.broken]
    assert set(verdict.bargein.values()) == {None}


def test_without_a_call_only_that_is_said() -> None:
    verdict = judge(Evidence(broken="the daemon did not start: no"))

    assert [promise.figure for promise in verdict.promises] == ["the daemon did not start: no"]
    assert not verdict.ok


def test_what_needs_real_time_is_not_judged_when_the_machine_stood_still() -> None:
    late = replace(GOOD, heard_after=HOLED, ended={**ENDED, "frames_invented": {"keepalive": 9}}, stood_still_ms=120)

    verdict = judge(late)

    assert verdict.ok
    assert {promise.name for promise in verdict.unjudged} <= set(NEED_REAL_TIME)
    assert len(verdict.unjudged) == 2


def test_a_busy_machine_excuses_no_stale_audio() -> None:
    stale = np.concatenate([LEAK, AFTER])

    verdict = judge(replace(GOOD, arrived_after=stale, heard_after=stale, stood_still_ms=500))

    assert [promise.name for promise in verdict.broken] == ["no stale audio sent", "no stale audio heard"]


def test_the_json_has_every_promise_with_its_figure() -> None:
    verdict = DemoVerdict([Promise("one", True, "1 ms"), Promise("two", None, "2 ms")], dict.fromkeys(FIGURES, 1.0))

    assert verdict.as_json() == {
        "ok": True,
        "bargein": dict.fromkeys(FIGURES, 1.0),
        "reconnect": dict.fromkeys(RECONNECT_FIGURES),
        "promises": [
            {"name": "one", "kept": True, "figure": "1 ms"},
            {"name": "two", "kept": None, "figure": "2 ms"},
        ],
    }
