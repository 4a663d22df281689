"""A real server with TLS: requests and WebSockets over it, and what does not speak it."""

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import trio
import trio.testing

from relay.net import listen
from relay.net.asgi_socket import AsgiSocket
from relay.net.server_stream import Place
from tests.support.certificates import make_certificate
from tests.support.peers import dialled, serving, websocket_app

LONG = "x" * 60_000


async def echo(socket: AsgiSocket) -> None:
    while True:
        await socket.send(await socket.receive())


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    return make_certificate(tmp_path)


def server_side(pair: tuple[Path, Path]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pair)
    return context


def client_side(pair: tuple[Path, Path], version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=pair[0])
    context.minimum_version = context.maximum_version = version
    return context


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_requests_and_messages_of_any_length_pass(pair: tuple[Path, Path], version: ssl.TLSVersion) -> None:
    ours, theirs = server_side(pair), client_side(pair, version)
    async with (
        serving(websocket_app(echo), tls=lambda: ours) as port,
        httpx.AsyncClient(verify=theirs, trust_env=False) as client,
    ):
        statuses = [(await client.get(f"https://127.0.0.1:{port}/")).status_code for _ in range(3)]
        async with dialled(port, tls=theirs) as peer:
            for message in ("first", LONG, "last"):
                await peer.connection.send_message(message)
            with trio.fail_after(10):
                heard = [await peer.connection.get_message() for _ in range(3)]

    assert statuses == [204] * 3
    assert heard == ["first", LONG, "last"]


async def test_plain_http_is_closed_without_an_answer_and_the_server_goes_on(pair: tuple[Path, Path]) -> None:
    ours, failures = server_side(pair), list[str]()
    async with (
        serving(websocket_app(echo), tls=lambda: ours, failed=failures.append) as port,
        httpx.AsyncClient(verify=client_side(pair), trust_env=False) as client,
    ):
        async with await trio.open_tcp_stream("127.0.0.1", port) as plain:
            await plain.send_all(b"GET / HTTP/1.1\r\nHost: relay.test\r\n\r\n")
            with trio.fail_after(10):
                answer = bytes(await plain.receive_some())

        assert (await client.get(f"https://127.0.0.1:{port}/")).status_code == 204
    assert (answer, failures) == (b"", ["TlsHandshake"])


async def test_who_looks_only_whether_somebody_listens_is_no_failure(pair: tuple[Path, Path]) -> None:
    ours, failures = server_side(pair), list[str]()
    async with serving(websocket_app(echo), tls=lambda: ours, failed=failures.append) as port:
        for _ in range(3):
            await (await trio.open_tcp_stream("127.0.0.1", port)).aclose()
        async with dialled(port, tls=client_side(pair)) as peer:
            await peer.connection.send_message("hello")
            assert await peer.connection.get_message() == "hello"

    assert failures == []


async def test_one_that_has_to_make_room_in_its_handshake_leaves_the_server_working(pair: tuple[Path, Path]) -> None:
    ours, closing = server_side(pair), list[Callable[[], None]]()

    @contextmanager
    def admit(_peer: str, close: Callable[[], None]) -> Iterator[Place]:
        closing.append(close)
        yield Place()

    async with (
        serving(websocket_app(echo), tls=lambda: ours, admit=admit) as port,
        await trio.open_tcp_stream("127.0.0.1", port) as waits,
    ):
        await trio.testing.wait_all_tasks_blocked(0.05)
        closing[0]()
        with trio.fail_after(10):
            end = await waits.receive_some()
        async with dialled(port, tls=client_side(pair)) as peer:
            await peer.connection.send_message("hello")
            answer = await peer.connection.get_message()

    assert (end, answer) == (b"", "hello")


async def test_who_says_nothing_has_a_deadline(pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listen, "HANDSHAKE_S", 0.2)
    ours = server_side(pair)
    async with (
        serving(websocket_app(echo), tls=lambda: ours) as port,
        await trio.open_tcp_stream("127.0.0.1", port) as silent,
    ):
        with trio.fail_after(10):
            assert await silent.receive_some() == b""


async def test_the_end_of_an_answer_is_told_from_a_connection_that_was_cut(pair: tuple[Path, Path]) -> None:
    """By TLS's own goodbye, without which a client may take an answer for a part of one."""
    ours = server_side(pair)
    async with serving(websocket_app(echo), tls=lambda: ours) as port:
        tcp = await trio.open_tcp_stream("127.0.0.1", port)
        async with trio.SSLStream(tcp, client_side(pair), server_hostname="127.0.0.1") as strict:
            await strict.send_all(b"GET / HTTP/1.1\r\nHost: relay.test\r\nConnection: close\r\n\r\n")
            with trio.fail_after(10):
                answer = b"".join([bytes(part) async for part in strict])

    assert answer.startswith(b"HTTP/1.1 204")
