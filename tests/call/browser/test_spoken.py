"""Audio sent in one piece is spoken in real time, in order, and no more of it waits than is allowed."""

import trio
from trio.testing import MockClock

from relay.call.browser import spoken
from relay.call.browser.leg import BrowserLeg
from relay.call.browser.spoken import Spoken
from relay.call.caller.leg import CallerAudio
from relay.media.frames import WIDEBAND


async def heard(leg: BrowserLeg, into: list[tuple[float, CallerAudio]]) -> None:
    while True:
        event = await leg.receive()
        assert isinstance(event, CallerAudio)
        into.append((trio.current_time(), event))


async def test_it_takes_as_long_as_it_lasts_but_for_the_lead(autojump_clock: MockClock) -> None:
    leg, it = BrowserLeg(WIDEBAND, 80), Spoken()
    pcm = b"".join(number.to_bytes(2, "little") * 320 for number in range(250))
    told: list[tuple[float, CallerAudio]] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(it.run, leg)
        nursery.start_soon(heard, leg, told)
        began_at = trio.current_time()
        assert it.add(pcm)
        await trio.sleep(10)
        nursery.cancel_scope.cancel()

    assert b"".join(audio.data for _, audio in told) == pcm
    assert {audio.stamp_ms for _, audio in told} == {None}
    last_at = told[-1][0] - began_at
    assert 5 - spoken.LEAD_S - 0.05 <= last_at <= 5 - spoken.LEAD_S + 0.05
    assert it.add(bytes(spoken.WAITING_MAX_BYTES)), "nothing waits any more"


async def test_small_pieces_are_not_held_up(autojump_clock: MockClock) -> None:
    leg, it = BrowserLeg(WIDEBAND, 80), Spoken()
    told: list[tuple[float, CallerAudio]] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(it.run, leg)
        nursery.start_soon(heard, leg, told)
        for _ in range(100):
            it.add(bytes(640))
            sent_at = trio.current_time()
            await trio.sleep(0.02)
            assert told[-1][0] == sent_at
        nursery.cancel_scope.cancel()


def test_only_so_much_waits() -> None:
    it = Spoken()
    assert it.add(bytes(spoken.WAITING_MAX_BYTES))
    assert not it.add(b"\0\0")
