"""Where a connection goes."""

import pytest
from trio_websocket import ConnectionRejected

from tests.support.frontrig import open_front
from tests.support.peers import dialled


@pytest.mark.parametrize("path", ["/", "/client", "/twilio/voice", "/twilio/media/", "/twilio/media/x"])
async def test_a_websocket_anywhere_else_is_refused_before_the_upgrade(path: str) -> None:
    async with open_front() as rig:
        statuses = []
        try:
            async with dialled(rig.port, path=path):
                pass
        except* ConnectionRejected as group:
            statuses = [error.status_code for error in group.exceptions if isinstance(error, ConnectionRejected)]

        assert statuses == [404]
