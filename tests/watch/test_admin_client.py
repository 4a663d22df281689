"""The client of the admin endpoints: events as they are framed, and each failure by what it means."""

from collections.abc import Awaitable, Callable

import pytest
import trio

from relay.watch.admin_client import AdminClient, RelayRefused, RelayUnreachable, ServerEvent, server_events
from tests.support.frontrig import ADMIN_TOKEN, open_front


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        ('event: a\ndata: {"x": 1}\n\nevent: b\ndata: {}\n\n', [("a", {"x": 1}), ("b", {})]),
        (": still here\n\nevent: a\ndata: {}\n\n", [("a", {})]),
        ('event:a\ndata:{"x":\ndata: 1}\n\n', [("a", {"x": 1})]),
        ("event: a\n\nevent: b\ndata: {}\n\n", [("b", {})]),
        ("event: a\ndata: {}", []),
    ],
)
def test_events_are_read_as_they_are_framed(stream: str, events: list[tuple[str, dict[str, object]]]) -> None:
    assert list(server_events(stream.split("\n"))) == [ServerEvent(*event) for event in events]


async def ask(port: int, token: str, question: Callable[[AdminClient], object]) -> object:
    def work() -> object:
        with AdminClient(f"http://127.0.0.1:{port}", token) as client:
            return question(client)

    return await trio.to_thread.run_sync(work)


@pytest.mark.parametrize(
    ("token", "question", "code"),
    [
        ("guess", AdminClient.calls, "ADMIN_TOKEN_NEEDED"),
        ("guess", lambda client: list(client.events("x")), "ADMIN_TOKEN_NEEDED"),
        (ADMIN_TOKEN, lambda client: list(client.events("x")), "CALL_NOT_FOUND"),
    ],
)
async def test_a_refusal_has_the_code_and_the_words_of_the_relay(
    token: str, question: Callable[[AdminClient], object], code: str
) -> None:
    async with open_front() as rig:
        with pytest.raises(RelayRefused) as refused:
            await ask(rig.port, token, question)

    assert (refused.value.code, bool(str(refused.value))) == (code, True)


async def answering(answer: bytes) -> tuple[int, Callable[[], Awaitable[None]]]:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")

    async def serve() -> None:
        async with listener:
            stream = await listener.accept()
            async with stream:
                await stream.receive_some()
                if answer:
                    await stream.send_all(answer)

    return listener.socket.getsockname()[1], serve


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-none\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n<a/>",
        b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 6\r\n\r\n<html>",
        b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 2\r\n\r\n[]",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
        b'HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{"calls": 3}',
    ],
)
async def test_whatever_else_answers_is_no_relay(answer: bytes) -> None:
    port, serve = await answering(answer)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        with pytest.raises(RelayUnreachable):
            await ask(port, "token", AdminClient.calls)


@pytest.mark.parametrize("data", [b"3", b"[]", b"x"])
async def test_events_that_are_none_are_of_no_relay(data: bytes) -> None:
    port, serve = await answering(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nevent: a\ndata: " + data + b"\n\n")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        with pytest.raises(RelayUnreachable):
            await ask(port, "token", lambda client: list(client.events("x")))
