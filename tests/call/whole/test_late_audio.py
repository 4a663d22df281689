"""A caller on a bad network: every word arrives whole, and the assistant does not hear the caller later and later."""

import os
from collections.abc import Callable, Sequence
from random import Random

import pytest
import trio
from trio.testing import MockClock

from relay.call.caller.analysis import FLOW_AFTER_S
from relay.standin.lab import scheduled
from relay.standin.lab.line import LabLine
from tests.support.callrig import FRAME_S, SILENCE, open_rig
from tests.support.numbered import numbered

SECONDS = 60 * float(os.environ.get("ENDURANCE_MINUTES") or 0.5)
WORD_FRAMES, PAUSE_FRAMES = 60, 40
GROWTH_MAX_MS = 60
STALL_MAX_S = 1.5


def said(frames: int) -> list[bytes]:
    """Words with pauses between them, and a pause at the end that is long enough to make up for any stall."""
    one = WORD_FRAMES + PAUSE_FRAMES
    speech = [numbered(n % 4096, 1) if n % one < WORD_FRAMES else SILENCE for n in range(frames)]
    return speech + [SILENCE] * round((STALL_MAX_S + 1) / FRAME_S)


def arrivals(profile: str, count: int, seed: int, *, batch: int) -> list[float]:
    """When each frame arrives that was recorded 20 ms after the one before, in batches, over this network."""
    schedule = scheduled(profile, seed, length_s=count * FRAME_S)
    line, times = LabLine(schedule.link, Random(seed)), list[float]()
    stalls = [(event.at_s, event.at_s + event.for_s) for event in schedule.events if event.kind == "stall"]
    for number in range(count):
        at = (number // batch + 1) * batch * FRAME_S
        line.put(b"." * 300, at)
        due = line.next_at
        assert due is not None
        assert line.pop(due) is not None
        due = max([due, *(until for since, until in stalls if since <= due < until)])
        times.append(max(due, times[-1] if times else 0.0))
    return times


def recorded(number: int, _sent_ms: int) -> int:
    return 155 + number * 20


def sent_at(_number: int, sent_ms: int) -> int:
    return sent_ms


@pytest.mark.parametrize("profile", ["cafe", "mobile"])
@pytest.mark.parametrize(
    ("batch", "stamp"),
    [(1, recorded), (1, sent_at), (5, sent_at)],
    ids=["telephone", "stamped when sent", "five at once, stamped when sent"],
)
async def test_no_word_is_lost_or_broken_and_the_delay_does_not_grow(
    batch: int, stamp: Callable[[int, int], int], profile: str, autojump_clock: MockClock
) -> None:
    frames = said(round(SECONDS / FRAME_S))
    times = arrivals(profile, len(frames), 1, batch=batch)
    async with open_rig() as rig:
        await rig.begin(speaking=False)
        began = trio.current_time()
        for number, (frame, at) in enumerate(zip(frames, times, strict=True)):
            await trio.sleep_until(began + at)
            rig.phone.media(frame, timestamp_ms=stamp(number, (number // batch + 1) * batch * 20))
        await trio.sleep(0.1)
        rig.phone.stop()
        heard = rig.assistant.heard
        await rig.ended("caller_hangup")

    came = [heard[at : at + 160] for at in range(0, len(heard), 160)]
    assert [frame for frame in came if frame != SILENCE] == [frame for frame in frames if frame != SILENCE]
    assert broken_words(came) <= late_words(frames, times)
    assert abs(len(came) - len(frames)) * 20 < GROWTH_MAX_MS + batch * 20


def broken_words(came: Sequence[bytes]) -> int:
    """How many words have silence within them."""
    text = "".join("." if frame == SILENCE else "w" for frame in came)
    return len(text.strip(".").replace(".", " ").split()) - text.count("w") // WORD_FRAMES


def late_words(frames: Sequence[bytes], times: Sequence[float]) -> int:
    """How many frames within a word came so late that silence had taken their place."""
    return sum(
        later - earlier > FLOW_AFTER_S and SILENCE not in (before, frame)
        for earlier, later, before, frame in zip(times, times[1:], frames, frames[1:], strict=False)
    )
