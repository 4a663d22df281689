"""A process whose clock is hours wrong is killed in a call, and the next one, whose clock is right, goes on with it."""

from pathlib import Path

import httpx
import pytest

from relay.standin.assistant import open_assistant
from tests.support.daemons import AUTH_TOKEN, PUBLIC, VAPI_KEY, Daemon, environment, running_daemon, settings
from tests.support.frontrig import ringing, signature

WRONG_CLOCK = """
import time
right = time.time
time.time = lambda: right() + {hours} * 3600
"""


async def ask(daemon: Daemon, target: str) -> str:
    form = ringing()
    signed = {"X-Twilio-Signature": signature(PUBLIC + target, form, AUTH_TOKEN)}
    async with httpx.AsyncClient(trust_env=False, timeout=20) as client:
        answer = await client.post(daemon.url + target, data=form, headers=signed)
    assert answer.status_code == 200
    return answer.text


@pytest.mark.parametrize("hours", [-5, 5])
async def test_a_call_outlives_a_process_whose_clock_is_hours_wrong(hours: int, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(WRONG_CLOCK.format(hours=hours))
    wrong = environment(PYTHONPATH=str(tmp_path))
    async with open_assistant(key=VAPI_KEY) as assistant:
        text = settings(assistant.base_url, state=f"sqlite:{tmp_path}/relay.db")
        async with running_daemon(text, wrong) as first:
            assert "<Connect>" in await ask(first, "/twilio/voice")
        async with running_daemon(text) as second:
            assert "<Connect>" in await ask(second, "/twilio/resume")
            (taken,) = second.events_of("call.taken_over")

    assert 0 <= taken["age_s"] < 60
