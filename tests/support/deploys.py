"""A new process in place of one with live calls."""

from contextlib import AsyncExitStack

import trio

from relay.standin.phone import open_phone
from tests.support.places import OPTIONS, SocketPlace

PATIENCE_S = 60.0


async def deploy_under_calls(place: SocketPlace, calls: int) -> list[float]:
    """None of these calls, to an assistant that never falls silent, is dropped. Returns for how long each heard
    nothing."""
    async with AsyncExitStack() as stack:
        phones = [await stack.enter_async_context(open_phone(place.url, OPTIONS)) for _ in range(calls)]
        for phone in phones:
            assert await phone.wait_heard(500, PATIENCE_S)
        began = trio.current_time()
        await place.deploy()
        gaps: list[float] = []

        async def goes_on(index: int) -> None:
            phone = phones[index]
            assert await phone.wait_until(lambda: phone.result().streams == 2, PATIENCE_S)
            assert await phone.wait_heard(20, PATIENCE_S)
            gaps.append(trio.current_time() - began)
            assert await phone.wait_heard(1000, PATIENCE_S)

        async with trio.open_nursery() as nursery:
            for index in range(calls):
                nursery.start_soon(goes_on, index)
        (handed_over,) = place.events("calls.handed_over")
        assert (handed_over["calls"], handed_over["complete"]) == (calls, True)
        assert [line["reason"] for line in place.events("call.ended")] == ["drain"] * calls
        assert len(place.events("call.taken_over")) == calls
        assert [phone.end for phone in phones] == [None] * calls
        for phone in phones:
            await phone.hang_up()
            assert phone.result().warnings == []
    return gaps
