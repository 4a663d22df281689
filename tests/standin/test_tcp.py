"""A connection that is lost on purpose is lost at once, for both sides."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from relay.standin.tcp import reset
from tests.support.streams import tcp_pair


async def test_the_peer_sees_a_reset_and_not_the_end_of_the_stream() -> None:
    async with tcp_pair() as (here, there):
        reset(here)
        with pytest.raises(trio.BrokenResourceError):
            await there.receive_some()


async def test_who_waits_on_the_stream_is_woken() -> None:
    async with tcp_pair() as (here, _there), trio.open_nursery() as nursery:

        async def wait() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await here.receive_some()

        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        reset(here)


async def test_a_closed_stream_stays_closed() -> None:
    async with tcp_pair() as (here, there):
        await here.aclose()
        reset(here)
        assert await there.receive_some() == b""
