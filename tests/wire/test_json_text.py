"""Decoding of JSON text: every failure has a code and a path, and no value."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import RemoteProtocolError
from relay.wire.json_text import Misfit, WireCode, decode, find_misfit, label


class Inner(msgspec.Struct):
    n: int


class Outer(msgspec.Struct):
    a: Inner
    table: dict[str, str] = {}
    raw: msgspec.Raw = msgspec.Raw(b"")


class Red(msgspec.Struct, tag_field="colour", tag="red", rename="camel"):
    how_red: int


class Blue(msgspec.Struct, tag_field="colour", tag="blue"):
    sky: bool
    inner: Inner
    data: bytes = b""


decoder = msgspec.json.Decoder(Outer)
tagged_decoder: msgspec.json.Decoder[Red | Blue] = msgspec.json.Decoder(Red | Blue, strict=False)


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
        ('{"a":"secret"}', WireCode.FIELD_INVALID, "hello: a has a wrong type or value"),
        ('{"a":{"n":1e400}}', WireCode.FIELD_INVALID, "hello: a.n has a wrong type or value"),
        ('{"raw":[{}],"a":{"n":null}}', WireCode.FIELD_INVALID, "hello: a.n has a wrong type or value"),
        ('{"a":{"n":"secret"},"x":', WireCode.NOT_JSON, "hello is not JSON"),
        ("[5", WireCode.NOT_JSON, "hello is not JSON"),
        ('{"a":{"n":1},"table":{"secret":5}}', WireCode.FIELD_INVALID, "hello: table[...] has a wrong type or value"),
    ],
)
def test_a_failure_is_named_by_code_and_field(text: str | bytes, code: WireCode, says: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        decode(decoder, text, "hello")

    assert (caught.value.code, str(caught.value)) == (code, says)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[]", Misfit(WireCode.NOT_OBJECT)),
        ("{}", Misfit(WireCode.FIELD_MISSING, "colour")),
        ('{"colour":5}', Misfit(WireCode.FIELD_INVALID, "colour")),
        ('{"colour":"green"}', Misfit(WireCode.FIELD_INVALID, "colour", "green")),
        ('{"colour":"red"}', Misfit(WireCode.FIELD_MISSING, "howRed", tag="red")),
        ('{"howRed":"x","colour":"red"}', Misfit(WireCode.FIELD_INVALID, "howRed", "x", "red")),
        ('{"colour":"blue","sky":"true","inner":{}}', Misfit(WireCode.FIELD_MISSING, "inner.n", tag="blue")),
        ('{"colour":"blue","sky":1,"data":"?"}', Misfit(WireCode.FIELD_INVALID, "data", "?", "blue")),
        ('{"colour":"blue","colour":"red","howRed":1}', Misfit(WireCode.FIELD_INVALID, tag="red")),
    ],
)
def test_of_several_types_the_tag_says_which_one_was_meant(text: str, found: Misfit) -> None:
    with pytest.raises(msgspec.ValidationError):
        tagged_decoder.decode(text)

    assert find_misfit(tagged_decoder, text, "hello") == found


FIELDS: dict[str, Any] = {"sky": True, "inner": {"n": 1}, "data": "AAAA"}


@given(st.permutations(sorted(FIELDS)), st.sampled_from(sorted(FIELDS)), st.none() | st.lists(st.none()))
def test_the_one_field_that_is_spoilt_is_found_wherever_it_stands(order: list[str], spoilt: str, value: object) -> None:
    document = {"colour": "blue", **{name: FIELDS[name] for name in order}, spoilt: value}

    wrong = find_misfit(tagged_decoder, json.dumps(document), "hello")

    assert wrong == Misfit(WireCode.FIELD_INVALID, spoilt, tag="blue")


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
