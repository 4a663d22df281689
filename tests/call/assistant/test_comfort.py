"""The comfort sound begins when an outage has been silent for a while, gives way to words, and ends with the outage."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import cast

import pytest
import trio
from trio.testing import MockClock

from relay.call.assistant.comfort import COMFORT_AFTER_S, PLAYED_S, Comfort
from relay.call.playback.playback import Playback
from relay.media.comfort import comfort_frames
from relay.media.frames import TELEPHONE

PERIOD = comfort_frames(TELEPHONE)


@dataclass
class Played:
    """In the place of playback: notes when which frame of the comfort sound came."""

    format = TELEPHONE
    speaker: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(last_audible_at=trio.current_time()))
    frames: list[tuple[float, bytes]] = field(default_factory=list)
    over_at: list[float] = field(default_factory=list)

    def comfort(self, frame: bytes) -> None:
        self.frames.append((trio.current_time(), frame))

    def comfort_over(self) -> None:
        self.over_at.append(trio.current_time())


class Rig:
    def __init__(self) -> None:
        self.played = Played()
        self.needed = True
        self.comfort = Comfort(cast("Playback", self.played))

    async def no_longer_needed(self) -> None:
        self.needed = False
        await trio.sleep(PLAYED_S + 0.1)


@asynccontextmanager
async def running() -> AsyncIterator[Rig]:
    rig = Rig()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rig.comfort.run, lambda: rig.needed)
        await trio.testing.wait_all_tasks_blocked()
        yield rig
        nursery.cancel_scope.cancel()


async def test_nothing_is_played_without_an_outage(autojump_clock: MockClock) -> None:
    async with running() as rig:
        await trio.sleep(60)

    assert rig.played.frames == []


async def test_silence_in_an_outage_is_filled_frame_by_frame_with_one_melody(autojump_clock: MockClock) -> None:
    async with running() as rig:
        began_at = trio.current_time()
        rig.comfort.begin()
        await trio.sleep(COMFORT_AFTER_S + 3 + 0.01)
    times, frames = zip(*rig.played.frames, strict=True)

    assert times[0] - began_at == pytest.approx(COMFORT_AFTER_S)
    assert list(times) == pytest.approx([times[0] + number * 0.02 for number in range(151)])
    assert frames == (*PERIOD, *PERIOD, *PERIOD)[:151]


async def test_it_waits_until_what_was_queued_has_been_heard_and_silent_for_a_while(autojump_clock: MockClock) -> None:
    async with running() as rig:
        rig.comfort.begin()
        for _ in range(100):
            rig.played.speaker.last_audible_at = trio.current_time()
            await trio.sleep(0.02)
        await trio.sleep(1)

    assert rig.played.frames[0][0] - rig.played.speaker.last_audible_at == pytest.approx(COMFORT_AFTER_S)


async def test_words_in_between_silence_it_for_as_long_again(autojump_clock: MockClock) -> None:
    async with running() as rig:
        rig.comfort.begin()
        await trio.sleep(2)
        before = len(rig.played.frames)
        rig.played.speaker.last_audible_at = spoken_at = trio.current_time()
        await trio.sleep(2)

    assert rig.played.frames[before][0] - spoken_at == pytest.approx(COMFORT_AFTER_S)


async def test_it_ends_with_the_need_and_playback_is_told_once_all_of_it_was_played(
    autojump_clock: MockClock,
) -> None:
    async with running() as rig:
        rig.comfort.begin()
        await trio.sleep(2)
        ended_at, number = trio.current_time(), len(rig.played.frames)
        await rig.no_longer_needed()
        await trio.sleep(60)

    assert len(rig.played.frames) <= number + 1
    assert rig.played.over_at == [pytest.approx(ended_at + PLAYED_S, abs=0.03)]


async def test_an_outage_too_short_for_it_leaves_nothing_to_take_back(autojump_clock: MockClock) -> None:
    async with running() as rig:
        rig.comfort.begin()
        await trio.sleep(COMFORT_AFTER_S / 2)
        rig.needed = False
        rig.played.speaker.last_audible_at = trio.current_time()
        await trio.sleep(60)

    assert (rig.played.frames, rig.played.over_at) == ([], [])


async def test_a_second_outage_right_after_is_one_with_the_first_and_a_later_one_begins_the_melody_anew(
    autojump_clock: MockClock,
) -> None:
    async with running() as rig:
        rig.comfort.begin()
        await trio.sleep(2)
        rig.needed = False
        await trio.sleep(PLAYED_S / 2)
        rig.needed = True
        rig.comfort.begin()
        await trio.sleep(2)
        assert rig.played.over_at == []

        await rig.no_longer_needed()
        assert len(rig.played.over_at) == 1
        before = len(rig.played.frames)
        rig.needed = True
        rig.comfort.begin()
        await trio.sleep(2)
        assert rig.played.frames[before][1] == PERIOD[0]
