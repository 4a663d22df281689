"""What one client may hold and ask for, and that others have their share all the same; over real connections."""

import json
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from types import MappingProxyType
from typing import Any

import httpx
import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock
from trio_websocket import ConnectionRejected

from relay.bench import websocket
from relay.config import LimitsConfig, ServerConfig
from relay.daemon import connections
from relay.daemon.limits import (
    CONNECTIONS_OF_A_CALL,
    KNOWN_ADDRESSES_MAX,
    LATE_S,
    REQUESTS_OF_A_CALL_PER_S,
    REQUESTS_OF_A_SESSION,
    REQUESTS_OF_A_SESSION_PER_S,
    REQUESTS_OF_SESSIONS,
    REQUESTS_OF_SESSIONS_PER_S,
    KnownAddresses,
    Limits,
    Rate,
    RequestRates,
    Share,
    SlowBodies,
)
from relay.errors import RequestRefused
from relay.metrics import LIMITS, Metrics
from relay.net import asgi_request
from relay.net.transport import USER_TIMEOUT_MS
from relay.refusals import Refusals
from tests.support.browserrig import ORIGIN, start_polling
from tests.support.frontrig import (
    ADMIN_TOKEN,
    SID,
    FrontRig,
    connected,
    front_config,
    open_front,
    ringing,
    signature,
    start,
)
from tests.support.late_requests import FEW, Waits, late_requests
from tests.support.leaks import resources, resources_return_to
from tests.support.peers import dialled

ONE, OTHER = "198.51.100.1", "198.51.100.2"
EMPTY: Mapping[str, str] = MappingProxyType({})
RECEIVE_BUFFER_BYTES = 4096
TRIED = 30
"""Connections."""
ADMIN = {"Authorization": f"Bearer {ADMIN_TOKEN}"}


def limited(rig: FrontRig) -> dict[str, float]:
    """What was refused so far, by limit."""
    return {limit: n for limit in LIMITS if (n := rig.metric("relay_limited_total", limit=limit))}


@asynccontextmanager
async def front(*, proxies: tuple[str, ...] = ("127.0.0.1",), **limits: Any) -> AsyncIterator[FrontRig]:
    """A relay for which the test is a proxy, unless it is told otherwise."""
    config = front_config(
        {"client_key": "client-key-of-the-test"},
        limits=LimitsConfig(**limits),
        server=ServerConfig(trusted_proxies=proxies),
    )
    async with open_front(config) as rig:
        yield rig


async def answer_of(stream: trio.SocketStream) -> tuple[int, str]:
    """The status and the code of an answer."""
    answer = bytearray()
    with trio.fail_after(20):
        while b'"}' not in answer and (part := await stream.receive_some()):
            answer += part
    return int(answer.split()[1]), json.loads(answer.partition(b"\r\n\r\n")[2])["code"]


def named(client: str) -> dict[str, str]:
    return {"X-Forwarded-For": client}


def refused(share: Share, client: str) -> str | None:
    try:
        with share.hold(client):
            return None
    except RequestRefused as refusal:
        return refusal.code


def test_every_limit_that_is_counted_is_a_key() -> None:
    keys = {key.removesuffix("_per_s").removesuffix("_burst") for key in LimitsConfig.__struct_fields__}

    assert {*LIMITS, "max_calls", "overflow_url"} == keys


async def test_a_share_is_so_much_in_all_and_so_much_for_one() -> None:
    share = Share(Refusals(Metrics()), "slow_bodies", "slow bodies", in_all=3, for_each=2)
    with share.hold(ONE), share.hold(ONE):
        assert (refused(share, ONE), refused(share, OTHER)) == ("TOO_MANY_AT_ONCE", None)
        with share.hold(OTHER):
            assert (refused(share, ONE), refused(share, OTHER)) == ("TOO_MANY_AT_ONCE", "BUSY")
    assert refused(share, ONE) is None


async def test_bodies_that_become_slow_together_are_refused_one_after_the_other() -> None:
    bodies = SlowBodies(Share(Refusals(Metrics()), "slow_bodies", "slow bodies", in_all=0, for_each=0))
    refusals_in_a_step, most = 0, 0

    async def become_slow() -> None:
        nonlocal refusals_in_a_step, most
        with pytest.raises(RequestRefused):
            async with bodies.hold(ONE):
                pass
        refusals_in_a_step += 1
        most = max(most, refusals_in_a_step)

    async def step() -> None:
        nonlocal refusals_in_a_step
        while True:
            await trio.lowlevel.checkpoint()
            refusals_in_a_step = 0

    async with trio.open_nursery() as nursery:
        nursery.start_soon(step)
        async with trio.open_nursery() as slow:
            for _ in range(50):
                slow.start_soon(become_slow)
        nursery.cancel_scope.cancel()

    assert 1 <= most <= 2


async def test_a_rate_is_a_burst_and_then_so_many_a_second_for_each(autojump_clock: MockClock) -> None:
    rate = Rate(Refusals(Metrics()), "webhook", burst=2, per_s=0.1)
    for client in (ONE, ONE, OTHER):
        rate.count(client)
    with pytest.raises(RequestRefused) as refusal:
        rate.count(ONE)
    assert (refusal.value.status, refusal.value.code) == (429, "TOO_MANY_REQUESTS")

    await trio.sleep(10)

    rate.check(ONE)
    rate.count(ONE)
    with pytest.raises(RequestRefused):
        rate.check(ONE)


async def test_all_calls_may_come_from_one_address_of_twilios_beside_its_share() -> None:
    config = front_config(limits=LimitsConfig(max_calls=3, connections_per_address=1))
    limits = Limits(config, Refusals(Metrics()))
    limits.twilio_addresses.add(ONE)
    with ExitStack() as places:
        for client, share in ((ONE, 3 * CONNECTIONS_OF_A_CALL + 1), (OTHER, 1)):
            for _ in range(share):
                places.enter_context(limits.connection(client, never))
            with pytest.raises(RequestRefused) as refusal:
                places.enter_context(limits.connection(client, never))
            assert refusal.value.code == "TOO_MANY_AT_ONCE"


async def test_an_address_may_make_so_many_connections_at_once_and_so_many_a_second(autojump_clock: MockClock) -> None:
    keys = LimitsConfig(max_calls=1, new_connections_burst=8, new_connections_per_s=1.0)
    limits = Limits(front_config(limits=keys), Refusals(Metrics()))

    assert made(limits, ONE) == 8 + CONNECTIONS_OF_A_CALL
    assert made(limits, OTHER) == 8 + CONNECTIONS_OF_A_CALL
    await trio.sleep(2)
    assert made(limits, ONE) == 2 * (1 + REQUESTS_OF_A_CALL_PER_S)


async def test_all_addresses_of_a_customers_network_make_connections_together(autojump_clock: MockClock) -> None:
    keys = LimitsConfig(max_calls=1, new_connections_burst=8)
    limits = Limits(front_config(limits=keys), Refusals(Metrics()))

    assert made(limits, "2001:db8::1") == 8 + CONNECTIONS_OF_A_CALL
    assert made(limits, "2001:db8::2") == 0
    assert made(limits, "2001:db8:0:1::1") == 8 + CONNECTIONS_OF_A_CALL


async def test_a_trusted_proxy_may_make_any_number_of_connections(autojump_clock: MockClock) -> None:
    keys = LimitsConfig(max_calls=1, new_connections_burst=8)
    config = front_config(limits=keys, server=ServerConfig(trusted_proxies=(ONE,)))

    assert made(Limits(config, Refusals(Metrics())), ONE) == TRIED


def made(limits: Limits, peer: str) -> int:
    """How many connections are taken in a row, of TRIED."""
    taken = 0
    for _ in range(TRIED):
        try:
            with limits.connection(peer, never):
                taken += 1
        except RequestRefused:
            break
    return taken


def test_the_addresses_of_twilio_that_were_quiet_for_longest_are_forgotten() -> None:
    addresses = KnownAddresses()
    for number in range(KNOWN_ADDRESSES_MAX):
        addresses.add(str(number))
    addresses.add("0")
    addresses.add("one more")

    assert [client in addresses for client in ("0", "1", "2", "one more")] == [True, False, True, True]


def never() -> None:
    raise AssertionError("closed to make room")


@pytest.mark.parametrize(
    ("limits", "status", "code", "limit"),
    [
        ({"connections": 3}, 503, "BUSY", "connections"),
        ({"connections_per_address": 3}, 429, "TOO_MANY_AT_ONCE", "connections_per_address"),
    ],
)
async def test_a_connection_too_many_is_told_so_and_closed(
    limits: dict[str, int], status: int, code: str, limit: str
) -> None:
    async with front(proxies=(), **limits) as rig, AsyncExitStack() as stack:
        held = [await stack.enter_async_context(dialled(rig.port, path="/client", headers=headers(ONE)))]
        for _ in range(2):
            await stack.enter_async_context(dialled(rig.port, path="/client", headers=headers(ONE)))
        async with await trio.open_tcp_stream("127.0.0.1", rig.port) as stream:
            assert await answer_of(stream) == (status, code)
            assert await stream.receive_some() == b""
        assert limited(rig) == {limit: 1}

        await held[0].close()
        await trio.testing.wait_all_tasks_blocked(0.05)
        async with await trio.open_tcp_stream("127.0.0.1", rig.port) as stream:
            assert await asked(stream) == (404, "NOT_FOUND")


async def test_a_connection_too_soon_is_told_so_and_closed_and_nothing_of_it_is_read() -> None:
    keys = {"max_calls": 1, "new_connections_burst": 1, "new_connections_per_s": 1.0}
    async with front(proxies=(), **keys) as rig, AsyncExitStack() as stack:
        streams = [
            await stack.enter_async_context(await trio.open_tcp_stream("127.0.0.1", rig.port)) for _ in range(TRIED)
        ]
        assert await first_answer(streams) == (429, "TOO_MANY_REQUESTS")
        assert set(limited(rig)) == {"new_connections"}


async def asked(stream: trio.SocketStream) -> tuple[int, str]:
    """The answer to a request for nothing, on a connection that stays open."""
    await stream.send_all(b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n")
    return await answer_of(stream)


async def test_when_strangers_are_too_many_the_one_that_waits_longest_without_a_whole_head_makes_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "WAITS_MIN_S", 0.0)
    async with front(proxies=(), connections=4) as rig, AsyncExitStack() as stack:

        async def new() -> trio.SocketStream:
            stream = await stack.enter_async_context(await trio.open_tcp_stream("127.0.0.1", rig.port))
            await trio.testing.wait_all_tasks_blocked(0.05)
            return stream

        answered_lately, slow, silent = await new(), await new(), await new()
        await slow.send_all(b"GET / HTTP/1.1\r\nHost: x\r\n")
        assert await asked(answered_lately) == (404, "NOT_FOUND")
        await stack.enter_async_context(dialled(rig.port, path="/client", headers=headers(ONE)))

        for made_room in (slow, silent, answered_lately):
            assert await asked(await new()) == (404, "NOT_FOUND")
            with trio.fail_after(1):
                assert await made_room.receive_some() == b""
        assert limited(rig) == {"connections": 3}


async def test_who_does_not_take_its_answers_makes_room_as_who_does_not_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is cut at once, though what is sent to it is shielded from that."""
    monkeypatch.setattr(connections, "WAITS_MIN_S", 0.1)
    async with front(proxies=(), connections=1) as rig, not_reading(rig.port) as peer:
        with trio.fail_after(USER_TIMEOUT_MS / 1000):
            while await tried(rig) == (503, "BUSY"):  # noqa: ASYNC110 - a test has no event for this
                await trio.sleep(0.1)
            left = 0
            with suppress(ConnectionResetError):
                while data := await peer.recv(10_000):
                    left += len(data)
            assert left <= 2 * RECEIVE_BUFFER_BYTES  # which the kernel doubles (socket(7))


@asynccontextmanager
async def not_reading(port: int) -> AsyncIterator[trio.socket.SocketType]:
    """A peer that asks for more than the relay reads at once, and reads nothing by itself."""
    with trio.socket.socket() as peer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        await peer.connect(("127.0.0.1", port))
        await peer.send(b"GET /web/relay-client.js HTTP/1.1\r\nHost: x\r\n\r\n" * 1000)
        yield peer


async def tried(rig: FrontRig) -> tuple[int, str]:
    """The answer to a request for nothing on a new connection, or to the connection."""
    async with await trio.open_tcp_stream("127.0.0.1", rig.port) as stream:
        with suppress(trio.BrokenResourceError):
            await stream.send_all(b"GET /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        return await answer_of(stream)


@pytest.mark.parametrize("proxies", [(), ("127.0.0.1",)])
async def test_the_socket_of_a_session_leaves_its_place_to_the_next_stranger(proxies: tuple[str, ...]) -> None:
    async with (
        front(proxies=proxies, connections=1, connections_per_address=1) as rig,
        dialled(rig.port, path="/client", headers=headers(ONE)) as session,
    ):
        await session.send('{"type": "start"}')
        assert '"ready"' in str(await session.receive())
        async with dialled(rig.port, path="/client", headers=headers(ONE)) as another:
            await another.send('{"type": "start"}')
            assert '"ready"' in str(await another.receive())
        assert limited(rig) == {}


async def test_the_socket_of_a_telephone_call_leaves_its_place_to_the_next_stranger() -> None:
    async with front(proxies=(), connections=1, connections_per_address=1) as rig:
        token = await rig.token()
        await rig.http.aclose()
        await trio.testing.wait_all_tasks_blocked(0.05)
        async with rig.socket() as media:
            await media.send(connected())
            await media.send(start(token))
            with trio.fail_after(5):
                while not (  # noqa: ASYNC110 - a test has no event for this
                    (call := rig.calls.find(SID)) and call.summary()["caller_attached"]
                ):
                    await trio.sleep(0.01)
            async with await trio.open_tcp_stream("127.0.0.1", rig.port) as stream:
                assert await asked(stream) == (404, "NOT_FOUND")
        assert limited(rig) == {}


async def test_behind_a_proxy_requests_and_sockets_are_the_clients_connections() -> None:
    async with front(connections_per_address=3) as rig, AsyncExitStack() as stack:
        for _ in range(3):
            await stack.enter_async_context(dialled(rig.port, path="/client", headers=headers(ONE)))
        answer = await rig.http.get("/health", headers=named(ONE))

        assert (answer.status_code, answer.json()["code"]) == (429, "TOO_MANY_AT_ONCE")
        assert await status_of_socket(rig, ONE) == 429
        assert (await rig.http.get("/health", headers=named(OTHER))).status_code == 200
        assert limited(rig) == {"connections_per_address": 2}


async def test_one_client_cannot_take_all_places_of_sockets_that_have_not_begun() -> None:
    async with front(unstarted_sockets=3, unstarted_sockets_per_address=2) as rig, AsyncExitStack() as stack:
        for _ in range(2):
            await stack.enter_async_context(dialled(rig.port, path="/client", headers=headers(ONE)))
        assert await status_of_socket(rig, ONE) == 429
        await stack.enter_async_context(dialled(rig.port, path="/client", headers=headers(OTHER)))
        assert await status_of_socket(rig, "198.51.100.3") == 503
        assert limited(rig) == {"unstarted_sockets_per_address": 1, "unstarted_sockets": 1}


WEBHOOK = ["POST /twilio/voice HTTP/1.1", "X-Twilio-Signature: AAAA", "Content-Type: application/x-www-form-urlencoded"]
BODIES = [WEBHOOK, ["POST /client HTTP/1.1"], ["POST /webhook/audio HTTP/1.1"], ["POST /client/token HTTP/1.1"]]


async def slow_body(rig: FrontRig, client: str, lines: list[str]) -> trio.SocketStream:
    stream = await trio.open_tcp_stream("127.0.0.1", rig.port)
    head = [*lines, "Host: x", f"X-Forwarded-For: {client}", "Content-Length: 9", "", ""]
    await stream.send_all("\r\n".join(head).encode())
    return stream


async def first_answer(streams: list[trio.SocketStream]) -> tuple[int, str]:
    """The answer of the one that is answered first."""
    answers: list[tuple[int, str]] = []

    async def note(stream: trio.SocketStream) -> None:
        answers.append(await answer_of(stream))
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        for stream in streams:
            nursery.start_soon(note, stream)
    return answers[0]


async def test_the_webhooks_of_all_calls_may_be_slow_at_once_from_an_address_that_has_shown_twilios_signature() -> None:
    async with front(slow_bodies=1, slow_bodies_per_address=1, max_calls=2) as rig, AsyncExitStack() as stack:
        assert (await rig.post("/twilio/voice", ringing(), headers=named(ONE))).status_code == 200
        assert (await rig.post("/twilio/voice", ringing(), sign=False, headers=named(OTHER))).status_code == 403
        slow = [await stack.enter_async_context(await slow_body(rig, ONE, WEBHOOK)) for _ in range(3)]
        await trio.sleep(asgi_request.PROMPT_S + 0.2)
        assert limited(rig) == {}

        one_more = await stack.enter_async_context(await slow_body(rig, ONE, WEBHOOK))
        assert await first_answer([*slow, one_more]) == (429, "TOO_MANY_AT_ONCE")
        others = [await stack.enter_async_context(await slow_body(rig, OTHER, WEBHOOK)) for _ in range(2)]
        assert await first_answer(others) == (429, "TOO_MANY_AT_ONCE")


@pytest.mark.parametrize("lines", BODIES[:3], ids=lambda lines: lines[0].split()[1])
async def test_slow_bodies_have_few_places_whatever_they_are_for(lines: list[str]) -> None:
    async with front(slow_bodies=3, slow_bodies_per_address=2) as rig, AsyncExitStack() as stack:
        one = [await stack.enter_async_context(await slow_body(rig, ONE, lines)) for _ in range(3)]
        assert await first_answer(one) == (429, "TOO_MANY_AT_ONCE")
        other = [await stack.enter_async_context(await slow_body(rig, OTHER, lines)) for _ in range(2)]
        assert await first_answer(other) == (503, "BUSY")
        assert limited(rig) == {"slow_bodies_per_address": 1, "slow_bodies": 1}


async def test_a_body_that_comes_at_once_needs_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    async with front(slow_bodies=1, slow_bodies_per_address=1) as rig, await slow_body(rig, ONE, WEBHOOK):
        await trio.sleep(asgi_request.PROMPT_S + 0.1)
        posted = await rig.post("/twilio/voice", ringing(), headers=named(ONE))
        uploaded = await rig.http.post("/webhook/audio", content=bytes(640), headers=named(ONE))

        assert (posted.status_code, uploaded.status_code) == (200, 200)
        assert limited(rig) == {}


async def test_what_is_left_of_a_body_that_nobody_wants_needs_a_place_too() -> None:
    """/client/token answers without its body, and reads on so that the client sees the answer."""
    async with front(slow_bodies=1, slow_bodies_per_address=1) as rig:
        async with await slow_body(rig, ONE, BODIES[3]), await slow_body(rig, ONE, BODIES[3]) as second:
            assert await answer_of(second) == (401, "CLIENT_KEY_NEEDED")
        assert limited(rig) == {"slow_bodies_per_address": 1}


async def test_the_slow_bodies_of_a_session_take_no_place_from_strangers() -> None:
    async with front(slow_bodies=1, slow_bodies_per_address=1) as rig, AsyncExitStack() as stack:
        ready = (await start_polling(rig)).ready
        path, bearer = f"/client/{ready['sessionId']}", f"Authorization: Bearer {ready['token']}"
        upload = f"/webhook/audio?session={ready['sessionId']}"
        stranger = await stack.enter_async_context(await slow_body(rig, ONE, BODIES[1]))
        for target in (f"{path}/audio", f"{path}/messages", upload, upload):
            lines = [f"POST {target} HTTP/1.1", bearer]
            await stack.enter_async_context(await slow_body(rig, ONE, lines))
        await trio.sleep(asgi_request.PROMPT_S + 0.2)
        assert limited(rig) == {}

        one_more = await stack.enter_async_context(await slow_body(rig, ONE, [f"POST {path}/audio HTTP/1.1", bearer]))
        assert await answer_of(one_more) == (429, "TOO_MANY_AT_ONCE")
        await stranger.aclose()


@pytest.mark.parametrize(("path", "key"), [("/calls", ADMIN_TOKEN), ("/client/token", "client-key-of-the-test")])
async def test_a_client_may_guess_a_token_so_often(path: str, key: str) -> None:
    async with front(wrong_tokens_burst=2, wrong_tokens_per_s=0.001) as rig:
        method = "GET" if path == "/calls" else "POST"

        async def status(token: str | None, client: str) -> int:
            shown = {} if token is None else {"Authorization": f"Bearer {token}"}
            return (await rig.http.request(method, path, headers=named(client) | shown)).status_code

        assert [await status(token, ONE) for token in (None, None, "a", key, "b", None, key)] == [
            *(401, 401, 401, 200, 401),
            *(429, 429),
        ]
        assert await status(key, OTHER) == 200
        assert limited(rig) == {"wrong_tokens": 2}


async def test_the_listeners_of_all_calls_together_are_bounded() -> None:
    async with front(listeners=1) as rig:
        calls = [(await start_polling(rig)).ready["sessionId"] for _ in range(2)]
        async with rig.http.stream("GET", f"/calls/{calls[0]}/events", headers=ADMIN) as first:
            assert first.status_code == 200
            second = await rig.http.get(f"/calls/{calls[1]}/events", headers=ADMIN)

        assert (second.status_code, second.json()["code"]) == (503, "BUSY")
        assert limited(rig) == {"listeners": 1}


async def test_twilios_sockets_have_places_of_their_own_whatever_address_they_come_from() -> None:
    async with front(unstarted_sockets=2, unstarted_sockets_per_address=1) as rig, AsyncExitStack() as stack:
        signed = [("x-twilio-signature", signature("wss://relay.example.com/twilio/media")), *named(ONE).items()]
        await stack.enter_async_context(dialled(rig.port, path="/client", headers=headers(ONE)))
        for _ in range(2):
            await stack.enter_async_context(rig.socket(signed))
        assert limited(rig) == {}


def headers(client: str) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in [*ORIGIN, *named(client).items()]]


async def status_of_socket(rig: FrontRig, client: str, path: str = "/client") -> int:
    """The status with which a browser's socket is refused."""
    statuses = []
    try:
        async with dialled(rig.port, path=path, headers=headers(client)):
            pass
    except* ConnectionRejected as group:
        statuses = [error.status_code for error in group.exceptions if isinstance(error, ConnectionRejected)]
    (status,) = statuses
    return status


async def flood(
    rig: FrontRig, count: int, path: str = "/health", headers: Mapping[str, str] = EMPTY
) -> list[httpx.Response]:
    """Ask so many times at once."""
    answers: list[httpx.Response] = []

    async def ask() -> None:
        answers.append(await rig.http.get(path, headers=named(ONE) | dict(headers)))

    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(ask)
    return answers


def refusals_in(answers: list[httpx.Response]) -> list[httpx.Response]:
    return [answer for answer in answers if answer.status_code == 429]


@pytest.mark.parametrize("path", ["/health", "/metrics", "/", "/nothing", "/calls", "/client/x/audio"])
async def test_an_address_may_ask_for_anything_so_often_and_waits_before_it_is_refused(path: str) -> None:
    async with front(**FEW) as rig:
        assert refusals_in(await flood(rig, 10, path)) == []

        began_at = trio.current_time()
        refused = refusals_in(await flood(rig, 10, path))
        assert trio.current_time() - began_at >= LATE_S
        assert len(refused) == limited(rig)["requests"] >= 5
        assert {(answer.json()["code"], answer.headers["Retry-After"]) for answer in refused} == {
            ("TOO_MANY_REQUESTS", "1")
        }

        began_at = trio.current_time()
        assert (await rig.http.get(path, headers=named(OTHER))).status_code != 429
        assert trio.current_time() - began_at < LATE_S


GET = b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n"
UPGRADE = websocket.upgrade_request("/client", "x", {})


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> Waits:
    return late_requests(monkeypatch)


@asynccontextmanager
async def asking_too_often(rig: FrontRig, waits: Waits, requests: bytes = GET) -> AsyncIterator[None]:
    """A connection whose requests wait, because they came too early."""
    async with await trio.open_tcp_stream("127.0.0.1", rig.port) as stream:
        await stream.send_all(requests.replace(b"Host: x", f"Host: x\r\nX-Forwarded-For: {ONE}".encode()))
        with trio.fail_after(30):
            await waits.begun.wait()
        yield


@pytest.mark.parametrize("proxies", [(), ("127.0.0.1",)], ids=["alone", "behind a proxy"])
@pytest.mark.parametrize(
    "requests", [GET, GET * 50, UPGRADE, UPGRADE + bytes(9000)], ids=["1", "50", "WS", "WS and more"]
)
async def test_who_hangs_up_while_its_request_waits_holds_nothing_any_more(
    requests: bytes, proxies: tuple[str, ...], waits: Waits
) -> None:
    async with front(proxies=proxies, **waits.keys) as rig:
        await flood(rig, 10)
        await rig.http.aclose()
        before = await resources()
        async with asking_too_often(rig, waits, requests):
            assert limited(rig) == {}
        with trio.fail_after(30):
            while not limited(rig):  # noqa: ASYNC110 - a count has no event
                await trio.sleep(0.01)
            await resources_return_to(before)
        assert limited(rig)["requests"] <= 2  # one that came behind it may have been read already; no other is


async def test_behind_a_proxy_who_hangs_up_more_often_than_it_may_make_connections_keeps_its_place_meanwhile(
    waits: Waits,
) -> None:
    few: dict[str, Any] = {"connections_per_address": 1, "new_connections_burst": 1, "new_connections_per_s": 0.001}
    async with front(**waits.keys, **few) as rig:
        counted = 0
        while counted < 10:
            counted += 1 - len(refusals_in(await flood(rig, 1)))
        for hung_up in range(1 + CONNECTIONS_OF_A_CALL):
            with trio.fail_after(30):
                async with asking_too_often(rig, waits):
                    pass
                while limited(rig).get("requests", 0) <= hung_up:  # noqa: ASYNC110 - a count has no event
                    await trio.sleep(0.01)
            waits.begun = trio.Event()
        async with asking_too_often(rig, waits):
            pass
        assert [answer.json()["code"] for answer in await flood(rig, 1)] == ["TOO_MANY_AT_ONCE"]


async def test_who_asks_too_often_is_one_line_of_the_log_and_one_with_their_number() -> None:
    with capture_logs() as logs:
        async with front(**FEW) as rig:
            refused = refusals_in(await flood(rig, 30))

    first, count = [line for line in logs if line["event"] == "limit.reached"]
    assert (first["limit"], first["client"]) == ("requests", ONE)
    assert count["repeated"] == len(refused) - 1


async def test_the_body_of_a_request_that_comes_too_often_needs_a_place_when_it_is_slow() -> None:
    async with front(**FEW, slow_bodies_per_address=1) as rig, AsyncExitStack() as stack:
        await flood(rig, 10)
        bodies = [await stack.enter_async_context(await slow_body(rig, ONE, BODIES[0])) for _ in range(20)]
        async with trio.open_nursery() as nursery:
            for stream in bodies:
                nursery.start_soon(answer_of, stream)
            with trio.fail_after(asgi_request.UNREAD_TIMEOUT_S):
                while limited(rig).get("slow_bodies_per_address", 0) < 10:  # noqa: ASYNC110 - a count has no event
                    await trio.sleep(0.05)
            nursery.cancel_scope.cancel()


async def test_a_socket_is_a_request_too() -> None:
    async with front(**FEW) as rig:
        await flood(rig, 10)
        statuses = []

        async def ask() -> None:
            statuses.append(await status_of_socket(rig, ONE, "/nothing"))

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(ask)
        assert set(statuses) == {404, 429}


async def test_the_requests_of_a_session_count_for_it_alone() -> None:
    async with front(**FEW) as rig:
        client = await start_polling(rig)
        path, bearer = f"/client/{client.ready['sessionId']}/audio", f"Bearer {client.ready['token']}"
        await flood(rig, 20)
        before = limited(rig)["requests"]
        for _ in range(50):
            answer = await rig.http.post(path, content=b"", headers=named(ONE) | {"Authorization": bearer})
            assert answer.status_code == 200
        assert limited(rig)["requests"] == before

        assert refusals_in(await flood(rig, 20, path, {"Authorization": "Bearer wrong"}))


async def test_a_session_has_a_rate_as_well(autojump_clock: MockClock) -> None:
    rates = RequestRates(Refusals(Metrics()), LimitsConfig())
    for _ in range(REQUESTS_OF_A_SESSION):
        await rates.count(ONE, "session")
    began_at = trio.current_time()
    for _ in range(5 * int(REQUESTS_OF_A_SESSION_PER_S)):
        await rates.count(ONE, "session")
    assert trio.current_time() - began_at == pytest.approx(5.0, abs=LATE_S)


async def test_the_sessions_of_an_address_have_a_rate_together(autojump_clock: MockClock) -> None:
    """As many sessions as one may have, each within its own rate."""
    limits = LimitsConfig()
    rates, began_at, asked = RequestRates(Refusals(Metrics()), limits), trio.current_time(), 0

    async def ask(client: str, session: str) -> None:
        nonlocal asked
        while trio.current_time() < began_at + 5.0:
            with suppress(RequestRefused):
                await rates.count(client, session)
                asked += client == ONE
            await trio.sleep(1 / REQUESTS_OF_A_SESSION_PER_S)

    async with trio.open_nursery() as nursery:
        for number in range(limits.sessions_per_address):
            nursery.start_soon(ask, ONE, f"session {number}")
        nursery.start_soon(ask, OTHER, "session of another")
        for _ in range(int(4 * REQUESTS_OF_A_SESSION_PER_S)):
            await trio.sleep(1 / REQUESTS_OF_A_SESSION_PER_S)
            await rates.count("a third", "its only session")

    took_s = trio.current_time() - began_at
    assert asked <= REQUESTS_OF_SESSIONS + took_s * REQUESTS_OF_SESSIONS_PER_S
    assert asked >= 4 * REQUESTS_OF_SESSIONS_PER_S


async def test_no_honest_client_meets_the_rate(autojump_clock: MockClock) -> None:
    """The pages of an office, a telephone that rings for every place at once, a monitor, and calls that wait."""
    refusals, limits = Refusals(Metrics()), LimitsConfig()
    rates, began_at = RequestRates(refusals, limits), trio.current_time()
    for _ in range(2 * limits.calls + 3 * 30):
        await rates.count(ONE, None)
    assert trio.current_time() == began_at
    for _ in range(60):
        await trio.sleep(1)
        for _ in range(limits.calls + 1):
            await rates.count(ONE, None)
    assert trio.current_time() - began_at == pytest.approx(60)
