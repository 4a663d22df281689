"""The caller's socket is cut at random moments of seeded calls, three times in each.

$ENDURANCE_CUTS says how many cuts (`make endurance`: 200); without it there are a few.
"""

import random
from collections import Counter

import trio
from trio.testing import MockClock

from tests.support.callrig import MULAW, Phone, open_rig
from tests.support.cuts import Trial, cuts_wanted, median_and_p95
from tests.support.numbered import PAIRS, heard_pairs, heard_twice_ms, numbered

FEW = 6
CUTS_PER_CALL = 3
TWICE_MAX_MS = 250.0
LAST_WORDS = 3900


async def cut_call(seed: int) -> list[float]:
    """How much of it was heard twice, for each cut, in ms."""
    dice = random.Random(seed)
    async with open_rig(MULAW) as rig:
        trial = Trial(rig, dice, answers=False)
        await trial.begin()
        await trio.sleep(1)
        frames = dice.randrange(300, 900)
        rig.assistant.say(numbered(0, frames))
        phone, heard = _with_slow_marks(rig.phone, dice), list[list[int]]()
        for _ in range(CUTS_PER_CALL):
            await trio.sleep(dice.uniform(0.1, 5))
            heard.append(heard_pairs(phone.heard()))  # what Twilio still holds now is never heard
            phone.peer.lose()
            await trio.sleep(dice.uniform(0.02, 3))
            phone = _with_slow_marks(await trial.attach(), dice)
        await trio.sleep(frames * 0.02 + 3)
        rig.assistant.say(numbered(LAST_WORDS, 50))
        await trio.sleep(2)
        await trial.talk(1)
        await trio.sleep(2)

        heard.append(heard_pairs(phone.heard()))
        total = Counter(pair for pairs in heard for pair in pairs)
        words = [*range(frames), *range(LAST_WORDS, LAST_WORDS + 50)]
        assert [n for n in words if total[n] < PAIRS] == [], f"seed {seed}: something unheard was skipped"
        assert set(total) <= set(words), f"seed {seed}"
        for pairs in heard:
            assert pairs == sorted(pairs), f"seed {seed}: two voices, or out of order"
        assert trial.problems() == [], f"seed {seed}: the assistant did not hear the caller once"
        assert len(trial.ears) == 1, f"seed {seed}: the assistant's call was not kept"
        assert rig.call.summary()["frames_stale"] == 0, f"seed {seed}"
        return heard_twice_ms(heard)


def _with_slow_marks(phone: Phone, dice: random.Random) -> Phone:
    phone.mark_delay_s = lambda: dice.uniform(0, 0.04)
    return phone


async def test_nothing_unheard_is_skipped_and_little_is_heard_twice(autojump_clock: MockClock) -> None:
    """One voice at a time, the assistant keeps its call and is not mute afterwards."""
    wanted, calls = cuts_wanted(FEW), 0
    twice_ms: list[float] = []
    while len(twice_ms) < wanted:
        twice_ms += await cut_call(calls)
        calls += 1
    median, p95 = median_and_p95(twice_ms)
    print(
        f"\ncaller: {len(twice_ms)} cuts in {calls} calls; "
        f"heard twice: median {median:.0f} ms, p95 {p95:.0f} ms, at most {max(twice_ms):.0f} ms"
    )
    assert max(twice_ms) <= TWICE_MAX_MS
