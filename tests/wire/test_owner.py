"""The process that has a call is in the addresses and names of the call, and nothing else is taken for one."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.wire.owner import OWNED_PATHS, owned_name, owned_path, owner_of, split_path

INSTANCES = st.text(string.ascii_letters + string.digits, max_size=16)
NAMES = st.text("abcdefXYZ0189_-", min_size=1)


@given(st.sampled_from(OWNED_PATHS), INSTANCES)
def test_an_address_is_read_as_it_was_written(path: str, instance: str) -> None:
    assert split_path(owned_path(path, instance)) == (path, instance)


@given(NAMES, INSTANCES)
def test_a_name_is_read_as_it_was_written(name: str, instance: str) -> None:
    assert owner_of(owned_name(name, instance)) == instance


def test_the_only_process_has_the_addresses_and_names_of_always() -> None:
    assert [owned_path(path, "") for path in OWNED_PATHS] == list(OWNED_PATHS)
    assert owned_name("abc", "") == "abc"


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/twilio/voice",
        "/twilio/voice/1",
        "/twilio/media/1/2",
        "/client/1.a/audio",
        "/twilio",
        "",
        "/twilio/media/",
        "/calls/1.a",
    ],
)
def test_other_addresses_have_no_process(path: str) -> None:
    assert split_path(path) == (path, "")
