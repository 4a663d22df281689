"""The addresses that callers are sent to, as the configuration names them."""

from pathlib import Path

import pytest

from tests.test_config_file import loaded, refusal

OVERFLOW = '[server]\npublic_url = "https://relay.example.com"\n[limits]\noverflow_url = "{}"\n'


@pytest.mark.parametrize(
    "url",
    [
        "http://spare.example.com/twiml",
        "spare.example.com",
        "https://user:password@spare.example.com/",
        "https://spare.example.com/#x",
        "https://spare.example.com/a b",
        "https://spare.example.com:99999/",
        "https://relay.example.com/twilio/voice",
        "https://RELAY.example.com:443/other",
        "https://relay.example.com./twilio/voice",
    ],
)
def test_a_full_house_sends_callers_neither_to_an_address_of_no_use_nor_to_itself(tmp_path: Path, url: str) -> None:
    assert refusal(tmp_path, OVERFLOW.format(url)).startswith("limits.overflow_url = ")


@pytest.mark.parametrize(
    "url", ["https://spare.example.com/twilio/voice?x=1", "https://relay.example.com:8443/", "http://localhost:1/"]
)
def test_a_full_house_may_send_callers_to_any_other_server(tmp_path: Path, url: str) -> None:
    assert loaded(tmp_path, OVERFLOW.format(url)).limits.overflow_url == url


def test_the_list_of_transfers_is_checked_entry_by_entry(tmp_path: Path) -> None:
    good = '"+4930123456", "+49*", "sip:desk@pbx.example.com"'

    assert loaded(tmp_path, f"[transfer]\nallow = [{good}]").transfer.allow[1] == "+49*"
    assert refusal(tmp_path, f'[transfer]\nallow = [{good}, "sip:desk@*"]').startswith("transfer.allow = ")
