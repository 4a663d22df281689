"""What the tests of links share."""

from collections.abc import AsyncIterator

import pytest
import trio

from relay.net.link.shared_reader import shared_reader


@pytest.fixture(params=["by itself", "together"])
async def read_either_way(request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """A link and its stream keep their promises whichever way the socket is read."""
    with shared_reader(lambda _: 0.0) as reader:
        async with trio.open_nursery() as nursery:
            if request.param == "together":
                nursery.start_soon(reader.run)
            yield request.param
            nursery.cancel_scope.cancel()
