"""The whole process stands still in the middle of a call: no word is lost, and the assistant does not stay behind."""

import random

import pytest
import trio
from trio.testing import MockClock

from relay.logic.assistant.replay import EDGE_FRAMES
from relay.media.frames import FRAME_MS
from tests.support.callrig import MULAW, SILENCE, open_rig
from tests.support.cuts import Trial, seeded_backoff

SPEECH_FRAMES = 60
PAUSE_FRAMES = 50
SENTENCES = 12
CAUGHT_UP_MS = EDGE_FRAMES * FRAME_MS


@pytest.mark.parametrize(("stood_still_s", "cut"), [(3.0, False), (20.0, False), (20.0, True)])
async def test_after_a_standstill_every_word_comes_once_and_the_assistant_catches_up(
    stood_still_s: float, autojump_clock: MockClock, *, cut: bool
) -> None:
    """The caller talks all the time, with pauses of a second, and then listens."""
    async with seeded_backoff(1), open_rig(MULAW) as rig:
        trial = Trial(rig, random.Random(1), answers=False)
        await trial.begin()
        for _ in range(SENTENCES):
            rig.phone.say(trial.said.new(SPEECH_FRAMES) + SILENCE * PAUSE_FRAMES)
        await trio.sleep(3.3)
        autojump_clock.jump(stood_still_s)
        await trio.sleep(0.5)
        if cut:
            trial.cut()
        received = trial.ears[-1].received
        await trio.sleep(1)
        at_once = trial.ears[-1].received - received
        replay = rig.call._outgoing.replay
        behind_ms = replay.unread_ms
        await trio.sleep(SENTENCES * (SPEECH_FRAMES + PAUSE_FRAMES) * 0.02)

        assert trial.problems() == []
        assert rig.metric("relay_frames_dropped_total", cause="overflow") == 0
        assert behind_ms > CAUGHT_UP_MS or stood_still_s < 20
        assert replay.unread_ms <= CAUGHT_UP_MS
        assert at_once <= 60 or cut
