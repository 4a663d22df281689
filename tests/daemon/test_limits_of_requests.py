"""How often anybody may ask, and what becomes of who asks too often; over real connections."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from types import MappingProxyType
from typing import Any

import httpx
import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock

from relay.bench import websocket
from relay.config import LimitsConfig
from relay.daemon.limits import (
    CONNECTIONS_OF_A_CALL,
    LATE_S,
    REQUESTS_OF_A_SESSION,
    REQUESTS_OF_A_SESSION_PER_S,
    REQUESTS_OF_SESSIONS,
    REQUESTS_OF_SESSIONS_PER_S,
    RequestRates,
)
from relay.errors import RequestRefused
from relay.metrics import Metrics
from relay.net import asgi_request
from relay.refusals import Refusals
from tests.support.browserrig import start_polling
from tests.support.clients import ONE, OTHER, WEBHOOK, answer_of, front, limited, named, slow_body, status_of_socket
from tests.support.frontrig import FrontRig
from tests.support.late_requests import FEW, Waits, late_requests
from tests.support.leaks import resources, resources_return_to

EMPTY: Mapping[str, str] = MappingProxyType({})


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
        bodies = [await stack.enter_async_context(await slow_body(rig, ONE, WEBHOOK)) for _ in range(20)]
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
