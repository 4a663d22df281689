"""Who is let in: signatures, accounts and the admin token, and that each refusal is counted and logged, not quoted."""

from collections.abc import Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from relay.config import ServerConfig, TwilioConfig
from relay.daemon.gate import Gate, stream_url
from relay.daemon.limits import Limits
from relay.errors import AuthRejected
from relay.metrics import Metrics
from relay.refusals import Refusals
from tests.support.frontrig import ACCOUNT, ADMIN_TOKEN, PUBLIC, PUBLIC_WSS, front_config, ringing, signature

ENDPOINT, CLIENT = "/twilio/voice", "198.51.100.7"
FORM = list(ringing().items())
FORM_SIGNATURE = signature(PUBLIC + "/twilio/voice?a=1", ringing())
STREAM_SIGNATURE = signature(PUBLIC_WSS + "/twilio/media")


def gate(secrets: dict[str, Any] | None = None, **sections: Any) -> tuple[Gate, Metrics]:
    metrics = Metrics()
    refusals = Refusals(metrics)
    config = front_config(secrets, server=ServerConfig(public_url=PUBLIC), **sections)
    return Gate(config, refusals, Limits(config, refusals)), metrics


def refusal(check: Callable[[Gate], None], **sections: Any) -> str | None:
    """Why this is refused, which is counted, and logged in one line; None if it is let in, which is neither."""
    made, metrics = gate(**sections)
    reason = None
    with capture_logs() as logged:
        try:
            check(made)
        except AuthRejected as rejected:
            reason = str(rejected)
    counted = metrics.registry.get_sample_value("relay_auth_rejected_total", {"endpoint": ENDPOINT}) or 0
    assert counted == (reason is not None)
    assert [(line["event"], line["endpoint"], line["reason"]) for line in logged] == (
        [] if reason is None else [("auth.rejected", ENDPOINT, reason)]
    )
    return reason


@pytest.mark.parametrize(
    ("target", "form", "given", "reason"),
    [
        ("/twilio/voice?a=1", FORM, FORM_SIGNATURE, None),
        ("/twilio/voice?a=1", FORM[::-1], FORM_SIGNATURE, None),
        ("/twilio/voice?a=1", FORM, None, "signature missing"),
        ("/twilio/voice?a=1", FORM, "", "signature missing"),
        ("/twilio/voice?a=1", FORM, STREAM_SIGNATURE, "signature wrong"),
        ("/twilio/voice", FORM, FORM_SIGNATURE, "signature wrong"),
        ("/twilio/voice?a=1", FORM[1:], FORM_SIGNATURE, "signature wrong"),
    ],
)
async def test_a_webhook_is_signed_over_its_public_address_and_its_form(
    target: str, form: list[tuple[str, str]], given: str | None, reason: str | None
) -> None:
    assert refusal(lambda made: made.check_form(ENDPOINT, target, form, given, None)) == reason


@pytest.mark.parametrize(
    ("target", "given", "reason"),
    [
        ("/twilio/media", STREAM_SIGNATURE, None),
        ("/twilio/media", signature(PUBLIC + "/twilio/media"), "signature wrong"),
        ("/twilio/media?x", STREAM_SIGNATURE, "signature wrong"),
        ("/twilio/media", None, "signature missing"),
    ],
)
async def test_a_media_socket_is_signed_over_wss(target: str, given: str | None, reason: str | None) -> None:
    assert refusal(lambda made: made.check_handshake(ENDPOINT, target, given, None)) == reason


@pytest.mark.parametrize(("given", "reason"), [("anything", None), (None, "signature missing")])
async def test_before_the_body_is_read_only_the_presence_of_a_signature_is_checked(
    given: str | None, reason: str | None
) -> None:
    assert refusal(lambda made: made.check_signed(ENDPOINT, given)) == reason


async def test_no_signature_is_asked_for_where_checking_is_turned_off() -> None:
    unchecked = TwilioConfig(validate_signatures=False)

    assert refusal(lambda made: made.check_signed(ENDPOINT, None), twilio=unchecked) is None
    assert refusal(lambda made: made.check_form(ENDPOINT, "/", FORM, None, None), twilio=unchecked) is None
    assert refusal(lambda made: made.check_handshake(ENDPOINT, "/", None, None), twilio=unchecked) is None


@pytest.mark.parametrize(
    ("accounts", "account", "reason"),
    [
        ((), "any", None),
        ((ACCOUNT,), ACCOUNT, None),
        ((ACCOUNT,), "", "account not in twilio.account_sids"),
        ((ACCOUNT,), ACCOUNT.lower(), "account not in twilio.account_sids"),
    ],
)
async def test_only_configured_accounts_are_served_if_there_are_any(
    accounts: tuple[str, ...], account: str, reason: str | None
) -> None:
    twilio = TwilioConfig(account_sids=accounts)

    assert refusal(lambda made: made.check_account(ENDPOINT, account), twilio=twilio) == reason


@pytest.mark.parametrize(
    ("authorization", "reason"),
    [
        (f"Bearer {ADMIN_TOKEN}", None),
        (f"bearer  {ADMIN_TOKEN} ", None),
        (None, "admin token missing"),
        ("", "admin token missing"),
        ("Bearer guess", "admin token wrong"),
        ("Bearer", "admin token wrong"),
        (f"Basic {ADMIN_TOKEN}", "admin token wrong"),
        (ADMIN_TOKEN, "admin token wrong"),
        ("Bearer \udcff", "admin token wrong"),
    ],
)
async def test_an_operator_shows_the_admin_token(authorization: str | None, reason: str | None) -> None:
    assert refusal(lambda made: made.check_admin(ENDPOINT, authorization, CLIENT)) == reason


@pytest.mark.parametrize("authorization", ["Bearer ", "Bearer None", None])
async def test_where_there_is_no_admin_token_none_is_the_right_one(authorization: str | None) -> None:
    made, _ = gate({"admin_token": None})

    assert not made.has_admin
    with pytest.raises(AuthRejected):
        made.check_admin(ENDPOINT, authorization, CLIENT)


async def test_a_refusal_says_nothing_of_what_was_sent() -> None:
    made, _ = gate()
    with capture_logs() as logged, pytest.raises(AuthRejected) as refused:
        made.check_admin(ENDPOINT, "Bearer a-guess", CLIENT)

    assert "a-guess" not in f"{logged}{refused.value}"


@pytest.mark.parametrize("public", ["https://relay.example.com:8443", "http://relay.example.com:8443"])
def test_our_sockets_are_always_dialled_with_tls(public: str) -> None:
    assert stream_url(public, "/x") == "wss://relay.example.com:8443/x"
