"""`relay call` places the call that its arguments describe, prints what came of it, and its status says how it was."""

import json
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trio

from relay.commands import call
from relay.media.frames import TELEPHONE
from relay.scenario.play import Listener, ScenarioResult, StepOutcome
from relay.scenario.screen import ConsoleScreen
from relay.scenario.script import Scenario
from relay.standin.assistant import open_assistant
from relay.standin.phone import Cue, PhoneOptions, PhoneResult
from relay.standin.sound import encode, tone, write_wav
from tests.support.commands import one_line, relay
from tests.support.daemons import AUTH_TOKEN, PUBLIC, RELAY, VAPI_KEY, environment, running_daemon, settings
from tests.support.recordings import sine, wav
from tests.support.reference import ROOT

URL = "http://127.0.0.1:9"
GOOD = PhoneResult(
    call_sid="CA1",
    end="caller_hangup",
    duration_s=3.5,
    steps=["/twilio/voice: Stream"],
    dialled=[],
    streams=1,
    said_ms=3000.0,
    heard_ms=1200.0,
    clears=[],
    marks_returned=4,
    marks_cleared=0,
    underruns=[],
    warnings=[],
)


class Placed:
    """Stands in the place of `place_call`: keeps what it was asked for, and answers with `result`."""

    def __init__(self, result: PhoneResult) -> None:
        self.result = result
        self.asked: dict[str, Any] = {}

    async def __call__(self, url: str, says: list[Cue], **asked: Any) -> PhoneResult:
        self.asked = {"url": url, "says": says, **asked}
        return self.result


@pytest.fixture
def placed(monkeypatch: pytest.MonkeyPatch) -> Placed:
    placed = Placed(GOOD)
    monkeypatch.setattr(call, "place_call", placed)
    return placed


def test_the_call_is_the_one_that_the_arguments_describe(placed: Placed, tmp_path: Path) -> None:
    wav, record = tmp_path / "said.wav", tmp_path / "call.wav"
    write_wav(wav, 16000, tone(440, 0.5))
    done = relay(
        *("call", URL, "--wav", str(wav), "--record", str(record), "--seconds", "7"),
        *("--public-url", "https://relay.example.com"),
    )

    assert done.exit_code == 0
    assert placed.asked == {
        "url": URL,
        "says": [Cue(encode(tone(440, 0.5), 16000, TELEPHONE))],
        "options": PhoneOptions(auth_token=AUTH_TOKEN, public_url="https://relay.example.com"),
        "seconds": 7.0,
        "record": record,
    }


@pytest.mark.parametrize("changes", [{"warnings": ["31951: not JSON"]}, {"streams": 0}, {"end": "rejected"}])
def test_a_call_that_did_not_go_well_is_status_1(placed: Placed, changes: dict[str, Any]) -> None:
    placed.result = PhoneResult(**{**{name: getattr(GOOD, name) for name in GOOD.__slots__}, **changes})
    done = relay("call", URL, "--json")

    assert done.exit_code == 1
    assert json.loads(done.stdout) == placed.result.as_json()


@pytest.mark.usefixtures("placed")
def test_a_person_gets_a_line_for_each_figure_that_there_is() -> None:
    done = relay("call", URL)

    assert (done.exit_code, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[:3] == ["ok: True", "call_sid: CA1", "end: caller_hangup"]
    assert "heard_ms: 1200.0" in lines
    assert not any(line.startswith(("clears", "warnings")) for line in lines)


def test_a_call_to_nobody_is_a_failure_that_was_found() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    done = relay("call", f"http://127.0.0.1:{port}", "--json")

    assert done.exit_code == 1
    assert json.loads(done.stdout)["end"] == "webhook_failed"


@pytest.mark.parametrize("url", ["nowhere", "ftp://127.0.0.1", "http://", "http://127.0.0.1:99999", "wss://127.0.0.1"])
def test_a_call_to_what_is_no_address_is_wrong_use(url: str) -> None:
    done = relay("call", url)

    assert done.exit_code == 2
    assert "URL" in one_line(done)


@pytest.mark.parametrize(
    "command",
    [["call", URL, "--wav"], ["assistant", "--port", "0", "--script", "file", "--audio"]],
    ids=lambda it: it[0],
)
@pytest.mark.parametrize("content", [b"no audio", wav(np.zeros(0), 8000), wav(sine(8000), 8000)[:999]])
def test_a_recording_that_is_none_is_wrong_use(tmp_path: Path, command: list[str], content: bytes) -> None:
    path = tmp_path / "x.wav"
    path.write_bytes(content)
    done = relay(*command, str(path))

    assert done.exit_code == 2
    assert f"{command[-1]}: {path}: " in one_line(done)


@pytest.mark.parametrize("given", [("--account", "AC" + "7" * 32), ()], ids=["option", "environment"])
def test_the_call_is_of_the_account_that_is_named(placed: Placed, given: tuple[str, ...]) -> None:
    """Or a relay that serves only some accounts would refuse it."""
    relay("call", URL, *given, **({} if given else {"TWILIO_ACCOUNT_SID": "AC" + "7" * 32}))

    assert placed.asked["options"].account_sid == "AC" + "7" * 32


def test_without_a_name_the_call_is_of_an_account_of_its_own(placed: Placed) -> None:
    relay("call", URL)

    assert placed.asked["options"].account_sid == PhoneOptions().account_sid


OUTCOMES = [StepOutcome(0, "dial", passed=True, measured_ms=230.0), StepOutcome(2, "say stop", passed=True)]
BROKEN = [*OUTCOMES, StepOutcome(3, "expect silence within 400 ms", passed=False, measured_ms=700.0, why="too late")]


class Played:
    """Stands in the place of `play_scenario`: keeps what it was asked for, tells of `outcomes`, and answers."""

    def __init__(self) -> None:
        self.outcomes = OUTCOMES
        self.call = GOOD
        self.asked: dict[str, Any] = {}

    async def __call__(self, url: str, scenario: Scenario, listener: Listener, **asked: Any) -> ScenarioResult:
        self.asked = {"url": url, "scenario": scenario, **asked}
        for outcome in self.outcomes:
            listener.begin(outcome.line, outcome.text)
            listener.end(outcome)
        return ScenarioResult(self.outcomes, self.call)


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> Played:
    played = Played()
    monkeypatch.setattr(call, "play_scenario", played)
    return played


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "stop.scenario"
    path.write_text("# The caller says stop.\nsay stop\n")
    return path


def test_a_scenario_is_played_with_the_same_options_as_a_call(played: Played, script: Path, tmp_path: Path) -> None:
    record = tmp_path / "call.wav"
    done = relay("call", URL, "--scenario", str(script), "--record", str(record), "--seconds", "7")

    assert done.exit_code == 0
    assert [line.text for line in played.asked.pop("scenario").lines] == ["say stop"]
    assert played.asked == {
        "url": URL,
        "options": PhoneOptions(auth_token=AUTH_TOKEN),
        "seconds": 7.0,
        "record": record,
    }


@pytest.mark.parametrize("more", [(), ("--scenario", "stop.scenario")])
def test_a_recording_that_cannot_be_written_is_wrong_use_before_the_call(
    more: tuple[str, ...], placed: Placed, played: Played, script: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(script.parent)
    done = relay("call", URL, "--record", "missing/call.wav", *more)

    assert done.exit_code == 2
    assert one_line(done) == "relay: --record missing/call.wav: cannot be written: No such file or directory\n"
    assert (placed.asked, played.asked) == ({}, {})


def test_a_person_gets_the_title_a_line_for_each_step_and_the_verdict(played: Played, script: Path) -> None:
    played.outcomes = BROKEN
    done = relay("call", URL, "--scenario", str(script))

    assert done.exit_code == 1
    assert done.stdout.splitlines()[:2] == [str(script), "The caller says stop."]
    assert "expect silence within 400 ms" in done.stdout
    assert done.stdout.splitlines()[-1] == "Failed: 1 of 3 steps."


def test_a_program_gets_one_object_with_each_step_and_the_call(played: Played, script: Path) -> None:
    played.outcomes = BROKEN
    done = relay("call", URL, "--scenario", str(script), "--json")
    told = json.loads(done.stdout)

    assert done.exit_code == 1
    assert (told["scenario"], told["ok"], told["call"]) == (str(script), False, GOOD.as_json())
    assert told["steps"][-1] == {
        "line": 3,
        "step": "expect silence within 400 ms",
        "ok": False,
        "measured_ms": 700.0,
        "why": "too late",
    }


def test_a_scenario_fails_with_its_call_though_every_step_passed(played: Played, script: Path) -> None:
    played.call = PhoneResult(**{name: getattr(GOOD, name) for name in GOOD.__slots__} | {"warnings": ["31951: x"]})
    done = relay("call", URL, "--scenario", str(script))

    assert done.exit_code == 1
    assert done.stdout.splitlines()[-1] == "Failed: the call ended with caller_hangup; 31951: x"


def test_a_scenario_that_is_broken_off_leaves_no_step_on_the_screen(
    monkeypatch: pytest.MonkeyPatch, script: Path
) -> None:
    closed: list[bool] = []

    async def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(call, "play_scenario", interrupted)
    monkeypatch.setattr(ConsoleScreen, "close", lambda screen: closed.append(True))
    done = relay("call", URL, "--scenario", str(script))

    assert done.exit_code == 1
    assert closed == [True]


def test_a_scenario_that_is_wrong_is_wrong_use_and_no_call_is_placed(played: Played, script: Path) -> None:
    script.write_text("say stop\nsya stop\n")
    done = relay("call", URL, "--scenario", str(script))

    assert done.exit_code == 2
    assert f'--scenario: {script}: line 2: "sya" is no step; did you mean "say"?' in one_line(done)
    assert played.asked == {}


async def test_a_scenario_is_played_against_a_real_relay() -> None:
    async with (
        open_assistant(key=VAPI_KEY) as assistant,
        running_daemon(settings(assistant.base_url)) as daemon,
    ):
        script = ROOT / "scenarios" / "hang-up.scenario"
        command = [*RELAY, "call", daemon.url, "--public-url", PUBLIC, "--scenario", str(script), "--json"]
        done = await trio.run_process(command, capture_stdout=True, check=False, env=environment())
        (placed,) = assistant.calls.values()
    told = json.loads(done.stdout)

    assert (done.returncode, told["ok"]) == (0, True), told
    assert [step["step"] for step in told["steps"]] == ["dial", "expect speech for 1 s within 5 s", "hang up"]
    assert placed.ended_reason == "customer-ended-call"
