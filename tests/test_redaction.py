"""Secrets are taken out of whatever is logged, and nothing else is."""

import base64
import json
from collections import Counter
from collections.abc import Callable
from urllib.parse import quote, quote_plus, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.redaction import MASK, Redactor

SECRETS = {
    "twilio token": "0123456789abcdef0123456789abcdef",
    "shared key": "a+b/c==",
    "vapi key": "3f1d9c1e-0d5c-4c5e-9a44-5a0f1c2b3d4e",
    "awkward": "q\"uo'te\\back/slash&=?",
    "socket url": "wss://api.vapi.ai/9a44-5a0f1c2b3d4e/transport?x=1",
    "control url": "https://phone.aws.vapi.ai/7777-5a0f1c2b3d4e/control",
}
SHAPES: dict[str, Callable[[str], object]] = {
    "text": lambda secret: f"before {secret} after",
    "twice": lambda secret: f"{secret}{secret}",
    "bytes": lambda secret: b"\xff" + secret.encode(),
    "bytearray": lambda secret: bytearray(secret.encode()),
    "nested": lambda secret: {"a": [{"b": ("c", {secret})}]},
    "key": lambda secret: {secret: 1},
    "key and its value": lambda secret: {f"token {secret}": secret},
    "header list": lambda secret: [(b"authorization", b"Bearer " + secret.encode())],
    "exception": lambda secret: ValueError(f"401 for {secret}"),
    "exception with bytes": lambda secret: ValueError(secret.encode()),
    "object": lambda secret: type("Thing", (), {"__repr__": lambda _self: f"<Thing {secret}>"})(),
    "url encoded": lambda secret: f"https://h/?k={quote(secret, safe='')}&l={quote_plus(secret)}&m={quote(secret)}",
    "form": lambda secret: urlencode({"k": secret}),
    "json": lambda secret: json.dumps({"k": secret}),
    "python text": lambda secret: repr([secret]),
}


def cleaned(redactor: Redactor, value: object) -> object:
    """The value as it is logged under a name that tells nothing."""
    return redactor.clean_event({"note": value})["note"]


def everything(value: object) -> str:
    """The value as a log line would show it, and with every escape taken back."""
    line = json.dumps(value)
    return line + str(value)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS)
def test_a_known_secret_is_found_in_every_shape(secret: str, shape: Callable[[str], object]) -> None:
    redactor = Redactor(frozenset(SECRETS.values()))

    shown = everything(cleaned(redactor, shape(secret)))

    assert MASK in shown
    for form in (secret, quote(secret, safe=""), quote_plus(secret), json.dumps(secret)[1:-1], repr(secret)[1:-1]):
        assert form not in shown


def test_the_path_of_a_secret_address_is_secret_too() -> None:
    redactor = Redactor(frozenset({SECRETS["socket url"]}))

    assert cleaned(redactor, "GET /9a44-5a0f1c2b3d4e/transport?x=1 HTTP/1.1") == f"GET {MASK} HTTP/1.1"


def test_a_short_path_alone_is_no_secret() -> None:
    assert cleaned(Redactor(frozenset({"https://h/call"})), "POST /call") == "POST /call"


def test_a_secret_that_is_a_number_is_found_as_a_number() -> None:
    redactor = Redactor(frozenset({"12345678"}))

    assert cleaned(redactor, {"a": 12345678, "b": 5}) == {"a": MASK, "b": 5}


@pytest.mark.parametrize(
    "key",
    [
        "authorization",
        "Authorization",
        "X-Vapi-Secret",
        "x-twilio-signature",
        "api_key",
        "apiKey",
        "token",
        "resume_token",
        "Set-Cookie",
        "websocketCallUrl",
        "controlUrl",
        "listen_url",
        "password",
        "client_secret",
        "shared_key",
    ],
)
@pytest.mark.parametrize("value", ["unknown", b"unknown", ["unknown"], {"a": "unknown"}, 12345])
def test_a_key_that_looks_secret_loses_its_value_even_if_that_is_not_known(key: str, value: object) -> None:
    assert cleaned(Redactor(), {"headers": {key: value}}) == {"headers": {key: MASK}}


def test_flags_about_secrets_and_plain_values_stay() -> None:
    event = {
        "token_present": True,
        "token": None,
        "key": "a",
        "code": "TOKEN_EXPIRED",
        "n": 1,
        "x": 0.5,
        "event": "a.b",
    }

    assert cleaned(Redactor(frozenset({"s3cret"})), event) == event


def test_a_value_is_forgotten_when_it_was_discarded_as_often_as_added() -> None:
    redactor = Redactor()
    redactor.add("s3cret")
    redactor.add("s3cret")

    redactor.discard("s3cret")
    assert cleaned(redactor, "s3cret") == MASK
    redactor.discard("s3cret")
    assert cleaned(redactor, "s3cret") == "s3cret"
    redactor.discard("never added")


@given(
    st.lists(st.tuples(st.booleans(), st.sampled_from(["abc", "abcd", "abcdef", "xabcdefx", "wss://h/abcdef?x=1"]))),
)
def test_values_that_come_and_go_leave_what_those_that_are_left_would_be_alone(steps: list[tuple[bool, str]]) -> None:
    redactor, left = Redactor(), Counter[str]()
    for comes, value in steps:
        if comes:
            redactor.add(value)
            left[value] += 1
        else:
            redactor.discard(value)
            left[value] = max(0, left[value] - 1)
    text = "abc abcd abcdef xabcdefx wss://h/abcdef?x=1 wss%3A%2F%2Fh%2Fabcdef%3Fx%3D1"

    assert redactor.text(text) == Redactor(frozenset(left.elements())).text(text)


def test_an_empty_value_is_no_secret() -> None:
    assert cleaned(Redactor(frozenset({""})), "text") == "text"


def test_a_secret_that_contains_another_leaves_nothing_of_itself() -> None:
    assert cleaned(Redactor(frozenset({"abc", "abcdef"})), "abcdef abc") == f"{MASK} {MASK}"


def test_values_are_bounded() -> None:
    redactor = Redactor()
    deep: list[object] = []
    for _ in range(1000):
        deep = [deep]
    loop: list[object] = []
    loop.append(loop)

    assert len(str(cleaned(redactor, "x" * 1_000_000))) < 5000
    assert len(str(cleaned(redactor, [1] * 1_000_000))) < 5000
    assert len(str(cleaned(redactor, deep))) < 5000
    assert len(str(cleaned(redactor, loop))) < 5000


def test_a_secret_is_taken_out_before_a_long_text_is_cut() -> None:
    secret = "s3cret" * 10
    text = "x" * 3990 + secret

    assert "s3c" not in str(cleaned(Redactor(frozenset({secret})), text))


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError


def test_what_cannot_be_printed_is_named_by_its_type() -> None:
    assert cleaned(Redactor(), [Unprintable()]) == ["<Unprintable that cannot be printed>"]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner) | st.tuples(inner),
    )
)
def test_anything_becomes_json_without_the_secret(value: object) -> None:
    secret = base64.b64encode(b"a secret of some length").decode()
    redactor = Redactor(frozenset({secret}))

    line = json.dumps(cleaned(redactor, {"value": value, "secret here": [value, secret]}), allow_nan=False)

    assert secret not in line


@pytest.mark.parametrize("secret", ["t", "key", "token", "test"])
def test_a_short_secret_does_not_take_parts_of_words_or_names_of_values_with_it(secret: str) -> None:
    redactor = Redactor(frozenset({secret}))
    event = {"event": "caller.attached", "tester": "a keyboard, tokens, attested", "key_ms": 5}

    assert redactor.clean_event(event) == event
    assert redactor.text(f"value={secret}&x") == f"value={MASK}&x"


def test_it_knows_a_value_until_that_is_discarded() -> None:
    redactor = Redactor({"secret"})
    known = [redactor.knows("secret"), redactor.knows("other")]
    redactor.discard("secret")

    assert (known, redactor.knows("secret")) == ([True, False], False)
