"""What an assistant is told of the caller: what is listed, bounded, and never a secret."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.wire.caller_variables import NUMBER_VARIABLE, VALUE_MAX_CHARS, caller_variables

FIELDS = {
    "CallSid": "CA1",
    "From": "+15005550006",
    "Caller": "+15005550006",
    "StirVerstat": "TN-Validation-Passed-A",
    "SipHeader_X-Plan": "gold",
    "token": "one-time",
}


@pytest.mark.parametrize(
    ("names", "with_number", "variables"),
    [
        ((), False, {}),
        ((), True, {NUMBER_VARIABLE: "+15005550006"}),
        (("StirVerstat",), False, {"StirVerstat": "TN-Validation-Passed-A"}),
        (("SipHeader_X-Plan", "Missing"), False, {"SipHeader_X_Plan": "gold"}),
        (("sipheader_x-plan",), False, {"sipheader_x_plan": "gold"}),
        (("token", "Token"), False, {}),
    ],
)
def test_only_what_is_listed_is_told_and_the_number_when_it_is_wanted(
    names: tuple[str, ...], variables: dict[str, str], *, with_number: bool
) -> None:
    assert caller_variables(FIELDS, names, with_number=with_number) == variables


@pytest.mark.parametrize(
    ("field", "told"),
    [
        ({"From": "sip:alice@example.com"}, "sip:alice@example.com"),
        ({"From": "anonymous"}, "anonymous"),
        ({"Caller": "+15005550006"}, "+15005550006"),
        ({"From": "", "Caller": "client:bob"}, "client:bob"),
        ({}, None),
    ],
)
def test_the_number_is_whatever_twilio_names_as_the_caller(field: dict[str, str], told: str | None) -> None:
    assert caller_variables(field, (), with_number=True).get(NUMBER_VARIABLE) == told


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("  gold ", "gold"),
        ("J\u00fcrgen \u738b", "J\u00fcrgen \u738b"),
        ("line\r\n\x1b[31m\u202e", "line[31m"),
        ("{{ secret }} {% if %}", "secret  % if %"),
        ("x" * VALUE_MAX_CHARS, "x" * VALUE_MAX_CHARS),
        ("x" * (VALUE_MAX_CHARS + 1), None),
        ("\n{}", None),
        ("", None),
    ],
)
def test_a_value_is_bounded_in_length_and_characters(value: str, told: str | None) -> None:
    assert caller_variables({"Plan": value}, ["Plan"], with_number=False).get("Plan") == told


@given(st.dictionaries(st.text(max_size=9), st.text(max_size=300)), st.lists(st.text(max_size=9)))
def test_whatever_comes_only_short_printable_values_of_plain_names_are_told(
    fields: dict[str, str], names: list[str]
) -> None:
    for name, value in caller_variables(fields, [*names, *fields], with_number=True).items():
        assert all(character.isascii() and (character.isalnum() or character == "_") for character in name)
        assert value.isprintable()
        assert 0 < len(value) <= VALUE_MAX_CHARS
        assert not set("{}") & set(value)
