"""A signature is made as the credential says."""

import base64
import hashlib
import hmac

import pytest

from relay.standin.assistant.credentials import BearerCredential, HmacCredential

NOW_S = 1_764_000_000.5
BODY = b'{"message":{"type":"hang {url}"}}'
URL = "https://events.example.com/hook"


def made(credential: HmacCredential) -> dict[str, str]:
    return dict(credential.headers("POST", URL, BODY, NOW_S))


@pytest.mark.parametrize(
    ("credential", "key", "algorithm", "signed"),
    [
        (HmacCredential("k"), b"k", "sha256", b"1764000000500." + BODY),
        (HmacCredential("k", timestamp_unit="s"), b"k", "sha256", b"1764000000." + BODY),
        (HmacCredential("k", algorithm="sha1"), b"k", "sha1", b"1764000000500." + BODY),
        (HmacCredential("k", algorithm="sha512", payload="{body}"), b"k", "sha512", BODY),
        (HmacCredential("k", payload="{method} {url} {body}"), b"k", "sha256", b"POST " + URL.encode() + b" " + BODY),
        (HmacCredential("a2V5", secret_is_base64=True, payload="{body}"), b"key", "sha256", BODY),
    ],
)
def test_the_payload_is_signed_with_the_key_and_the_algorithm(
    credential: HmacCredential, key: bytes, algorithm: str, signed: bytes
) -> None:
    assert made(credential)["x-signature"] == hmac.new(key, signed, algorithm).hexdigest()


def test_headers_prefix_and_encoding_are_configurable() -> None:
    credential = HmacCredential(
        "k",
        signature_header="x-vapi-signature",
        signature_prefix="sha256=",
        timestamp_header="x-vapi-timestamp",
        encoding="base64",
        payload="{body}",
    )
    digest = base64.b64encode(hmac.digest(b"k", BODY, hashlib.sha256)).decode()

    assert made(credential) == {"x-vapi-signature": f"sha256={digest}", "x-vapi-timestamp": "1764000000500"}


def test_the_time_can_be_left_out() -> None:
    assert set(made(HmacCredential("k", include_timestamp=False))) == {"x-signature"}


def test_the_secret_is_not_in_the_repr() -> None:
    assert "t0ken" not in repr(BearerCredential("t0ken")) + repr(HmacCredential("t0ken"))
