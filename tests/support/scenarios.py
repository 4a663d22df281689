"""Scenarios in one event loop: the whole relay, the built-in assistant and the telephone, over real sockets, on a quick
clock. Only the worker threads are left out, which such a clock would not wait for."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from relay.call.caller.vad_engine import VadEngine
from relay.config_file import load
from relay.daemon import daemon
from relay.metrics import Metrics
from relay.redaction import Redactor
from relay.scenario.judge import Judgement
from relay.scenario.play import ScenarioResult, StepOutcome, play_scenario
from relay.scenario.script import parse_scenario
from relay.standin.assistant import Assistant, Behaviour, open_assistant
from relay.standin.phone import PhoneOptions
from tests.support.callrig import run_inline
from tests.support.daemons import AUTH_TOKEN, PUBLIC, VAPI_KEY, environment, settings
from tests.support.quick import pulse

NUMBER = "+4930123456"
ALLOWED = f'[transfer]\nallow = ["{NUMBER}"]\n'
"""Behind a configuration: the assistant may connect callers to this number."""
SCENARIOS = Path(__file__).resolve().parent.parent.parent / "scenarios"
OPTIONS = PhoneOptions(auth_token=AUTH_TOKEN, public_url=PUBLIC)


@dataclass
class Told:
    """A listener that keeps what it is told."""

    begun: list[str] = field(default_factory=list)
    outcomes: list[StepOutcome] = field(default_factory=list)

    def begin(self, line: int, text: str) -> None:
        self.begun.append(text)

    def end(self, outcome: StepOutcome) -> None:
        self.outcomes.append(outcome)


async def judge_inline(function: Callable[[], Judgement | None]) -> Judgement | None:
    await trio.lowlevel.checkpoint()
    return function()


async def play(url: str, script: str, options: PhoneOptions = OPTIONS, **more: Any) -> ScenarioResult:
    """A script, whose recordings are looked for among the scenarios of the repository."""
    scenario = parse_scenario(script, SCENARIOS / "script")
    return await play_scenario(url, scenario, Told(), options=options, judging=judge_inline, **more)


@asynccontextmanager
async def quick_relay(
    behaviour: Behaviour, folder: Path, monkeypatch: pytest.MonkeyPatch, more_settings: str = ""
) -> AsyncIterator[tuple[str, Assistant]]:
    """A relay with everything but its process; its address, and the assistant behind it."""
    monkeypatch.setattr(daemon, "VadEngine", partial(VadEngine, executor=run_inline))
    file = folder / "config.toml"
    async with pulse(), open_assistant(key=VAPI_KEY, behaviour=behaviour) as assistant:
        file.write_text(settings(assistant.base_url) + more_settings)
        async with daemon.open_relay(load(file, environment()), Metrics(), Redactor()) as relay:
            yield relay.url, assistant
