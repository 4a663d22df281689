"""Whole calls with the real model and the real detector: what a cough, a door or "uh-huh" costs the caller.

The caller makes the sound in the middle of a sentence of the assistant, which takes no notice and goes on. Each sound
comes in four positions to the windows of the model. Run with `-s` to see how long the assistant was silent.
"""

import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import trio
from numpy.typing import NDArray
from trio.testing import MockClock

from relay.config import VadConfig
from relay.media import g711
from relay.media.frames import TELEPHONE
from relay.media.silero import SileroModel, SileroState
from relay.media.sound import convert
from relay.standin import phrases
from relay.vad.sound import read_sound
from tests.support.callrig import SILENCE, Rig, open_rig
from tests.support.numbered import heard_frames, numbered, whole_and_in_order

BEFORE_S = 0.75
"""From the sentence to the sound; half-way between two frames, so that it is always the same frame."""
GOES_ON_S = 4.0
"""How long the sentence goes on after the sound: an assistant that falls silent sooner than 2.15 s after a cut cannot
be told from one that was interrupted (the fence's table)."""
LONGEST_HELD_MS = 2500
PHASES = 4
WINDOW_BYTES = 256
QUIET_RUN = b"\xff" * 400
"""50 ms: no frame of the sentence has a silent byte, so silence in it is the relay's doing."""


class DeployedModel:
    """The model as the daemon runs it: amplified by as much as [vad] says."""

    def new_state(self) -> SileroState:
        return loaded_model().new_state()

    def run(self, windows: Sequence[NDArray[np.int16]], states: Sequence[SileroState], gain_db: float) -> list[float]:
        return loaded_model().run(windows, states, VadConfig().model_gain_db)


@cache
def loaded_model() -> SileroModel:
    return SileroModel.load(VadConfig().model_rate_hz)


def recorded(path: Path, stretch_s: tuple[float, float], phase: int) -> bytes:
    """A stretch of a recording as a telephone sends it, `phase` quarters of a window later than the frames begin."""
    telephone = g711.encode(convert(read_sound(path), 8000).samples)
    return shifted(telephone[slice(*(round(at * 8000) for at in stretch_s))], phase)


def shifted(audio: bytes, phase: int) -> bytes:
    late = b"\xff" * (phase * WINDOW_BYTES // PHASES) + audio
    return late + b"\xff" * (-len(late) % len(SILENCE))


async def make_sound(rig: Rig, sound: bytes, frames: int) -> None:
    """The assistant says a sentence of so many frames; the caller makes the sound in it. Returns long after both."""
    await rig.begin()
    rig.assistant.say(numbered(0, frames))
    await trio.sleep(BEFORE_S)
    rig.phone.say(sound)
    await trio.sleep(frames * 0.02 + 6)


def held_ms(rig: Rig) -> list[int]:
    """How long the caller heard nothing, each time, between the first and the last word of the assistant."""
    heard = rig.phone.heard().strip(b"\xff")
    found, at = [], 0
    while (start := heard.find(QUIET_RUN, at)) >= 0:
        at = start + len(heard[start:]) - len(heard[start:].lstrip(b"\xff"))
        found.append(round((at - start) / 8))
    return found


def whole_sentence_was_heard(rig: Rig, frames: int) -> bool:
    """To the last byte and in order; of each interruption that was taken back, one frame may be heard twice."""
    cuts = len(rig.events("bargein.flushed"))
    return whole_and_in_order(rig.phone.heard(), 0, frames, repeated_frames=cuts)


def tell_cost(what: str, phase: int, rig: Rig) -> None:
    paused_ms = [line["paused_ms"] for line in rig.events("bargein.resumed")]
    false_cuts = len(rig.events("bargein.false"))
    sys.stdout.write(f"\n{what}, phase {phase}: paused for {paused_ms} ms and resumed; {false_cuts} false cuts; ")
    sys.stdout.write(f"the caller heard silence for {held_ms(rig)} ms")


@pytest.mark.parametrize(
    ("what", "file", "stretch_s"),
    [
        ("a woman's cough", "cough_sneeze_laugh.wav", (0.0, 1.6)),
        ("a man's cough", "cough_sneeze_laugh.wav", (1.6, 3.2)),
        ("a door", "door.wav", (0.0, 3.6)),
    ],
)
async def test_a_cough_or_a_door_costs_the_caller_nothing_of_the_sentence(
    what: str, file: str, stretch_s: tuple[float, float], recordings: Path, autojump_clock: MockClock
) -> None:
    """Mostly it is a short pause; even where the detector is fooled into a cut, all of the sentence is played."""
    frames = round((stretch_s[1] - stretch_s[0] + GOES_ON_S) * 50)
    cuts = 0
    for phase in range(PHASES):
        async with open_rig(model=DeployedModel()) as rig:
            await make_sound(rig, recorded(recordings / file, stretch_s, phase), frames)
            tell_cost(what, phase, rig)
            cuts += len(rig.events("bargein.flushed"))

            assert whole_sentence_was_heard(rig, frames)
            assert max(held_ms(rig), default=0) <= LONGEST_HELD_MS
            assert rig.phone.player.warnings == []
    assert cuts <= 1


@pytest.mark.parametrize("phase", range(PHASES))
async def test_uh_huh_costs_the_caller_nothing_of_the_sentence(phase: int, autojump_clock: MockClock) -> None:
    """It is speech, so it cuts; the assistant, which ignores it, goes on, and so the sentence is played from there."""
    async with open_rig(model=DeployedModel()) as rig:
        await make_sound(rig, shifted(phrases.spoken("agreement", TELEPHONE), phase), 250)
        tell_cost("uh-huh", phase, rig)

        assert whole_sentence_was_heard(rig, 250)
        assert max(held_ms(rig), default=0) <= LONGEST_HELD_MS
        assert rig.metric("relay_frames_stale_total") == 0


@pytest.mark.parametrize("phase", range(PHASES))
async def test_a_real_stop_cuts(phase: int, autojump_clock: MockClock) -> None:
    """The counterpart: the assistant stops half a second later, and nothing of what it said until then is heard."""
    async with open_rig(model=DeployedModel()) as rig:
        await rig.begin()
        rig.assistant.say(numbered(0, 500))
        await trio.sleep(BEFORE_S)
        rig.phone.say(shifted(phrases.spoken("stop", TELEPHONE), phase))
        await trio.sleep(1)
        rig.assistant.stop()
        rig.assistant.interrupted()
        await trio.sleep(4)

        rig.phone.heard()
        assert len(rig.phone.player.clears) == 1
        assert heard_frames(rig.phone.heard_after_clear()) == []
        assert rig.event("bargein.flushed")["by"] == "caller"
        assert rig.event("bargein.settled")
        assert rig.metric("relay_frames_stale_total") == 0


async def test_five_interruptions_within_half_a_second_are_one_flush(autojump_clock: MockClock) -> None:
    """Five bursts of speech, and the assistant calls each an interruption of its own."""
    word = phrases.spoken("stop", TELEPHONE)
    burst = word[: 4 * len(SILENCE)] + SILENCE
    async with open_rig(model=DeployedModel()) as rig:
        await rig.begin()
        rig.assistant.say(numbered(0, 500))
        await trio.sleep(BEFORE_S)
        rig.phone.say(burst * 5)
        for _ in range(5):
            await trio.sleep(0.1)
            rig.assistant.interrupted()
        rig.assistant.stop()
        await trio.sleep(4)

        rig.phone.heard()
        assert len(rig.phone.player.clears) == 1
        assert len(rig.events("bargein.flushed")) == 1
        assert heard_frames(rig.phone.heard_after_clear()) == []
