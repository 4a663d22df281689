"""The report on a recorded call says what the call's log and its caller's side say."""

from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import trio
from trio.testing import MockClock

from relay.call import calls
from relay.media import g711
from relay.record.recorded_call import RecordedCall, read_call
from relay.record.sides import CallSides
from relay.record.stereo import stereo
from relay.record.summary import summarise
from relay.record.verdict import moments, verdict
from tests.call.whole.test_recorded import eventful
from tests.support.callrig import TONE, Rig
from tests.support.numbered import numbered
from tests.support.recorded import recorded_rig


def shown(call: RecordedCall) -> dict[str, Any]:
    """The figures of the report by name."""
    summary = summarise(call, CallSides(call))
    return {name: getattr(summary, name) for name in summary.__slots__}


async def test_the_report_agrees_with_the_log_of_the_call(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with recorded_rig(tmp_path) as rig:
        await eventful(rig)
        events = {name: rig.event(name) for name in ("bargein.flushed", "bargein.silent", "assistant.reconnected")}
        back, over = rig.event("caller.reattached"), rig.event("call.ended")
    call = read_call([tmp_path / f"{rig.call.id}.relay"])
    found = shown(call)
    (interruption,), (assistant, caller) = found["interruptions"], found["reconnects"]

    for name in ("turn", "onset_to_clear_ms", "decide_to_clear_ms"):
        assert interruption[name] == events["bargein.flushed"][name]
    assert interruption["clear_to_silent_ms"] == events["bargein.silent"]["clear_to_silent_ms"]
    assert interruption["outcome"] == "settled"
    assert (assistant["leg"], caller["leg"]) == ("assistant", "caller")
    for name in ("gap_ms", "replayed_ms", "dropped_ms"):
        assert assistant[name] == events["assistant.reconnected"][name]
    assert (caller["gap_ms"], caller["replayed_ms"]) == (back["gap_ms"], back["replayed_ms"])
    assert found["duration_s"] == pytest.approx(over["duration_s"], abs=0.02)
    assert (found["end_reason"], found["complete"]) == ("caller_hangup", True)
    assert {"the assistant was away", "the caller was away"} <= {
        " ".join(moment.what.split()[:4]) for moment in moments(call, summarise(call, CallSides(call)))
    }
    assert verdict(call, summarise(call, CallSides(call)))


def aligned(heard: bytes, right: np.ndarray[Any, np.dtype[np.int16]]) -> list[int]:
    """At which offsets, in samples, the two are the same from the first sound to the last."""
    played = g711.decode(heard)
    first = int(np.flatnonzero(played)[0])
    last = int(np.flatnonzero(played)[-1])
    wanted = played[first : last + 1]
    found = int(np.flatnonzero(right)[0]) - first
    same = np.array_equal(right[first + found : first + found + len(wanted)], wanted)
    return [found] if same else []


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize("mark_delay_s", [0.0, 0.06])
async def test_the_right_side_is_what_the_caller_heard_to_the_sample_cuts_included(
    mark_delay_s: float, many: bool, tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With many calls frames leave in pairs."""
    if many:
        monkeypatch.setattr(calls, "MANY_CALLS", 1)
    async with recorded_rig(tmp_path) as rig:
        await rig.begin()
        rig.phone.mark_delay_s = lambda: mark_delay_s
        rig.assistant.say(numbered(0, 400))
        await trio.sleep(2.013)
        rig.phone.say(TONE * 15)
        await trio.sleep(0.4)
        rig.assistant.interrupted()
        rig.assistant.stop()
        await trio.sleep(1)
        rig.assistant.say(numbered(1000, 100))
        await trio.sleep(4)
        heard = rig.phone.heard()
        rig.phone.stop()
        await rig.until_over(10)
    call = read_call([tmp_path / f"{rig.call.id}.relay"])
    right = stereo(CallSides(call))[:, 1]
    (offset,) = aligned(heard, right)

    assert len(rig.phone.player.clears) == 1
    assert offset == pytest.approx(8 * 1000 * (0.02 + mark_delay_s), abs=8 * 5)


async def speak_with_drops(rig: Rig, dice: Random, frames: int) -> list[int]:
    """The caller speaks in real time, and now and then some frames get lost on their way; returns which came."""
    begin, came, lost = trio.current_time(), [], 0
    for n in range(frames):
        await trio.sleep_until(begin + (n + 1) * 0.02)
        lost = lost - 1 if lost else dice.choice([0] * 40 + [1, 2, 5, 40])
        if lost:
            rig.phone.skip(1)
        else:
            rig.phone.media(TONE)
            came.append(n)
    return came


async def test_a_call_with_drops_has_its_whole_length_and_every_frame_at_its_place(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with recorded_rig(tmp_path) as rig:
        await rig.begin(speaking=False)
        came = await speak_with_drops(rig, Random(1), 3000)
        rig.phone.stop()
        await rig.until_over(10)
        lasted_s = rig.event("call.ended")["duration_s"]
    sides = CallSides(read_call([tmp_path / f"{rig.call.id}.relay"]))
    left = stereo(sides)[:, 0].reshape(-1, 160)

    assert len(came) < 2800
    assert len(left) * 0.02 == pytest.approx(lasted_s, abs=0.02)
    assert [n for n, frame in enumerate(left) if frame.any()] == came
