"""The commands for real accounts pass on what is to be asked, and what that may cost."""

from pathlib import Path
from typing import Any

import pytest

from relay.commands import probe
from relay.commands.probe import Spending, TwilioTarget
from tests.support.commands import relay


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The arguments of the command's work, which is not done."""
    seen: list[Any] = []

    def take(*arguments: Any, as_json: bool) -> int:
        seen.extend([*arguments, as_json])
        return 0

    monkeypatch.setattr(probe, "probe_vapi", take)
    monkeypatch.setattr(probe, "probe_twilio", take)
    return seen


def test_nothing_is_agreed_to_and_two_dollars_are_the_limit_unless_somebody_says_so(asked: list[Any]) -> None:
    assert relay("probe", "vapi").exit_code == 0
    assert asked == [Path("config.toml"), None, Spending(2.0, 0.3, agreed=False), False]


def test_the_account_comes_from_the_environment_and_no_call_is_placed_unasked(asked: list[Any]) -> None:
    assert relay("probe", "twilio", "--yes", "--max-cost", "0.5", "--json", TWILIO_ACCOUNT_SID="AC1").exit_code == 0
    assert asked == [Path("config.toml"), TwilioTarget("AC1", "", "", ""), Spending(0.5, 0.3, agreed=True), True]


@pytest.mark.parametrize("option", ["--max-cost", "--price"])
def test_a_cost_below_nothing_is_wrong_use(option: str, asked: list[Any]) -> None:
    assert relay("probe", "vapi", option, "-1").exit_code == 2
    assert asked == []
