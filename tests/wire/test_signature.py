"""Twilio's signatures, against vectors made with Twilio's own Python library 9.13.0 and an independent computation."""

import base64
import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import ConfigError
from relay.wire.signature import TwilioValidator

TOKEN = "12345"
SETTINGS = "key=webhooks_sharedkey_1,algorithm=HMAC_SHA256"
VOICE = "https://relay.example.com/twilio/voice"
MEDIA = "wss://relay.example.com/twilio/media"
MEDIA_SHA1 = "bUFMpWZLq0Wt0x1rGJn1lMqlvP4="
MEDIA_443_SHA1 = "z6qZnr2Jfe7XUjbU7e4QLPKVn20="
MEDIA_SHA256 = "r8V3jHS2FSktdKnYSN+8Kx6w6+8zjfUWpsIfk1ObBNg="

validator = TwilioValidator((TOKEN,), {"webhooks_sharedkey_1": "shared-secret"})

Params = list[tuple[str, str]]

# url, parameters, SHA-1 with the token, SHA-256 with the shared key
VECTORS: list[tuple[str, Params, str, str]] = [
    (VOICE, [], "hBVMPJHwvN5/53y/fLTg7Z38pAc=", "6WIB2Km6A9N/ssajrEUOZXQ82iCU3IJhEoP9AMRm7aw="),
    (
        VOICE,
        [
            ("CallSid", "CA1"),
            ("From", "+14158675310"),
            ("Digits", "1234"),
            ("Caller", "+14158675310"),
            ("To", "+18005551212"),
        ],
        "mloqi2JgSDNWb4CtiXLbvi+DaJw=",
        "nMxuFM4vt0fFdShGEdJFsM+0WRGnlCWrogElXbiVjec=",
    ),
    (
        VOICE + "?foo=1&bar=2",
        [("CallSid", "CA1")],
        "BrvXvgz/fubb8j1xc9Tir77TOQw=",
        "n7bxGLuv401bal3v9q7G6MpOO7ziFI/a7Z7ok9Z52S4=",
    ),
    (
        VOICE + "/?",
        [("b", ""), ("a", " x "), ("B", "y")],
        "tfcRwbRz+4ICRHFv79JJUoFLgys=",
        "jozrBOtL2mI+1U935iNwhF8NqtpFpRPS0vrpoDu904w=",
    ),
    (
        "https://relay.example.com:443/twilio/voice",
        [("CallSid", "CA1")],
        "BeX8RhkwlUddmrqkgw9eHApI8uQ=",
        "pyBMWJdWrOceFIb1ma7eyU+PZvDpSZQw6uSWIna3dEY=",
    ),
    (
        VOICE,
        [("m", "b"), ("m", "a"), ("m", "b"), ("n", "")],
        "zb4ufkf6d1eaU4XpEAw6rGbh0v4=",
        "ypCnLQFGknEvN2CB0I1g1kHhpg0x44FJIRS6i+HkXtk=",
    ),
    (
        VOICE,
        [("\u00e9", "\u20ac\U0001f600"), ("e", "\x00\n")],
        "3zOOZPe6R3joCcD9PpLqE1FASDk=",
        "K1/Iw4mQSXsiazqw818fAljxX2+o9t2LwFG6VqUBMUU=",
    ),
    (
        VOICE + "/%7Ex%2Fy?q=%20+",
        [("a", "1")],
        "XySmG4E0zt8koF1nTRCXeR0hICg=",
        "UuXR+78ZmTli4PCBojSO69wOy/mCetaaTh2c/BDFp54=",
    ),
    (MEDIA, [], MEDIA_SHA1, MEDIA_SHA256),
    (
        "https://user:pw@relay.example.com/twilio/voice",
        [("a", "1")],
        "JtYkNBOBeG1xBcceNQYg7Ffk02s=",
        "35Xv+y9DKHEz+8PAPCbe2GrvwPuRP02umfgbf0qAxac=",
    ),
    (
        "https://[::1]:8443/twilio/voice",
        [("a", "1")],
        "uIBztyxOyprZcWy8jMJ3tmzZn6s=",
        "Uojhb9NOn6Yr6XCqsAJbFkVyiqnRzz7735mXSRpE5nI=",
    ),
]


def sign(base: str, secret: str = TOKEN, algorithm: str = "sha1") -> str:
    return base64.b64encode(hmac.new(secret.encode(), base.encode(), getattr(hashlib, algorithm)).digest()).decode()


@pytest.mark.parametrize(("url", "params", "sha1", "sha256"), VECTORS)
def test_twilios_own_signatures_are_valid(url: str, params: Params, sha1: str, sha256: str) -> None:
    assert validator.form_valid(url, params, sha1, None)
    assert validator.form_valid(url, params[::-1], sha1, None)
    assert validator.form_valid(url, params, sha256, SETTINGS)


@pytest.mark.parametrize(("url", "params", "sha1", "sha256"), VECTORS)
def test_the_same_signature_over_anything_else_is_not(url: str, params: Params, sha1: str, sha256: str) -> None:
    for signature, settings in ((sha1, None), (sha256, SETTINGS)):
        assert not validator.form_valid(url + "x", params, signature, settings)
        assert not validator.form_valid(url, [*params, ("Extra", "")], signature, settings)
        assert not validator.form_valid(url, params, signature[:-2], settings)
    assert not validator.form_valid(url, params, sha256, None)
    assert not validator.form_valid(url, params, sha1, SETTINGS)
    assert not TwilioValidator(("other",), {}).form_valid(url, params, sha1, None)


@pytest.mark.parametrize(
    ("asked", "signed"),
    [
        ("https://h.example/v", "https://h.example:443/v"),
        ("https://h.example:443/v", "https://h.example/v"),
        ("https://h.example:8443/v?a=b:c@d", "https://h.example/v?a=b:c@d"),
        ("http://h.example", "http://h.example:80"),
        ("https://u:p@h.example/v", "https://u:p@h.example:443/v"),
        ("https://[2001:db8::1]/v", "https://[2001:db8::1]:443/v"),
        ("https://[2001:db8::1]:443/v", "https://[2001:db8::1]/v"),
    ],
)
def test_the_port_may_or_may_not_be_in_the_signed_url(asked: str, signed: str) -> None:
    assert validator.form_valid(asked, [("a", "b")], sign(signed + "ab"), None)


def test_another_port_than_the_one_asked_is_not_tried() -> None:
    assert not validator.form_valid("https://h.example/v", [], sign("https://h.example:8443/v"), None)
    assert not validator.form_valid("https://h.example/v", [], sign("https://h.example:80/v"), None)


@pytest.mark.parametrize("signature", [MEDIA_SHA1, MEDIA_443_SHA1])
def test_a_handshake_is_signed_over_the_wss_url_with_or_without_443(signature: str) -> None:
    assert validator.handshake_valid(MEDIA, signature, None)
    assert validator.handshake_valid("wss://relay.example.com:443/twilio/media", signature, None)
    assert not validator.handshake_valid("https://relay.example.com/twilio/media", signature, None)


def test_a_handshake_may_be_signed_with_a_shared_key() -> None:
    assert validator.handshake_valid(MEDIA, MEDIA_SHA256, SETTINGS)


def test_during_a_rotation_old_and_new_token_are_good() -> None:
    both = TwilioValidator(("new", TOKEN))

    assert both.handshake_valid(MEDIA, MEDIA_SHA1, None)
    assert both.handshake_valid(MEDIA, sign(MEDIA, "new"), None)


@pytest.mark.parametrize(
    "settings",
    [
        "key=unknown,algorithm=HMAC_SHA256",
        "algorithm=HMAC_SHA256",
        "key=,algorithm=HMAC_SHA256",
        "key=webhooks_sharedkey_1,key=unknown,algorithm=HMAC_SHA256",
        "key=webhooks_sharedkey_1,algorithm=HMAC_MD5",
        "key=webhooks_sharedkey_1,algorithm=none",
        "key=webhooks_sharedkey_1,algorithm=HMAC_SHA1,algorithm=HMAC_SHA256",
        "algorithm=HMAC_SHA512",
    ],
)
def test_an_unknown_or_ambiguous_algorithm_or_key_is_refused(settings: str) -> None:
    assert not validator.handshake_valid(MEDIA, MEDIA_SHA256, settings)
    assert not validator.handshake_valid(MEDIA, MEDIA_SHA1, settings)


@pytest.mark.parametrize(
    "settings", [None, "", "key=webhooks_sharedkey_1", "algorithm=", "nonsense", "algorithm=HMAC_SHA1", "key=unknown"]
)
def test_without_an_algorithm_the_auth_token_signs(settings: str | None) -> None:
    assert validator.handshake_valid(MEDIA, MEDIA_SHA1, settings)
    assert not validator.handshake_valid(MEDIA, MEDIA_SHA256, settings)


@pytest.mark.parametrize(
    "settings",
    [
        "key=webhooks_sharedkey_1",
        "key=webhooks_sharedkey_1,algorithm=",
        "key=webhooks_sharedkey_1,algorithm=HMAC_SHA1",
        "algorithm=hmac_sha1,key=webhooks_sharedkey_1",
    ],
)
def test_a_shared_key_that_is_named_signs_with_the_old_algorithm_too(settings: str) -> None:
    assert validator.handshake_valid(MEDIA, sign(MEDIA, "shared-secret"), settings)
    assert validator.handshake_valid(MEDIA, MEDIA_SHA1, settings)
    assert not validator.handshake_valid(MEDIA, MEDIA_SHA256, settings)
    assert not validator.handshake_valid(MEDIA, sign(MEDIA, "another"), settings)


@pytest.mark.parametrize(
    "settings", [None, "algorithm=HMAC_SHA1", "key=unknown", "key=webhooks_sharedkey_1,key=unknown"]
)
def test_a_shared_key_that_is_not_named_signs_nothing(settings: str | None) -> None:
    assert not validator.handshake_valid(MEDIA, sign(MEDIA, "shared-secret"), settings)


@pytest.mark.parametrize(("asked", "signed"), [(VOICE, VOICE + "?"), (VOICE + "?", VOICE), (VOICE + "?", VOICE + "?")])
@pytest.mark.parametrize("port", ["", ":443"])
def test_a_bare_question_mark_may_or_may_not_be_in_the_signed_url(asked: str, signed: str, port: str) -> None:
    """Servers pass no query on for either."""
    signature = sign(signed.replace(".com", ".com" + port) + "ab")

    assert validator.form_valid(asked, [("a", "b")], signature, None)


def test_a_question_mark_behind_a_query_is_part_of_the_query() -> None:
    assert not validator.form_valid(VOICE + "?a=b", [], sign(VOICE + "?a=b?"), None)
    assert not validator.form_valid(VOICE + "?a=b?", [], sign(VOICE + "?a=b"), None)
    assert not validator.form_valid(VOICE + "??", [], sign(VOICE + "?"), None)


def test_settings_may_have_spaces() -> None:
    assert validator.handshake_valid(MEDIA, MEDIA_SHA256, " key = webhooks_sharedkey_1 , algorithm = HMAC_SHA256 ")


@pytest.mark.parametrize(
    "signature",
    [None, "", " ", "x", "\u00e9" * 28, "\ud800", "\x00", MEDIA_SHA1 + " ", MEDIA_SHA1.lower(), "A" * 100_000],
)
def test_a_missing_or_odd_header_is_not_valid_and_raises_nothing(signature: str | None) -> None:
    assert not validator.handshake_valid(MEDIA, signature, None)
    assert not validator.form_valid(VOICE, [("a", "b")], signature, SETTINGS)


def test_parameters_that_utf8_cannot_carry_are_not_valid() -> None:
    assert not validator.form_valid(VOICE, [("a", "\ud800")], MEDIA_SHA1, None)


def test_a_validator_without_tokens_accepts_nothing() -> None:
    assert not TwilioValidator(()).handshake_valid(MEDIA, sign(MEDIA, ""), None)


def test_an_empty_secret_is_refused_because_anybody_could_sign() -> None:
    with pytest.raises(ConfigError, match="empty"):
        TwilioValidator((TOKEN, ""))
    with pytest.raises(ConfigError, match="empty"):
        TwilioValidator((TOKEN,), {"id": ""})


@given(
    st.text(),
    st.lists(st.tuples(st.text(max_size=5), st.text(max_size=5)), max_size=4),
    st.none() | st.text(),
    st.none() | st.text() | st.just(SETTINGS),
)
def test_no_input_raises_or_passes(url: str, params: Params, signature: str | None, settings: str | None) -> None:
    assert not validator.form_valid(url, params, signature, settings)
    assert not validator.handshake_valid(url, signature, settings)


@given(
    st.lists(st.tuples(st.sampled_from(["a", "b", "B", "\u00e9"]), st.text(st.characters(codec="utf-8"), max_size=4))),
    st.sampled_from(["https://h.example/v", "https://h.example/v?x=%20&y", "https://h.example/v/?"]),
)
def test_any_form_is_valid_by_an_independent_computation(params: Params, url: str) -> None:
    values: dict[str, set[str]] = {}
    for name, value in params:
        values.setdefault(name, set()).add(value)
    base = url
    for name in sorted(values):
        for value in sorted(values[name]):
            base += name + value

    assert validator.form_valid(url, params, sign(base), None)
