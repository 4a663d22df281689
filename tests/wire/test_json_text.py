"""Decoding of JSON text: every failure has a code and a path, and no value."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import RemoteProtocolError
from relay.wire.json_text import WireCode, decode, label


class Inner(msgspec.Struct):
    n: int


class Outer(msgspec.Struct):
    a: Inner
    table: dict[str, str] = {}


decoder = msgspec.json.Decoder(Outer)


@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        ("", WireCode.NOT_JSON, "hello is not JSON"),
        ("{", WireCode.NOT_JSON, "hello is not JSON"),
        ('{"x":' * 100_000, WireCode.NOT_JSON, "hello is not JSON"),
        ('{"a":{"n":NaN}}', WireCode.NOT_JSON, "hello is not JSON"),
        ('{"a":{"n":1},"x":"\ud800"}', WireCode.NOT_JSON, "hello is not JSON"),
        (b'{"a":{"n":1},"table":{"k":"\xff"}}', WireCode.NOT_JSON, "hello is not JSON"),
        ("[]", WireCode.NOT_OBJECT, "hello is not a JSON object"),
        ("5", WireCode.NOT_OBJECT, "hello is not a JSON object"),
        ("{}", WireCode.FIELD_MISSING, "hello: a is missing"),
        ('{"a":{}}', WireCode.FIELD_MISSING, "hello: a.n is missing"),
        ('{"a":{"n":"secret"}}', WireCode.FIELD_INVALID, "hello: a.n has a wrong type or value"),
        ('{"a":{"n":1},"table":{"secret":5}}', WireCode.FIELD_INVALID, "hello: table[...] has a wrong type or value"),
    ],
)
def test_a_failure_is_named_by_code_and_field(text: str | bytes, code: WireCode, says: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        decode(decoder, text, "hello")

    assert (caught.value.code, str(caught.value)) == (code, says)


@pytest.mark.parametrize("text", ["secret\ud800", '{"a":"secret"}'])
def test_the_cause_is_cut_off_because_it_may_carry_the_message(text: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        decode(decoder, text, "hello")

    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@given(st.text() | st.binary())
def test_nothing_but_a_remote_protocol_error_escapes(text: str | bytes) -> None:
    code = None
    try:
        decode(decoder, text, "hello")
    except RemoteProtocolError as error:
        code = error.code

    assert code is None or code in WireCode.__members__


@given(st.text())
def test_a_label_is_short_and_of_safe_characters(text: str) -> None:
    safe = label(text)

    assert len(safe) <= 40
    assert set(safe) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ._-")


def test_a_label_keeps_a_name_that_is_safe_already() -> None:
    assert label("assistant.speechStarted") == "assistant.speechStarted"
