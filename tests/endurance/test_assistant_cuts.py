"""The assistant's socket is cut at random moments of seeded calls: speech, silence, a turn, a flush, a reconnect.

$ENDURANCE_CUTS says how many cuts (`make endurance`: 200); without it there are a few.
"""

import random
from collections.abc import Callable

import trio
from trio.testing import MockClock

from tests.support.callrig import MULAW, open_rig
from tests.support.cuts import Said, Trial, cuts_wanted, median_and_p95, seeded_backoff

FEW = 4
FIRST_BYTE_MEDIAN_MAX_MS = 400.0


async def cut_call(seed: int, standstill: Callable[[float], None] | None = None) -> Trial:
    """A call of four sentences, cut once, and in one of three cases again within 1.5 s.

    With `standstill` nothing runs for 0.1 to 1 s, ten times in the call.
    """
    dice = random.Random(seed)
    async with seeded_backoff(seed), open_rig(MULAW) as rig:
        rig.dialer.answer_after_s = dice.uniform(0.005, 0.06)
        rig.dialer.connect_after_s = dice.uniform(0.002, 0.03)
        trial = Trial(rig, dice)
        await trial.begin()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trial.talk, 4)
            if standstill is not None:
                nursery.start_soon(_stand_still, standstill, random.Random(seed))
            await trio.sleep(dice.uniform(0.3, 11))
            trial.cut()
            if dice.random() < 1 / 3:
                await trio.sleep(dice.uniform(0, 1.5))
                trial.cut()
        await trio.sleep(8)
        lines = rig.events("assistant.reconnected")
        assert lines, f"seed {seed}: no reconnect"
        assert [line["dropped_ms"] for line in lines] == [0] * len(lines), f"seed {seed}"
        assert rig.call.summary()["frames_stale"] == 0, f"seed {seed}"
        return trial


async def _stand_still(standstill: Callable[[float], None], dice: random.Random) -> None:
    for _ in range(10):
        await trio.sleep(dice.uniform(0.2, 1.5))
        standstill(dice.uniform(0.1, 1.0))


async def test_every_segment_of_speech_is_had_exactly_once(autojump_clock: MockClock) -> None:
    """What had its final transcript before the cut is not sent again; all after it comes whole and in order."""
    wanted, cuts, calls, again = cuts_wanted(FEW), 0, 0, 0
    first_byte_ms: list[float] = []
    while cuts < wanted:
        trial = await cut_call(calls)
        assert trial.problems() == [], f"seed {calls}"
        cuts += len(trial.cuts)
        again += sum(bool(ear.frames) for ear in trial.ears[1:])
        first_byte_ms += trial.first_byte_ms()
        calls += 1
    median, p95 = median_and_p95(first_byte_ms)
    print(
        f"\nassistant: {cuts} cuts in {calls} calls, {again} connections got speech again or went on with it; "
        f"from cut to first byte: median {median:.0f} ms, p95 {p95:.0f} ms (virtual clock)"
    )
    assert len(first_byte_ms) == cuts
    if cuts >= 40:
        assert median < FIRST_BYTE_MEDIAN_MAX_MS


async def test_nor_is_a_word_lost_by_a_process_that_stands_still_for_up_to_a_second(autojump_clock: MockClock) -> None:
    """Callers, detector, transcripts and timers all come late and in bursts then."""
    cuts = calls = 0
    while cuts < cuts_wanted(FEW):
        trial = await cut_call(1000 + calls, autojump_clock.jump)
        assert trial.problems() == [], f"seed {1000 + calls}"
        cuts += len(trial.cuts)
        calls += 1
    print(f"\nassistant, with ten standstills of up to 1 s in each call: {cuts} cuts in {calls} calls, all whole")


def test_the_frames_of_all_sentences_can_be_told_apart() -> None:
    """Otherwise the comparison above would show nothing."""
    said = Said()
    for _ in range(6):
        said.new(110)

    assert len(said.names) == 660
