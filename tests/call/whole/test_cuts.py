"""The assistant's socket is cut at random moments: each sentence is understood once, or comes again from its start."""

import random

import numpy as np
import pytest
import trio
from trio.testing import MockClock

from relay.media import g711
from tests.support.callrig import SILENCE, Assistant, open_rig

SENTENCES = 5


def sentence(number: int, seconds: float) -> bytes:
    """Speech to `LoudnessModel`, and no other sentence has a frame of it."""
    at = np.arange(int(seconds * 50) * 160) / 8000
    return g711.encode((9000 * np.sin(2 * np.pi * (300 + 70 * number) * at)).astype(np.int16))


async def follow(assistant: Assistant, said: list[bytes], finished: set[int], dice: random.Random) -> None:
    """Say of each sentence that came whole over this connection that it was understood, a moment later."""
    told: set[int] = set()
    while not assistant.peer.gone:
        for number, words in enumerate(said):
            if number not in told and words in assistant.heard:
                told.add(number)
                await trio.sleep(dice.uniform(0.35, 0.7))
                if not assistant.peer.gone:
                    finished.add(number)
                    assistant.transcript(f"sentence {number}", kind="final")
        await trio.sleep(0.2)


@pytest.mark.parametrize("seed", range(4))
async def test_every_sentence_is_had_whole_and_none_twice(seed: int, autojump_clock: MockClock) -> None:
    dice = random.Random(seed)
    said = [sentence(number, dice.uniform(0.6, 2.0)) for number in range(SENTENCES)]
    finished: set[int] = set()
    async with open_rig() as rig:
        await rig.begin()
        connections = [(rig.assistant, set(finished))]
        rig.nursery.start_soon(follow, rig.assistant, said, finished, dice)
        for words in said:
            rig.phone.say(words + SILENCE * int(dice.uniform(30, 90)))
        talk_s = len(rig.phone.saying) * 0.02
        cuts = sorted(dice.uniform(0.3, talk_s) for _ in range(3))
        start = trio.current_time()
        for cut in cuts:
            await trio.sleep_until(start + cut)
            if rig.dialer.peers[-1].gone:
                continue
            rig.dialer.connected = trio.Event()
            rig.dialer.peers[-1].lose()
            known = set(finished)
            assistant = await rig.meet_assistant()
            connections.append((assistant, known))
            rig.nursery.start_soon(follow, assistant, said, finished, dice)
        await trio.sleep(talk_s + 12)

        assert finished == set(range(SENTENCES))
        assert all(line["dropped_ms"] == 0 for line in rig.events("assistant.reconnected"))
        for assistant, known in connections:
            heard = assistant.heard
            assert not [number for number in known if said[number][:1600] in heard], "understood, and sent again"
            order = [heard.index(words) for words in said if words in heard]
            assert order == sorted(order)
