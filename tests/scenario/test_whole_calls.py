"""The scenarios of the repository against the whole relay and the built-in assistant, all at once on a quick clock."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio

from relay.scenario.play import ScenarioResult, StepOutcome
from relay.standin.assistant import AssistantCall, Behaviour
from tests.support.quick import quick_clock
from tests.support.scenarios import SCENARIOS, play, quick_relay

PATIENT = Behaviour(detect_after_ms=700)
"""As the scenarios want it: a cough or an "uh-huh" is too short to interrupt this assistant."""
NAMES = sorted(file.stem for file in SCENARIOS.glob("*.scenario") if file.stem != "transfer")
"""A transfer takes another assistant: see test_whole_transfers."""
NOT_INTERRUPTED = "[barge_in]\nenabled = false\n"
NOT_ATTACHED_AGAIN = "[reconnect]\nreattach_attempts = 0\n"


@dataclass
class Played:
    """What came of the scenarios, and what the assistant had of them."""

    results: dict[str, ScenarioResult] = field(default_factory=dict)
    calls: list[AssistantCall] = field(default_factory=list)

    def broken(self, name: str) -> list[StepOutcome]:
        return [outcome for outcome in self.results[name].outcomes if not outcome.passed]


async def play_all(names: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch, more_settings: str) -> Played:
    """All at a time, on one relay; over when the assistant's calls are, too."""
    played = Played()

    async def play_one(name: str) -> None:
        played.results[name] = await play(url, (SCENARIOS / f"{name}.scenario").read_text())

    async with quick_relay(PATIENT, folder, monkeypatch, more_settings) as (url, assistant):
        async with trio.open_nursery() as nursery:
            for name in names:
                nursery.start_soon(play_one, name)
        played.calls = list(assistant.calls.values())
        with trio.fail_after(10):
            while any(call.status != "ended" for call in played.calls):  # noqa: ASYNC110 - there is no event for this
                await trio.sleep(0.1)
    return played


def played_on(names: list[str], folder: Path, more_settings: str = "") -> Played:
    with pytest.MonkeyPatch.context() as monkeypatch:
        return trio.run(play_all, names, folder, monkeypatch, more_settings, clock=quick_clock())


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Played:
    return played_on(NAMES, tmp_path_factory.mktemp("relay"))


@pytest.mark.parametrize("name", NAMES)
def test_the_promise_is_kept(played: Played, name: str) -> None:
    assert played.broken(name) == []
    assert played.results[name].ok


def test_each_call_had_one_assistant_which_was_told_of_its_end(played: Played) -> None:
    """Also the one whose caller's socket dropped."""
    assert [call.ended_reason for call in played.calls] == ["customer-ended-call"] * len(NAMES)


@pytest.mark.parametrize(
    ("name", "setting", "step", "why"),
    [
        ("interruption", NOT_INTERRUPTED, "expect silence within 400 ms", "still heard after"),
        ("drop", NOT_ATTACHED_AGAIN, "drop", "the call has ended"),
    ],
)
def test_a_relay_that_does_not_keep_a_promise_fails_its_scenario(
    tmp_path: Path, name: str, setting: str, step: str, why: str
) -> None:
    first, *_ = played_on([name], tmp_path, setting).broken(name)

    assert first.text == step
    assert why in first.why
