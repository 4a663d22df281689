"""What one client may hold and ask for, and that others have their share all the same."""

from contextlib import AsyncExitStack, ExitStack

import pytest
import trio
from trio.testing import MockClock

from relay.config import LimitsConfig, ServerConfig
from relay.daemon.limits import (
    CONNECTIONS_OF_A_CALL,
    KNOWN_ADDRESSES_MAX,
    REQUESTS_OF_A_CALL_PER_S,
    KnownAddresses,
    Limits,
    Rate,
    Share,
    SlowBodies,
)
from relay.errors import RequestRefused
from relay.metrics import LIMITS, Metrics
from relay.refusals import Refusals
from tests.support.browserrig import start_polling
from tests.support.clients import ONE, OTHER, TRIED, front, headers, limited, named
from tests.support.frontrig import ADMIN_TOKEN, front_config, signature
from tests.support.peers import dialled

ADMIN = {"Authorization": f"Bearer {ADMIN_TOKEN}"}


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
