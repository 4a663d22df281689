"""The probe's account at a built-in assistant that gives the answers a test sets."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from relay.config import Config
from relay.config_file import load
from relay.net.rest import open_rest_client
from relay.probe.budget import Budget
from relay.probe.finding import Answer
from relay.probe.question import Ask
from relay.probe.vapi_account import VapiAccount
from relay.redaction import Redactor
from relay.standin.assistant import Assistant, Behaviour, open_assistant
from tests.support.daemons import PUBLIC, VAPI_KEY, environment
from tests.support.quick import pulse


@dataclass
class ProbedAssistant:
    """An account, the assistant behind it, and the calls that it could not end."""

    account: VapiAccount
    assistant: Assistant
    redactor: Redactor
    left_running: list[str]

    @property
    def unended(self) -> list[str]:
        """The calls that go on at the assistant."""
        return [call.id for call in self.assistant.calls.values() if call.status != "ended"]

    @property
    def ordered_s(self) -> float:
        """How long all the calls ordered could have lasted."""
        return sum(call.order.max_duration_s for call in self.assistant.calls.values())


def loaded(text: str, **environ: str) -> Config:
    """A configuration file's content, as the daemon reads it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "config.toml")
        path.write_text(text)
        return load(path, environment(**environ))


@asynccontextmanager
async def probed(
    behaviour: Behaviour | None = None, config: str = "", *, max_cost_usd: float = 100.0, timeout_s: float = 5.0
) -> AsyncIterator[ProbedAssistant]:
    """`config`: tables beside [vapi]. `timeout_s`: of each HTTP request."""
    async with pulse(), open_assistant(key=VAPI_KEY, behaviour=behaviour or Behaviour()) as assistant:
        text = f'[server]\npublic_url = "{PUBLIC}"\n[vapi]\nassistant_id = "a"\napi_base = "{assistant.base_url}"\n'
        settings = loaded(text + config)
        redactor, left_running = Redactor(settings.secrets.values()), list[str]()
        async with open_rest_client(timeout_s) as rest:
            account = VapiAccount(
                settings.assistants[0],
                settings,
                rest,
                Budget(max_cost_usd, 0.6),
                redactor=redactor,
                left_running=left_running,
            )
            yield ProbedAssistant(account, assistant, redactor, left_running)


async def answer_to(ask: Ask[VapiAccount], behaviour: Behaviour, config: str = "") -> Answer:
    """What the question finds; every call that it placed is over."""
    async with probed(behaviour, config) as at:
        answer = await ask(at.account)
        assert (at.unended, at.left_running) == ([], [])
        return answer
