"""The three ways in: what is let in, what is not, and why."""

import hashlib
import hmac
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.standin.assistant.credentials import BearerCredential, Credential, HmacCredential
from relay.wire.webhook_auth import WebhookRules, WebhookVerifier

NOW_S = 1_800_000_000.0
URL = "https://relay.example.com/vapi/events"
OLD, NEW = "old-secret-of-the-test", "new-secret-of-the-test"
BODY = b'{"message": {"type": "hang", "text": "{timestamp}"}}'
BEARER = WebhookRules(auth="bearer", header="authorization")
HMAC = WebhookRules(auth="hmac", header="x-signature")


def headers(values: dict[str, str]) -> Callable[[str], str | None]:
    lower = {name.lower(): value for name, value in values.items()}
    return lambda name: lower.get(name.lower())


def problem(rules: WebhookRules, values: dict[str, str], body: bytes = BODY, now_s: float = NOW_S) -> str | None:
    verifier = WebhookVerifier(rules, (OLD, NEW), URL)
    return verifier.check_head(headers(values), now_s) or verifier.check_body(headers(values), body)


def signed(credential: Credential, body: bytes = BODY, at_s: float = NOW_S) -> dict[str, str]:
    return dict(credential.headers("POST", URL, body, at_s))


@pytest.mark.parametrize("secret", [OLD, NEW])
def test_each_of_two_secrets_is_good_while_they_are_exchanged(secret: str) -> None:
    assert problem(WebhookRules(), {"X-Vapi-Secret": secret}) is None
    assert problem(BEARER, signed(BearerCredential(secret))) is None
    assert problem(HMAC, signed(HmacCredential(secret))) is None


@pytest.mark.parametrize("unit", ["s", "ms"])
@pytest.mark.parametrize("algorithm", ["sha256", "sha512", "sha1"])
@pytest.mark.parametrize("encoding", ["hex", "base64"])
@pytest.mark.parametrize("payload", ["{timestamp}.{body}", "{body}", "{method} {url} {timestamp} {body}"])
def test_every_form_of_signature_that_can_be_configured_at_vapi_is_read(
    unit: str, algorithm: str, encoding: str, payload: str
) -> None:
    form = {"algorithm": algorithm, "encoding": encoding, "payload": payload}
    theirs = HmacCredential(NEW, timestamp_unit=unit, signature_prefix="v1=", **form)  # type: ignore[arg-type]
    ours = WebhookRules(auth="hmac", header="x-signature", prefix="v1=", **form)  # type: ignore[arg-type]

    assert problem(ours, signed(theirs)) is None
    assert problem(ours, signed(theirs), body=BODY + b" ") == "webhook signature wrong"


def test_the_signature_is_the_documented_one() -> None:
    digest = hmac.new(NEW.encode(), b"1800000000." + BODY, hashlib.sha256).hexdigest()

    assert problem(HMAC, {"x-signature": digest, "x-timestamp": "1800000000"}) is None


@pytest.mark.parametrize(
    ("rules", "values", "why"),
    [
        (WebhookRules(), {}, "webhook secret missing"),
        (WebhookRules(), {"x-vapi-secret": "other"}, "webhook secret wrong"),
        (WebhookRules(), {"x-vapi-secret": NEW + "x"}, "webhook secret wrong"),
        (WebhookRules(), {"x-vapi-secret": f"{OLD},{NEW}"}, "webhook secret wrong"),
        (WebhookRules(), {"x-vapi-secret": "ü"}, "webhook secret wrong"),
        (BEARER, {}, "webhook token missing"),
        (BEARER, {"authorization": NEW}, "webhook token wrong"),
        (BEARER, {"authorization": f"Basic {NEW}"}, "webhook token wrong"),
        (HMAC, {}, "webhook signature missing"),
        (HMAC, {"x-signature": "00"}, "webhook timestamp missing"),
        (HMAC, {"x-signature": "00", "x-timestamp": "now"}, "webhook timestamp wrong"),
        (HMAC, {"x-signature": "00", "x-timestamp": "nan"}, "webhook timestamp wrong"),
        (HMAC, {"x-signature": "00", "x-timestamp": "inf"}, "webhook timestamp wrong"),
        (HMAC, {"x-signature": "00", "x-timestamp": "1800000000"}, "webhook signature wrong"),
    ],
)
def test_what_is_missing_or_wrong_is_named_and_never_quoted(
    rules: WebhookRules, values: dict[str, str], why: str
) -> None:
    assert problem(rules, values) == why


@pytest.mark.parametrize(("age_s", "good"), [(299, True), (301, False), (-299, True), (-301, False)])
def test_a_signature_is_good_for_five_minutes(age_s: float, *, good: bool) -> None:
    assert (problem(HMAC, signed(HmacCredential(NEW)), now_s=NOW_S + age_s) is None) == good


@given(st.text(max_size=60), st.text(max_size=30), st.binary(max_size=60))
def test_no_header_and_no_body_is_let_in_by_chance_or_breaks_the_check(given_: str, stamp: str, body: bytes) -> None:
    for rules in (WebhookRules(), BEARER, HMAC):
        assert problem(rules, {rules.header: given_, "x-timestamp": stamp}, body) is not None
