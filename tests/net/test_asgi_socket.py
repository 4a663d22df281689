"""AsgiSocket over real hypercorn: what hypercorn 0.18 does differently is settled, once, here."""

import json
import time
from typing import Any

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair
from trio_websocket import ConnectionClosed

from relay.errors import LegLost
from relay.net.asgi_socket import STREAM_STATE, AsgiSocket
from relay.net.link import link
from relay.net.link.fragments import MessageBounds
from relay.net.link.link import Link
from relay.net.link.pace import OF_A_CALL
from relay.net.link.protocol import Side, WebSocketProtocol
from relay.net.listen import WEBSOCKET_MESSAGE_MAX_BYTES
from relay.net.server_stream import UNREAD_MAX
from tests.support.leaks import resources, resources_return_to
from tests.support.peers import WebSocketPeer, dialled, raw_websocket_app, serving, upgraded, websocket_app
from tests.support.raw_frames import close_frame


class Lent:
    """What the server lends: a link in memory, whose peer is a protocol that the test feeds."""

    def __init__(self) -> None:
        near, self.far = memory_stream_pair()
        protocol = WebSocketProtocol(Side.SERVER, MessageBounds(1000, 1000), OF_A_CALL)
        self.link = Link(near, protocol, "socket", unread_max=16)

    def admit(self) -> None:
        pass


def scope(lent: Lent | None = None, **more: Any) -> dict[str, Any]:
    state = {STREAM_STATE: lent}
    return {"type": "websocket", "raw_path": b"/media", "query_string": b"", "headers": [], "state": state, **more}


class Tap:
    """An ASGI application's two ends, driven by hand."""

    def __init__(self, *events: dict[str, Any]) -> None:
        self.put, self._events = trio.open_memory_channel[dict[str, Any]](100)
        self.sent: list[dict[str, Any]] = []
        for event in events:
            self.put.send_nowait(event)

    async def receive(self) -> dict[str, Any]:
        return await self._events.receive()

    async def send(self, event: dict[str, Any]) -> None:
        self.sent.append(event)


def test_headers_are_found_in_any_case() -> None:
    headers = [(b"x-twilio-signature", b"abc"), (b"Host", b"relay.test"), (b"host", b"second")]
    tap = Tap()
    asgi = AsgiSocket(scope(headers=headers, query_string=b"a=1", raw_path=b"/a%2Fb"), tap.receive, tap.send)
    assert asgi.header("X-Twilio-Signature") == "abc"
    assert asgi.header("HOST") == "relay.test"
    assert asgi.header("origin") is None
    assert (asgi.raw_path, asgi.query) == ("/a%2Fb", "a=1")


async def test_refusing_answers_the_upgrade_with_status_and_json() -> None:
    async def refuse(asgi: AsgiSocket) -> None:
        await asgi.refuse(503, error="no room; call again later", code="FULL")

    async with serving(raw_websocket_app(refuse)) as port:
        stream = await upgraded(port)
        answer = b"".join([bytes(part) async for part in stream])
        await stream.aclose()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 ")
    assert b"content-type: application/json" in head
    assert json.loads(body) == {"error": "no room; call again later", "code": "FULL"}


async def test_refusing_is_a_plain_close_where_the_server_knows_no_more() -> None:
    tap = Tap({"type": "websocket.connect"})
    async with AsgiSocket(scope(), tap.receive, tap.send) as asgi:
        await asgi.refuse(403, error="no", code="NO")
    assert tap.sent == [{"type": "websocket.close"}]


async def test_leaving_without_an_answer_refuses() -> None:
    async def leave(asgi: AsgiSocket) -> None:
        await trio.lowlevel.checkpoint()

    async with serving(raw_websocket_app(leave)) as port:
        stream = await upgraded(port)
        answer = b"".join([bytes(part) async for part in stream])
        await stream.aclose()
    assert answer.startswith(b"HTTP/1.1 403 ")


@pytest.mark.parametrize(
    ("error", "code"),
    [(None, 1000), (RuntimeError("bug"), 1011), (KeyboardInterrupt(), 1012)],
    ids=["ok", "bug", "stop"],
)
async def test_the_close_code_says_how_the_application_left(
    autojump_clock: MockClock, error: BaseException | None, code: int
) -> None:
    lent, tap = Lent(), Tap({"type": "websocket.connect"})
    asgi = AsgiSocket(scope(lent), tap.receive, tap.send)
    await asgi.__aenter__()
    await asgi.accept()
    await asgi.__aexit__(type(error) if error else None, error, None)
    assert await lent.far.receive_some() == close_frame(code, masked=False)
    assert tap.sent == [{"type": "websocket.accept"}]


async def test_close_is_bounded_when_the_peer_never_answers(autojump_clock: MockClock) -> None:
    lent, tap = Lent(), Tap({"type": "websocket.connect"})
    async with AsgiSocket(scope(lent), tap.receive, tap.send) as asgi:
        await asgi.accept()
    assert trio.current_time() < 2.5
    assert await lent.far.receive_some() == close_frame(1000, masked=False)
    assert await lent.far.receive_some() == b""


async def test_a_cancelled_application_still_says_1012_to_its_client() -> None:
    """E6/E12: hypercorn itself leaves with a bare end of stream."""

    async def stay(asgi: AsgiSocket) -> None:
        await asgi.receive()

    async with trio.open_nursery() as nursery:
        codes: list[int | None] = []

        async def client(port: int, ready: trio.Event) -> None:
            async with dialled(port) as peer:
                ready.set()
                with pytest.raises(ConnectionClosed) as closed:
                    await peer.receive()
                codes.append(closed.value.reason.code if closed.value.reason else None)

        async with serving(websocket_app(stay)) as port:
            ready = trio.Event()
            nursery.start_soon(client, port, ready)
            await ready.wait()
    assert codes == [1012]


async def flood(peer: WebSocketPeer, count: int) -> None:
    try:
        for _ in range(count):
            await peer.send("x")
    except ConnectionClosed:
        pass


@pytest.mark.parametrize("farewell", ["close", "lose", "stay"])
async def test_leaving_with_more_unread_messages_than_the_queue_holds_leaks_nothing(farewell: str) -> None:
    """E2/E14: the disconnect cannot enter a full queue, and the connection task would stay for ever."""
    left = trio.Event()

    async def leave_unread(asgi: AsgiSocket) -> None:
        await trio.sleep(0.1)
        await asgi.close()
        left.set()

    async with serving(websocket_app(leave_unread)) as port:
        before = await resources()
        async with dialled(port) as peer:
            await flood(peer, UNREAD_MAX * 4)
            if farewell != "stay":
                await getattr(peer, farewell)()
            await left.wait()
        await resources_return_to(before)


async def stall(times: int) -> None:
    """The process, as on a machine with too much to do, stands still again and again."""
    for _ in range(times):
        time.sleep(0.03)  # noqa: ASYNC251
        await trio.lowlevel.checkpoint()


@pytest.mark.parametrize("stalls", [0, 20])
async def test_leaving_a_peer_that_floods_and_never_answers_the_close_leaks_nothing(
    stalls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "CLOSE_LIMIT_S", 0.2)

    async def leave(asgi: AsgiSocket) -> None:
        await trio.sleep(0.05)

    async with serving(websocket_app(leave)) as port, trio.open_nursery() as nursery:
        before = await resources()
        stream = await upgraded(port)
        await stream.receive_some()
        frames = b"\x81\x81\0\0\0\0x" * 1000  # text messages of one byte, masked with zeros

        async def pour() -> None:
            try:
                while True:
                    await stream.send_all(frames)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass

        with trio.fail_after(20):
            nursery.start_soon(stall, stalls)
            await pour()
        await stream.aclose()
        await resources_return_to(before)


async def test_what_a_stranger_poured_in_before_it_left_is_not_waited_for() -> None:
    """It would be handed on, two pings a second, for minutes."""

    async def leave(asgi: AsgiSocket) -> None:
        await asgi.accept()
        await trio.sleep(0.05)

    async with serving(raw_websocket_app(leave)) as port:
        before = await resources()
        async with await upgraded(port) as stream:
            await stream.receive_some()
            await stream.send_all(b"\x89\x80\0\0\0\0" * 3000)
        with trio.fail_after(10):
            await resources_return_to(before)


@pytest.mark.parametrize(
    "offer",
    [
        "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=abc",
        "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=99",
    ],
)
async def test_a_handshake_that_cannot_be_answered_is_leg_lost_or_works(offer: str) -> None:
    results: list[str] = []
    done = trio.Event()

    async def accept(asgi: AsgiSocket) -> None:
        try:
            await asgi.accept()
            results.append("accepted")
        except LegLost:
            results.append("lost")
        done.set()

    async with serving(raw_websocket_app(accept)) as port:
        stream = await upgraded(port, offer)
        with trio.fail_after(20):
            await done.wait()
        await stream.aclose()
    assert results in (["accepted"], ["lost"])


async def test_who_sends_on_to_a_peer_that_left_lets_others_run_and_learns_of_it_without_receiving() -> None:
    """E3/E9."""
    left, results = trio.Event(), trio.Event()

    async def send_on(asgi: AsgiSocket) -> None:
        await left.wait()
        with pytest.raises(LegLost):
            await send_forever(asgi)
        with pytest.raises(LegLost):
            await asgi.receive()
        results.set()

    async with serving(websocket_app(send_on)) as port:
        async with dialled(port) as peer:
            await peer.lose()
        left.set()
        with trio.fail_after(20):
            await results.wait()


async def send_forever(asgi: AsgiSocket) -> None:
    while True:
        await asgi.send("x")


async def test_pings_are_answered_while_the_application_is_not_receiving() -> None:
    """E4: only as long as the queue has room, which is a second of audio."""
    done = trio.Event()

    async def busy(asgi: AsgiSocket) -> None:
        await done.wait()

    async with serving(websocket_app(busy)) as port, dialled(port) as peer:
        await flood(peer, UNREAD_MAX - 1)
        with trio.fail_after(20):
            await peer.connection.ping()
        done.set()


async def test_an_oversized_message_closes_with_1009_and_the_application_is_told() -> None:
    """E10."""
    told = trio.Event()

    async def read(asgi: AsgiSocket) -> None:
        with pytest.raises(LegLost):
            await asgi.receive()
        told.set()

    async with serving(websocket_app(read)) as port, dialled(port) as peer:
        await peer.send("x" * (WEBSOCKET_MESSAGE_MAX_BYTES + 1))
        with pytest.raises(ConnectionClosed) as closed:
            await peer.receive()
        assert closed.value.reason is not None
        assert closed.value.reason.code == 1009
        with trio.fail_after(20):
            await told.wait()


async def test_closing_frees_a_send_to_a_peer_that_stopped_reading() -> None:
    """E1/E7: hypercorn shields the send without a limit; closing cuts the connection under it."""
    outcome: list[str] = []
    free = trio.Event()

    async def fill(asgi: AsgiSocket) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(keep_sending, asgi)
            await trio.sleep(0.3)
            await asgi.close()
        outcome.append("free")
        free.set()

    async def keep_sending(asgi: AsgiSocket) -> None:
        try:
            while True:
                await asgi.send(b"x" * 60_000)
        except LegLost:
            outcome.append("lost")

    async with serving(websocket_app(fill)) as port:
        before = await resources()
        stream = await upgraded(port)
        with trio.fail_after(10):
            await free.wait()
        assert outcome == ["lost", "free"]
        await stream.aclose()
        await resources_return_to(before)


async def test_messages_sent_both_ways_arrive_whole_and_in_order_at_a_peer_that_reads_slowly() -> None:
    """Some leave at once, and the others when the kernel takes more."""
    texts = [f"{number} " + "x" * 60_000 for number in range(300)]
    direct = 0

    async def talk(asgi: AsgiSocket) -> None:
        nonlocal direct
        for text in texts:
            if asgi.send_now(text):
                direct += 1
            else:
                await asgi.send(text)

    async with serving(websocket_app(talk)) as port, dialled(port) as peer:
        with trio.fail_after(30):
            assert [await peer.receive() for _ in texts] == texts
    assert 0 < direct < len(texts)


async def test_nothing_is_written_directly_before_the_handshake_or_after_the_goodbye() -> None:
    refused: list[bool] = []

    async def talk(asgi: AsgiSocket) -> None:
        refused.append(asgi.send_now("early"))
        await asgi.accept()
        await asgi.close()
        refused.append(asgi.send_now("late"))

    async with serving(raw_websocket_app(talk)) as port, dialled(port) as peer:
        with pytest.raises(ConnectionClosed):
            await peer.receive()
    assert refused == [False, False]


async def test_no_message_follows_the_answer_to_the_peers_close() -> None:
    """hypercorn answers by itself, before `receive` tells the application (RFC 6455, 5.5.1)."""

    async def talk(asgi: AsgiSocket) -> None:
        with trio.move_on_after(1):
            while True:
                await asgi.send(b"x")
                await trio.lowlevel.checkpoint()

    async with serving(websocket_app(talk)) as port:
        stream = await upgraded(port)
        async with stream:
            received = await stream.receive_some()
            await stream.send_all(b"\x88\x82\0\0\0\0\x03\xe8")
            with trio.fail_after(20):
                while part := await stream.receive_some():
                    received += part

    assert received.endswith(b"\x82\x01x\x88\x02\x03\xe8")
