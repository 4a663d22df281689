"""Whom a caller can be connected to, and whom the operator's list allows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.wire.dial_address import allowing, destination_of, is_entry

numbers = st.from_regex(r"\+[1-9][0-9]{6,14}", fullmatch=True)
addresses = st.from_regex(r"sip:[a-z0-9._-]{1,12}@[a-z0-9]{1,10}(\.[a-z]{2,8}){0,2}(:[0-9]{1,5})?", fullmatch=True)
TEXTS = [
    ("+4930123456", "+4930123456"),
    (" +49 (30) 123-456 ", "+4930123456"),
    ("sip:desk@pbx.example.com", "sip:desk@pbx.example.com"),
    ("SIPS:desk@pbx.example.com:5061;transport=tls", "SIPS:desk@pbx.example.com:5061;transport=tls"),
    ("sip:pbx.example.com", "sip:pbx.example.com"),
    ("4930123456", None),
    ("+0301234567", None),
    ("+49301", None),
    ("+4930123456789012", None),
    ("sip:desk@pbx.example.com?X-Plan=gold", None),
    ("sip:desk@pbx.example.com\r\nX: y", None),
    ("sip:a@b@c", None),
    ("sip:<desk@pbx.example.com>", None),
    ("tel:+4930123456", None),
    ("Support", None),
    ("+49\u0663\u0660123456", None),
    ("", None),
]


@pytest.mark.parametrize(("text", "destination"), TEXTS)
def test_a_destination_is_a_number_or_a_sip_address(text: str, destination: str | None) -> None:
    assert destination_of(text) == destination


@given(st.text(max_size=80) | numbers | addresses)
def test_whatever_is_found_is_found_again_and_has_nothing_that_ends_a_line_or_a_tag(text: str) -> None:
    found = destination_of(text)

    assert found is None or (destination_of(found) == found and not set(found) & set('\r\n<>"? '))


@pytest.mark.parametrize(
    "entry",
    ["+4930123456", "+4930*", "+*", "sip:desk@pbx.example.com", "sip:*", "sips:*", "sip:a@b.example;*", "sip:h:*"],
)
def test_entries_of_the_list(entry: str) -> None:
    assert is_entry(entry)


@pytest.mark.parametrize(
    "entry",
    [
        "*",
        "",
        "+",
        "4930*",
        "+49*30",
        "+0*",
        "sip:desk*",
        "sip:desk@*",
        "sip:desk@pbx.example.com*",
        "sip:*@pbx.example.com",
        "**",
    ],
)
def test_an_entry_that_would_allow_more_than_it_seems_to_is_none(entry: str) -> None:
    assert not is_entry(entry)


@pytest.mark.parametrize(
    ("destination", "entry"),
    [
        ("+4930123456", "+4930123456"),
        ("+4930123456", "+4930*"),
        ("+4930123456", "+*"),
        ("sip:Desk@PBX.example.com", "sip:desk@pbx.example.com"),
        ("sip:desk@pbx.example.com;transport=tls", "sip:desk@pbx.example.com;*"),
        ("sip:anybody@anywhere.example", "sip:*"),
    ],
)
def test_a_list_allows(destination: str, entry: str) -> None:
    assert allowing(destination, ["+1555*", entry]) == entry


@pytest.mark.parametrize(
    ("destination", "entry"),
    [
        ("+49301234567", "+4930123456"),
        ("+4989123456", "+4930*"),
        ("sip:desk@pbx.example.com.evil.example", "sip:desk@pbx.example.com"),
        ("sip:desk@pbx.example.com", "sip:desk@pbx.example.com;*"),
        ("sips:desk@pbx.example.com", "sip:*"),
        ("sip:+4930123456@evil.example", "+*"),
    ],
)
def test_a_list_does_not_allow(destination: str, entry: str) -> None:
    assert allowing(destination, [entry]) is None


@given(numbers | addresses)
def test_an_empty_list_allows_nobody(destination: str) -> None:
    assert allowing(destination, []) is None


@given(numbers | addresses, numbers | addresses)
def test_an_entry_without_a_star_allows_itself_alone(destination: str, entry: str) -> None:
    assert (allowing(destination, [entry]) is not None) == (destination.lower() == entry.lower())
