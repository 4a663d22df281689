"""Where a connection goes."""

import pytest
import trio
from trio_websocket import ConnectionRejected

from relay.net import listen
from tests.support.frontrig import open_front
from tests.support.peers import dialled


@pytest.mark.parametrize("path", ["/", "/client/x", "/twilio/voice", "/twilio/media/", "/twilio/media/x"])
async def test_a_websocket_anywhere_else_is_refused_before_the_upgrade(path: str) -> None:
    async with open_front() as rig:
        statuses = []
        try:
            async with dialled(rig.port, path=path):
                pass
        except* ConnectionRejected as group:
            statuses = [error.status_code for error in group.exceptions if isinstance(error, ConnectionRejected)]

        assert statuses == [404]


@pytest.mark.parametrize("path", ["/health", "/nothing", "/metrics"])
async def test_a_connection_that_was_used_is_closed_when_it_is_idle(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listen, "IDLE_CONNECTION_S", 0.2)
    async with open_front() as rig:
        stream = await trio.open_tcp_stream("127.0.0.1", rig.port)
        async with stream:
            await stream.send_all(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            with trio.fail_after(5):
                while await stream.receive_some():
                    pass
