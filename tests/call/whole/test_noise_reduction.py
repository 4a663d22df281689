"""Noise reduction on a whole call: what the assistant and the detector hear of a caller in a noisy place."""

import numpy as np
import trio
from trio.testing import MockClock

from relay.config import AudioConfig
from relay.media import g711
from relay.media.frames import TELEPHONE
from tests.support.callrig import TONE, open_rig
from tests.support.numbered import heard_frames, numbered

CLEANED = AudioConfig(noise_reduction="webrtc")
NOISE = g711.encode(np.random.default_rng(4).normal(0, 400, 8000 * 4).astype(np.int16))


async def heard_by_the_assistant(audio: AudioConfig) -> bytes:
    """Two seconds of a noisy line, after two in which the noise could be learnt."""
    async with open_rig(TELEPHONE, audio=audio) as rig:
        await rig.begin()
        rig.phone.say(NOISE)
        await trio.sleep(3.99)
        return rig.assistant.heard[-8000 * 2 :]


async def test_the_assistant_hears_less_of_the_noise_and_off_is_untouched(autojump_clock: MockClock) -> None:
    untouched = await heard_by_the_assistant(AudioConfig())
    cleaned = await heard_by_the_assistant(CLEANED)

    assert untouched in NOISE
    assert power(cleaned) < 0.6 * power(untouched)


async def test_the_caller_still_interrupts(autojump_clock: MockClock) -> None:
    async with open_rig(audio=CLEANED) as rig:
        await rig.begin()
        rig.assistant.say(numbered(0, 300))
        await trio.sleep(2)
        rig.phone.say(TONE * 15)
        await trio.sleep(1)
        rig.assistant.stop()
        await trio.sleep(3)

        rig.phone.heard()
        assert len(rig.phone.player.clears) == 1
        assert heard_frames(rig.phone.heard_after_clear()) == []


def power(audio: bytes) -> float:
    return float(np.mean(g711.decode(audio).astype(np.float64) ** 2))
