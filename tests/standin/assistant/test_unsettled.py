"""Each open question of Vapi's documents, with each answer that the built-in assistant can give, on a real socket."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from relay.errors import LegClosed, LegLost
from relay.media.frames import TELEPHONE
from relay.net.client_socket import client_socket_over, open_client_socket
from relay.net.dial import Target, dial
from relay.net.link.link import Link
from relay.net.rest import RestClient, open_rest_client
from relay.standin.assistant import Assistant, AssistantCall, Behaviour, open_assistant
from relay.standin.assistant.unsettled import AHEAD_LIMIT_S, OnDelete, PaceCheck, Unsettled
from relay.standin.sound import decode, level_dbfs
from tests.support.quick import pulse, quick_clock

KEY = "private"
HEADERS = {"Authorization": f"Bearer {KEY}"}


@pytest.fixture
def clock() -> MockClock:
    return quick_clock()


@asynccontextmanager
async def opened(unsettled: Unsettled, **behaviour: Any) -> AsyncGenerator[tuple[Assistant, RestClient], None]:
    whole = Behaviour(unsettled=unsettled, **behaviour)
    async with pulse(), open_assistant(key=KEY, behaviour=whole) as assistant, open_rest_client(5) as rest:
        yield assistant, rest


async def order(assistant: Assistant, rest: RestClient, **overrides: Any) -> AssistantCall:
    body = {
        "assistantId": "a",
        "assistantOverrides": overrides,
        "transport": {"provider": "vapi.websocket", "audioFormat": {"format": "mulaw", "sampleRate": 8000}},
    }
    _, answer = await rest.post_json(f"{assistant.base_url}/call", body, HEADERS)
    return assistant.calls[json.loads(answer)["id"]]


async def told(socket: Link, seconds: float) -> tuple[list[dict[str, Any]], bytes, int | None]:
    """The texts and the audio of so many seconds, and the close code if the socket was closed by then."""
    texts: list[dict[str, Any]] = []
    audio = bytearray()
    with trio.move_on_after(seconds):
        try:
            while True:
                message = await socket.receive()
                if isinstance(message, bytes):
                    audio += message
                else:
                    texts.append(json.loads(message))
        except LegClosed as closed:
            return texts, bytes(audio), closed.close_code
    return texts, bytes(audio), None


def connected(call: AssistantCall) -> Any:
    return open_client_socket(call.socket_url, connect_timeout_s=5)


@asynccontextmanager
async def talking(unsettled: Unsettled, **overrides: Any) -> AsyncGenerator[Link, None]:
    """The socket of a call with an assistant that says nothing."""
    async with (
        opened(unsettled, script="silent") as (assistant, rest),
        connected(await order(assistant, rest, **overrides)) as socket,
    ):
        yield socket


@pytest.mark.parametrize(("pick_up_s", "taken"), [(4.0, False), (6.0, True)])
async def test_an_address_is_good_for_as_long_as_it_says(clock: MockClock, pick_up_s: float, taken: bool) -> None:
    async with opened(Unsettled(pick_up_s=pick_up_s)) as (assistant, rest):
        call = await order(assistant, rest)
        await trio.sleep(5)
        with suppress(LegLost):
            async with connected(call):
                assert taken

    assert (call.started_at is not None) is taken


@pytest.mark.parametrize(("redial_s", "taken"), [(0.0, False), (1.0, False), (3.0, True)])
async def test_a_lost_socket_is_replaced_within_the_time_for_it(clock: MockClock, redial_s: float, taken: bool) -> None:
    async with opened(Unsettled(redial_s=redial_s), ends_with_socket=False) as (assistant, rest):
        call = await order(assistant, rest)
        target = Target.parse(call.socket_url)
        stream = await dial(target, None)
        with suppress(LegLost):
            async with client_socket_over(stream, target, deadline=trio.current_time() + 5):
                await trio.aclose_forcefully(stream)
        await trio.sleep(2)
        with suppress(LegLost):
            async with connected(call):
                assert taken

    assert assistant.counts["refused_sockets"] == (not taken)


@pytest.mark.parametrize(("uplink_gap_s", "code"), [(3.0, 1005), (30.0, None)])
async def test_a_gap_in_the_audio_is_closed_after_its_time(
    clock: MockClock, uplink_gap_s: float, code: int | None
) -> None:
    async with talking(Unsettled(uplink_gap_s=uplink_gap_s)) as socket:
        _, _, closed = await told(socket, 10)

    assert closed == code


async def test_an_unknown_message_is_ignored_where_it_is_told_to(clock: MockClock) -> None:
    async with talking(Unsettled(unknown_message="ignore")) as socket:
        await socket.send('{"type":"surprise"}')
        _, _, closed = await told(socket, 2)

    assert closed is None


@pytest.mark.parametrize(
    ("answer", "hears", "code"), [("heard", True, None), ("unheard", False, None), ("closed", False, 1005)]
)
async def test_fast_audio_is_heard_or_lost_or_ends_the_call(
    clock: MockClock, answer: Any, hears: bool, code: int | None
) -> None:
    async with talking(Unsettled(fast_uplink=answer)) as socket:
        await told(socket, 1)
        await socket.send(bytes([0x80, 0x00]) * (8000 * 3 // 2))
        texts, _, closed = await told(socket, 3)

    started = [it for it in texts if it["type"] == "speech-update" and it["role"] == "user"]
    assert (bool(started), closed) == (hears, code)


@pytest.mark.parametrize(
    ("farewell", "expected"),
    [
        ("reason", [("status-update", "customer-ended-call")]),
        ("no reason", [("status-update", None)]),
        ("report", [("status-update", "customer-ended-call"), ("end-of-call-report", "customer-ended-call")]),
        ("nothing", []),
    ],
)
async def test_the_goodbye_tells_what_it_is_set_to(clock: MockClock, farewell: Any, expected: Any) -> None:
    async with talking(Unsettled(farewell=farewell, close_code=1001)) as socket:
        await told(socket, 1)
        await socket.send('{"type":"end-call"}')
        texts, _, closed = await told(socket, 2)

    assert [(it["type"], it.get("endedReason")) for it in texts] == expected
    assert closed == 1001


@pytest.mark.parametrize(
    ("background", "overrides", "sounds"),
    [(True, {}, True), (True, {"backgroundSound": "off"}, False), (False, {}, False)],
)
async def test_a_background_sound_plays_unless_the_order_turns_it_off(
    clock: MockClock, background: bool, overrides: Any, sounds: bool
) -> None:
    async with talking(Unsettled(background=background), **overrides) as socket:
        _, audio, _ = await told(socket, 3)

    assert (level_dbfs(decode(audio, TELEPHONE)) > -60) is sounds


@pytest.mark.parametrize(
    ("on_delete", "status", "ends"),
    [("erase", 404, False), ("end", 200, True), ("erase and end", 404, True), ("nothing", 200, False)],
)
async def test_a_delete_does_what_it_is_set_to(clock: MockClock, on_delete: OnDelete, status: int, ends: bool) -> None:
    async with opened(Unsettled(on_delete=on_delete)) as (assistant, rest):
        call = await order(assistant, rest)
        async with connected(call) as socket:
            await rest.delete(f"{assistant.base_url}/call/{call.id}", HEADERS)
            _, _, closed = await told(socket, 2)
        found, _ = await rest.get(f"{assistant.base_url}/call/{call.id}", HEADERS)

    assert (found, closed is not None) == (status, ends)


@given(st.lists(st.tuples(st.floats(0, 2), st.integers(1, 400)), max_size=60))
def test_audio_in_real_time_is_never_fast_whatever_its_pauses(steps: list[tuple[float, int]]) -> None:
    pace, now_s = PaceCheck(8000), 0.0
    for pause_s, n_bytes in steps:
        now_s += pause_s + n_bytes / 8000
        assert not pace.is_fast(n_bytes, now_s)


def test_audio_is_fast_once_it_is_ahead_by_more_than_the_limit() -> None:
    pace = PaceCheck(8000)

    assert not pace.is_fast(int(AHEAD_LIMIT_S * 8000), 1.0)
    assert pace.is_fast(1, 1.0)
