"""The socket of a call on a virtual clock: what leaves when, what is recorded, how each ending looks to the client."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_client_stream, wrap_server_stream

from relay.media.frames import TELEPHONE
from relay.standin.assistant.behaviour import Behaviour
from relay.standin.assistant.call import AssistantCall
from relay.standin.assistant.order import Order
from relay.standin.assistant.record import SocketRecord
from relay.standin.assistant.transport import run_transport
from tests.support.streams import socket_pair

SILENT = Behaviour(script="silent", in_progress_ms=0, first_audio_ms=0)


@asynccontextmanager
async def connected(
    behaviour: Behaviour = SILENT,
) -> AsyncIterator[tuple[AssistantCall, WebSocketConnection, trio.Event]]:
    """A call, its client, and the event of the transport's return."""
    client_end, server_end = socket_pair()
    call = AssistantCall(
        "call-1",
        Order(TELEPHONE, {"clientMessages": ["status-update"]}, "a"),
        behaviour,
        SocketRecord(TELEPHONE, 60.0),
        None,
        0.0,
    )
    returned = trio.Event()

    async def serve() -> None:
        async with trio.open_nursery() as nursery:
            socket = await (await wrap_server_stream(nursery, server_end)).accept()
            call.connect(trio.current_time())
            await run_transport(call, socket, server_end)
            nursery.cancel_scope.cancel()
        returned.set()

    async with client_end, server_end, trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        client = await wrap_client_stream(nursery, client_end, "relay.test", "/call-1/transport")
        yield call, client, returned
        nursery.cancel_scope.cancel()


async def text(client: WebSocketConnection) -> dict[str, Any]:
    """The next text message; audio before it is passed over."""
    while True:
        message = await client.get_message()
        if isinstance(message, str):
            value: dict[str, Any] = json.loads(message)
            return value


async def close_code(client: WebSocketConnection) -> int | None:
    """Read to the end."""
    while True:
        try:
            await client.get_message()
        except ConnectionClosed as closed:
            return closed.reason.code if closed.reason is not None else None


async def test_audio_leaves_every_50_ms_in_real_time(autojump_clock: MockClock) -> None:
    async with connected() as (_, client, _):
        await text(client)
        began_s, n_bytes, times_s = trio.current_time(), 0, set()
        while n_bytes < 8000:
            message = await client.get_message()
            assert isinstance(message, bytes)
            n_bytes += len(message)
            times_s.add(round(trio.current_time() - began_s, 6))

    assert all(at_s * 20 == pytest.approx(round(at_s * 20)) for at_s in times_s)
    assert max(times_s) == pytest.approx(1.0, abs=0.1)


async def test_an_answer_does_not_wait_for_the_next_tick(autojump_clock: MockClock) -> None:
    async with connected() as (_, client, _):
        await text(client)
        await trio.sleep(0.02)
        asked_s = trio.current_time()
        await client.send_message('{"type":"end-call"}')

        assert (await text(client))["status"] == "ended"
        assert trio.current_time() == asked_s


async def test_what_passes_is_recorded_with_its_time(autojump_clock: MockClock) -> None:
    async with connected() as (call, client, _):
        await text(client)
        await trio.sleep(0.5)
        await client.send_message(b"\xff" * 160)
        await client.send_message('{"type":"control","control":"mute-customer"}')
        await trio.sleep(0.01)
        now_s = trio.current_time()

        ((at_s, n_bytes),) = call.received.arrivals
        assert at_s == pytest.approx(now_s - 0.01)
        assert n_bytes == 160
        assert call.sent.arrivals
        first, *_, last = call.record.events
        assert (first.outgoing, first.message) == (True, {"type": "status-update", "status": "in-progress"})
        assert (last.outgoing, last.message) == (False, {"type": "control", "control": "mute-customer"})


@pytest.mark.parametrize("sent", ["no JSON at all", "[1, 2]"])
async def test_a_message_that_is_no_object_is_recorded_as_it_came(sent: str, autojump_clock: MockClock) -> None:
    async with connected() as (call, client, _):
        await text(client)
        await client.send_message(sent)
        await close_code(client)

        assert call.record.events[-1].message == {"raw": sent}


async def test_an_end_in_order_is_told_and_then_closed_with_1000(autojump_clock: MockClock) -> None:
    async with connected() as (call, client, returned):
        await text(client)
        call.end("assistant-ended-call")

        assert (await text(client))["endedReason"] == "assistant-ended-call"
        assert await close_code(client) == 1000
        await returned.wait()


async def test_an_unknown_message_closes_the_socket_without_a_code(autojump_clock: MockClock) -> None:
    async with connected() as (_, client, returned):
        await text(client)
        await client.send_message('{"type":"keepalive"}')

        assert await close_code(client) == 1005
        await returned.wait()


async def test_a_drop_ends_the_connection_without_a_close_frame(autojump_clock: MockClock) -> None:
    async with connected() as (call, client, returned):
        await text(client)
        call.drop()

        assert await close_code(client) == 1006
        await returned.wait()


async def test_when_the_client_closes_the_call_is_over_at_once(autojump_clock: MockClock) -> None:
    async with connected() as (call, client, returned):
        await text(client)
        closed_s = trio.current_time()
        await client.aclose()
        await returned.wait()

        assert trio.current_time() == closed_s
        assert call.conversation is not None
        assert call.conversation.ending is not None
        assert (call.conversation.ending.reason, call.conversation.ending.how) == ("customer-ended-call", "gone")


async def test_a_client_that_reads_nothing_is_dropped_after_10_s(autojump_clock: MockClock) -> None:
    """Ten minutes of tone are more than the network between them holds."""
    async with connected(Behaviour(script="tone", burst=True, in_progress_ms=0, first_audio_ms=0)) as (
        call,
        _,
        returned,
    ):
        began_s = trio.current_time()
        await returned.wait()

        assert trio.current_time() - began_s == pytest.approx(10, abs=0.1)
        assert call.conversation is not None
        assert call.conversation.ending is not None
        assert call.conversation.ending.how == "drop"
