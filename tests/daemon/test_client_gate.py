"""Who may begin a session."""

import pytest

from relay.config import ClientConfig
from relay.daemon.client_gate import ClientGate
from relay.errors import RequestRefused
from tests.support.frontrig import PUBLIC, front_config, open_front

KEY = "client-key-of-the-test"


def refusal(gate: ClientGate, origin: str | None, token: str | None) -> str | None:
    try:
        gate.check_start(origin, token)
    except RequestRefused as refused:
        return refused.code
    return None


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
        assert refusal(ClientGate(rig.context), origin, None) == problem


async def test_a_good_token_is_enough_and_a_bad_one_spoils_a_good_origin() -> None:
    async with open_front(front_config({"client_key": KEY})) as rig:
        gate = ClientGate(rig.context)
        gate.check_start("https://other.example", gate.issue_token(f"Bearer {KEY}", "a"))

        assert refusal(gate, PUBLIC, "guess") == "TOKEN_INVALID"
        assert refusal(gate, "https://other.example", None) == "ORIGIN_WRONG"
        gate.check_start(PUBLIC, None)
        assert rig.metric("relay_auth_rejected_total", endpoint="/client") == 2


async def test_with_require_token_nothing_else_is_enough() -> None:
    config = front_config({"client_key": KEY}, client=ClientConfig(require_token=True))
    async with open_front(config) as rig:
        gate = ClientGate(rig.context)

        assert refusal(gate, PUBLIC, None) == "TOKEN_MISSING"
        gate.check_start(None, gate.issue_token(f"bearer {KEY}", "a"))


@pytest.mark.parametrize("authorization", [None, "", KEY, f"Basic {KEY}", "Bearer ", f"Bearer {KEY}x", "Bearer \xff"])
async def test_a_token_needs_the_key(authorization: str | None) -> None:
    async with open_front(front_config({"client_key": KEY})) as rig:
        with pytest.raises(RequestRefused) as caught:
            ClientGate(rig.context).issue_token(authorization, "a")

        assert (caught.value.status, caught.value.code) == (401, "CLIENT_KEY_NEEDED")
        assert rig.metric("relay_auth_rejected_total", endpoint="/client/token") == 1
