"""Who may begin a session, whose request it is, and how often an address may ask."""

import pytest

from relay.config import ClientConfig, LimitsConfig, ServerConfig
from relay.daemon.client_gate import ClientGate
from relay.errors import RequestRefused
from tests.support.frontrig import PUBLIC, front_config, open_front

KEY = "client-key-of-the-test"
PROXY = "127.0.0.1"


def code(refused: RequestRefused | None) -> str | None:
    return None if refused is None else refused.code


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "address"),
    [
        ("203.0.113.5", None, "203.0.113.5"),
        ("203.0.113.5", "198.51.100.1", "203.0.113.5"),
        (PROXY, None, PROXY),
        (PROXY, "", PROXY),
        (PROXY, "198.51.100.1", "198.51.100.1"),
        (PROXY, "10.0.0.1, 198.51.100.1", "198.51.100.1"),
        (PROXY, "198.51.100.1, 127.0.0.1", "198.51.100.1"),
        (PROXY, "127.0.0.1", PROXY),
        ("::1", "2001:db8:1:2:3:4:5:6", "2001:0db8:0001:0002"),
        ("2001:db8:1:2::9", None, "2001:0db8:0001:0002"),
        ("::ffff:203.0.113.5", None, "203.0.113.5"),
        (PROXY, "x" * 200, "x" * 64),
    ],
)
async def test_a_request_is_its_peers_or_whom_a_trusted_proxy_names(
    peer: str, forwarded_for: str | None, address: str
) -> None:
    async with open_front() as rig:
        assert ClientGate(rig.context).address(peer, forwarded_for) == address


NETWORKS = ("172.16.0.0/12", "fd00::/8", "203.0.113.7")


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "address"),
    [
        ("172.17.0.1", "198.51.100.1", "198.51.100.1"),
        ("172.31.255.255", "198.51.100.1, 172.20.0.9", "198.51.100.1"),
        ("::ffff:172.17.0.1", "198.51.100.1", "198.51.100.1"),
        ("172.17.0.1", "198.51.100.1, ::ffff:172.20.0.9", "198.51.100.1"),
        ("fd12:3456::9", "198.51.100.1", "198.51.100.1"),
        ("203.0.113.7", "198.51.100.1", "198.51.100.1"),
        ("::ffff:cb00:7107", "198.51.100.1", "198.51.100.1"),
        ("172.32.0.1", "198.51.100.1", "172.32.0.1"),
        ("203.0.113.8", "198.51.100.1", "203.0.113.8"),
        ("127.0.0.1", "198.51.100.1", "127.0.0.1"),
        ("172.17.0.1", "unknown", "unknown"),
        ("172.17.0.1", "198.51.100.1, unknown", "unknown"),
        ("", "198.51.100.1", ""),
    ],
)
async def test_a_trusted_proxy_may_be_anywhere_in_a_network(peer: str, forwarded_for: str, address: str) -> None:
    async with open_front(front_config(server=ServerConfig(trusted_proxies=NETWORKS))) as rig:
        assert ClientGate(rig.context).address(peer, forwarded_for) == address


async def test_a_proxy_that_is_not_trusted_is_the_client_itself() -> None:
    async with open_front(front_config(server=ServerConfig(trusted_proxies=()))) as rig:
        assert ClientGate(rig.context).address(PROXY, "198.51.100.1") == PROXY


@pytest.mark.parametrize(
    ("origin", "problem"),
    [
        (PUBLIC, None),
        (PUBLIC + "/", None),
        (PUBLIC.upper(), None),
        (None, "ORIGIN_WRONG"),
        ("null", "ORIGIN_WRONG"),
        (PUBLIC + ":8443", "ORIGIN_WRONG"),
        (PUBLIC.replace("https", "http"), "ORIGIN_WRONG"),
        (PUBLIC + ".evil.example", "ORIGIN_WRONG"),
    ],
)
async def test_the_origin_must_be_the_public_address(origin: str | None, problem: str | None) -> None:
    async with open_front() as rig:
        assert code(ClientGate(rig.context).origin_problem(origin)) == problem


def refusal(gate: ClientGate, origin: str | None, token: str | None) -> str:
    with pytest.raises(RequestRefused) as caught:
        gate.check_start(origin, token)
    return caught.value.code


async def test_a_good_token_is_enough_and_a_bad_one_spoils_a_good_origin() -> None:
    async with open_front(front_config({"client_key": KEY})) as rig:
        gate = ClientGate(rig.context)
        gate.check_start("https://other.example", gate.issue_token(f"Bearer {KEY}"))

        assert refusal(gate, PUBLIC, "guess") == "TOKEN_INVALID"
        assert refusal(gate, "https://other.example", None) == "ORIGIN_WRONG"
        gate.check_start(PUBLIC, None)
        assert rig.metric("relay_auth_rejected_total", endpoint="/client") == 2


async def test_with_require_token_nothing_else_is_enough() -> None:
    config = front_config({"client_key": KEY}, client=ClientConfig(require_token=True))
    async with open_front(config) as rig:
        gate = ClientGate(rig.context)

        assert refusal(gate, PUBLIC, None) == "TOKEN_MISSING"
        gate.check_start(None, gate.issue_token(f"bearer {KEY}"))


@pytest.mark.parametrize("authorization", [None, "", KEY, f"Basic {KEY}", "Bearer ", f"Bearer {KEY}x", "Bearer \xff"])
async def test_a_token_needs_the_key(authorization: str | None) -> None:
    async with open_front(front_config({"client_key": KEY})) as rig:
        with pytest.raises(RequestRefused) as caught:
            ClientGate(rig.context).issue_token(authorization)

        assert (caught.value.status, caught.value.code) == (401, "CLIENT_KEY_NEEDED")
        assert rig.metric("relay_auth_rejected_total", endpoint="/client/token") == 1


async def test_addresses_have_buckets_of_their_own() -> None:
    limits = LimitsConfig(webhook_per_s=0.1, webhook_burst=1, client_starts_per_s=0.1, client_starts_burst=1)
    async with open_front(front_config(limits=limits)) as rig:
        gate = ClientGate(rig.context)
        for check in (gate.check_upload_rate, gate.check_start_rate):
            check("a")
            check("b")
            with pytest.raises(RequestRefused) as caught:
                check("a")
            assert (caught.value.status, caught.value.code) == (429, "TOO_MANY_REQUESTS")
