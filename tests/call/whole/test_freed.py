"""The memory of a call that has ended is free at once: short calls by the thousand do not pile up."""

from collections.abc import Awaitable, Callable
from weakref import ref

import pytest
import trio
from trio.testing import MockClock

from tests.support.callrig import TONE, Rig, open_rig
from tests.support.leaks import left_to_the_collector, no_collector
from tests.support.numbered import numbered


async def hangs_up(rig: Rig) -> None:
    rig.phone.stop()


async def interrupts_and_hangs_up(rig: Rig) -> None:
    rig.assistant.say(numbered(0, 300))
    await trio.sleep(2)
    rig.phone.say(TONE * 15)
    await trio.sleep(1)
    rig.phone.stop()


async def loses_the_assistant_and_hangs_up(rig: Rig) -> None:
    rig.dialer.peers[0].lose()
    await trio.sleep(3)
    rig.phone.stop()


async def is_attached_again_and_hangs_up(rig: Rig) -> None:
    rig.phone.peer.lose()
    await trio.sleep(1)
    rig.phone = await rig.attach(rig.call)
    await trio.sleep(1)
    rig.phone.stop()


async def sends_nonsense_and_hangs_up(rig: Rig) -> None:
    rig.phone.peer.send("{")
    await trio.sleep(0.5)
    rig.phone.stop()


async def is_hung_up_on(rig: Rig) -> None:
    rig.dialer.peers[0].close(1000)


CALLERS = [
    hangs_up,
    interrupts_and_hangs_up,
    loses_the_assistant_and_hangs_up,
    is_attached_again_and_hangs_up,
    sends_nonsense_and_hangs_up,
    is_hung_up_on,
]


@pytest.mark.parametrize("caller", CALLERS, ids=lambda caller: caller.__name__)
async def test_a_call_is_freed_when_it_ends_without_the_garbage_collector(
    caller: Callable[[Rig], Awaitable[None]], autojump_clock: MockClock
) -> None:
    with no_collector():
        async with open_rig() as rig:
            await rig.begin()
            await trio.sleep(1)
            await caller(rig)
            await rig.until_over()
            await trio.sleep(1)
            call = ref(rig.call)
            del rig.call, rig.phone, rig.assistant

            assert call() is None
            assert left_to_the_collector() == {}
