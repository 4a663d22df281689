"""Calls that are moved from one assistant call to the next, while one of the two is cut at a random moment of that.

A quarter of $ENDURANCE_CUTS says how many cuts (`make endurance`: 50); without it there are a few.
"""

import random

import trio
from trio.testing import MockClock

from tests.support.callrig import Rig
from tests.support.cuts import Trial, cuts_wanted, seeded_backoff
from tests.support.limited import limited_rig
from tests.support.sockets import MemoryPeer

FEW = 8


async def cut_during_changes(rig: Rig, dice: random.Random, cuts: list[float]) -> None:
    """Most times when two calls with the assistant are there, soon or later, one of them is lost."""
    while True:
        await trio.sleep(0.05)
        if len(_live(rig)) == 2 and dice.random() < 0.6:
            await trio.sleep(dice.uniform(0, dice.choice([0.1, 1.2, 7])))
            dice.choice(_live(rig)).lose()
            cuts.append(trio.current_time())
            await trio.sleep(dice.uniform(0, 5))


def _live(rig: Rig) -> list[MemoryPeer]:
    return [peer for peer in rig.dialer.peers if not peer.gone]


async def test_every_sentence_is_had_once_whichever_of_two_calls_is_lost(autojump_clock: MockClock) -> None:
    cuts: list[float] = []
    changes = seed = 0
    while len(cuts) < cuts_wanted(FEW * 4) / 4:
        dice = random.Random(seed)
        async with seeded_backoff(seed), limited_rig() as rig:
            trial = Trial(rig, dice)
            await trial.begin()
            rig.nursery.start_soon(cut_during_changes, rig, random.Random(seed), cuts)
            await trial.talk(20)
            await trio.sleep(10)
            changes += len(rig.events("assistant.changed"))

            assert trial.problems() == [], f"seed {seed}"
            assert rig.events("call.ended") == [], f"seed {seed}"
        seed += 1
    print(f"\nchange-overs: {len(cuts)} cuts of one of two connections in {seed} calls, {changes} changes as planned")
