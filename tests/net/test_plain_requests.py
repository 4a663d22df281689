"""PlainRequests: what h11 reads of requests, but for offers, whole addresses and what a proxy could read otherwise."""

import h11
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from relay.net.plain_requests import Demand, PlainRequests
from relay.net.request_head import HEAD_MAX_BYTES


def reading(head: str) -> PlainRequests:
    requests = PlainRequests(HEAD_MAX_BYTES)
    requests.receive_data(head.replace("\n", "\r\n").encode())
    return requests


def request(head: str) -> h11.Request:
    event = reading(head).next_event()
    assert isinstance(event, h11.Request)
    return event


@pytest.mark.parametrize(
    ("method", "target", "path"),
    [
        ("GET", "/a?x=1", b"/a?x=1"),
        ("GET", "http://relay.test/a?x=1", b"/a?x=1"),
        ("GET", "http://relay.test", b"/"),
        ("OPTIONS", "*", b"*"),
    ],
)
def test_the_target_is_a_path(method: str, target: str, path: bytes) -> None:
    assert request(f"{method} {target} HTTP/1.1\nHost: a\n\n").target == path


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("GET * HTTP/1.1\nHost: a\n\n", 400),
        ("GET a HTTP/1.1\nHost: a\n\n", 400),
        ("PRI * HTTP/2.0\n\n", 505),
        ("GET / HTTP/1.1\nHost: a\nX: a\n b\n\n", 400),
        ("POST / HTTP/1.1\nHost: a\nContent-Length: 1\nTransfer-Encoding: chunked\n\n", 400),
    ],
)
def test_what_is_no_plain_request_is_refused(head: str, status: int) -> None:
    with pytest.raises(h11.RemoteProtocolError) as refusal:
        reading(head).next_event()

    assert refusal.value.error_status_hint == status


def test_offers_are_passed_over_and_other_upgrades_are_not() -> None:
    offers = "Upgrade: h2c\nSec-WebSocket-Extensions: permessage-deflate\nUpgrade: websocket"

    headers = list(request(f"GET / HTTP/1.1\nHost: a\n{offers}\n\n").headers)

    assert headers == [(b"host", b"a"), (b"upgrade", b"websocket")]


def test_who_waits_to_be_asked_for_the_body_is_asked_once() -> None:
    requests = reading("POST / HTTP/1.1\nHost: a\nContent-Length: 1\nExpect: 100-continue\n\n")
    requests.next_event()

    assert not requests.they_are_waiting_for_100_continue
    assert requests.invitation().startswith(b"HTTP/1.1 100 ")
    assert requests.invitation() == b""


async def test_demand_is_there_while_the_application_waits_and_never_after_its_end(nursery: trio.Nursery) -> None:
    demand, found = Demand(), list[bool]()

    async def wait() -> None:
        found.append(await demand.wait())

    async def receive() -> None:
        await trio.sleep_forever()

    nursery.start_soon(wait)
    await wait_all_tasks_blocked()
    assert found == []

    nursery.start_soon(demand.watched(receive))
    await wait_all_tasks_blocked()
    assert found == [True]

    demand.end()
    await wait()
    assert found == [True, False]
    nursery.cancel_scope.cancel()


async def test_nobody_waits_for_a_request_that_is_over() -> None:
    demand = Demand()
    demand.end()

    assert not await demand.wait()
