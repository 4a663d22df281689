"""Where a connection goes."""

import pytest
import trio
from structlog.testing import capture_logs
from trio_websocket import ConnectionRejected

from relay.net import listen
from tests.support.frontrig import FrontRig, open_front
from tests.support.peers import dialled, upgraded


@pytest.mark.parametrize(
    "path", ["/", "/client/", "/client/x/y", "/twilio/voice", "/twilio/media/", "/twilio/media/x/y"]
)
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


UNSIGNED = [("x-twilio-signature", "AAAA")]
CLIENT = "198.51.100.7"


@pytest.mark.parametrize("way", ["http", "websocket"])
@pytest.mark.parametrize(
    ("lines", "client"),
    [
        ([], "127.0.0.1"),
        ([CLIENT], CLIENT),
        ([f"{CLIENT}:4711"], CLIENT),
        (["203.0.113.99", CLIENT], CLIENT),
        ([f"203.0.113.99, {CLIENT}"], CLIENT),
        (["[2001:db8:1:2::9]:4711"], "2001:db8:1:2::/64"),
        (["fe80::9%eth0"], "fe80::/64"),
        (["\xff" * 9], "127.0.0.1"),
    ],
)
async def test_a_refusal_is_the_clients_whom_the_proxy_names(way: str, lines: list[str], client: str) -> None:
    headers = [*UNSIGNED, *(("X-Forwarded-For", line) for line in lines)]
    async with open_front() as rig:
        with capture_logs() as logs:
            if way == "websocket":
                await refused_socket(rig, headers)
            else:
                form = "application/x-www-form-urlencoded"
                raw = [(name.encode(), value.encode("latin-1")) for name, value in [*headers, ("Content-Type", form)]]
                await rig.http.post("/twilio/voice", content=b"", headers=raw)

    assert [line["client"] for line in logs if line["event"] == "auth.rejected"] == [client]


async def test_requests_that_the_server_trips_over_are_told_once() -> None:
    async with open_front() as rig:
        with capture_logs() as logs:
            for _ in range(3):
                async with await upgraded(rig.port, "Connection: \xff, Upgrade") as stream:
                    with trio.fail_after(20):
                        while await stream.receive_some():
                            pass

    failed = [line for line in logs if line["event"] == "connection.failed"]
    assert [(line["client"], line["log_level"]) for line in failed] == [("127.0.0.1", "warning")]


async def refused_socket(rig: FrontRig, headers: list[tuple[str, str]]) -> None:
    try:
        async with rig.socket(headers):
            pass
    except* ConnectionRejected:
        pass
