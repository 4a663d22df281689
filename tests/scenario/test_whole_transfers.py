"""Assistants that leave, against the whole relay over real sockets: who is dialled, and what comes then.

The calls of a relay run at once, on a quick clock.
"""

from dataclasses import replace
from pathlib import Path

import pytest
import trio

from relay.scenario.play import ScenarioResult
from relay.standin.assistant import Behaviour
from relay.standin.assistant.acts import Act
from tests.support.quick import quick_clock
from tests.support.scenarios import ALLOWED, NUMBER, OPTIONS, SCENARIOS, play, quick_relay

TRANSFER = (SCENARIOS / "transfer.scenario").read_text()
BEGIN = "expect answer within 5 s\nexpect silence for 1 s within 10 s\nsay request\n"
BACK = f"{BEGIN}expect transfer to {NUMBER} within 10 s\nexpect speech for 100 ms within 10 s\nhang up"
END = f"{BEGIN}expect end within 8 s"
OTHERS = f"{BEGIN}expect transfer to {NUMBER}1 within 10 s"


def played(folder: Path, act: Act, *calls: tuple[str, str]) -> list[ScenarioResult]:
    """The result of each call: a script, and what comes of a `<Dial>`."""
    results: dict[str, ScenarioResult] = {}

    async def have(monkeypatch: pytest.MonkeyPatch) -> None:
        async def call(script: str, dial_status: str) -> None:
            results[script] = await play(url, script, replace(OPTIONS, dial_status=dial_status))

        behaviour = Behaviour(acts=(act,))
        async with quick_relay(behaviour, folder, monkeypatch, ALLOWED) as (url, _), trio.open_nursery() as nursery:
            for one in calls:
                nursery.start_soon(call, *one)

    with pytest.MonkeyPatch.context() as monkeypatch:
        trio.run(have, monkeypatch, clock=quick_clock())
    return [results[script] for script, _ in calls]


def broken(result: ScenarioResult) -> list[tuple[str, str]]:
    return [(outcome.text, outcome.why) for outcome in result.outcomes if not outcome.passed]


def test_a_caller_is_connected_or_is_back_with_the_assistant(tmp_path: Path) -> None:
    asked = ((TRANSFER, "completed"), (BACK, "no-answer"), (OTHERS, "completed"))
    connected, back, others = played(tmp_path, Act("dial", NUMBER), *asked)

    assert broken(connected) == []
    assert connected.ok
    assert (connected.call.dialled, connected.call.end) == ([NUMBER], "twiml_hangup")
    assert [step for step in connected.call.steps if "/twilio/" in step] == [
        "/twilio/voice: Stream, Redirect",
        "/twilio/resume: DialVerb",
        "/twilio/dialed: Hangup",
    ]
    assert broken(back) == []
    assert (back.call.dialled, back.call.end, back.call.streams) == ([NUMBER], "caller_hangup", 2)
    assert broken(others) == [(f"expect transfer to {NUMBER}1 within 10 s", f"connected to {NUMBER}")]


def test_an_assistant_that_hangs_up_ends_the_call(tmp_path: Path) -> None:
    (result,) = played(tmp_path, Act("hang_up"), (END, "completed"))

    assert broken(result) == []
    assert (result.call.dialled, result.call.end) == ([], "twiml_hangup")
