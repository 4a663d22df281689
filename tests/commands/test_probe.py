"""`relay probe`: the cost is told and agreed to, nothing is left running, and no secret is shown."""

import json
import signal
import subprocess
from pathlib import Path

import pytest
import trio

from relay.commands import probe
from relay.standin.assistant import Assistant, Behaviour, open_assistant
from relay.standin.assistant.behaviour import as_documented
from relay.standin.http import Request, Response
from relay.standin.phone.rest import open_twilio_rest
from tests.support.commands import one_line, relay
from tests.support.daemons import AUTH_TOKEN, RELAY, VAPI_KEY, environment, settings
from tests.support.twilio_probes import SID

CHEAP = ("--max-cost", "0.05")
"""Only the first question, which costs 10 s, and those that cost nothing."""


def written(folder: Path, assistant_url: str) -> str:
    path = folder / "config.toml"
    path.write_text(settings(assistant_url))
    return str(path)


@pytest.fixture
def config(tmp_path: Path) -> str:
    """Nothing answers there."""
    return written(tmp_path, "http://127.0.0.1:9")


def test_without_a_terminal_the_cost_must_be_agreed_to_beforehand(config: str) -> None:
    done = relay("probe", "vapi", "--config", config)

    assert done.exit_code == 2
    line = one_line(done)
    assert "at most 1.65 USD" in line
    assert "--yes" in line


def test_whoever_says_no_is_charged_nothing(config: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "in_terminal", lambda: True)
    done = relay("probe", "vapi", "--config", config)

    assert done.exit_code == 1
    assert done.stdout == ""
    assert "at most 1.65 USD" in done.stderr
    assert "Place these calls? [y/N]" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--assistant", "nobody", "--yes"), "--assistant nobody: must be one of vapi"),
        (("--config", "nowhere.toml", "--yes"), "nowhere.toml: cannot be read"),
    ],
)
def test_wrong_use_is_told_in_one_line(config: str, arguments: tuple[str, ...], says: str) -> None:
    done = relay("probe", "vapi", "--config", config, *arguments)

    assert done.exit_code == 2
    assert says in one_line(done)


def test_a_service_that_cannot_be_reached_is_a_failure_and_no_traceback(config: str) -> None:
    done = relay("probe", "vapi", "--config", config, "--yes", "--json", *CHEAP)
    told = json.loads(done.stdout)

    assert done.exit_code == 1
    assert "CONNECT_FAILED 127.0.0.1" in told["findings"][0]["found"]
    assert told["findings"][1]["found"] == "not measured: it would cost more than --max-cost allows"


TWILIO = ("--account", SID, "--json")


def test_an_account_must_be_named(config: str) -> None:
    done = relay("probe", "twilio", "--config", config)

    assert done.exit_code == 2
    assert "twilio.account_sids names 0 accounts: give one with --account" in one_line(done)


def test_an_account_without_a_token_cannot_be_asked(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(settings() + "[twilio]\nvalidate_signatures = false\n")
    done = relay("probe", "twilio", "--config", str(path), "--account", SID, TWILIO_AUTH_TOKEN="")

    assert done.exit_code == 2
    assert "TWILIO_AUTH_TOKEN is not set" in one_line(done)


def test_a_call_to_a_number_must_be_agreed_to(config: str) -> None:
    done = relay("probe", "twilio", "--config", config, *TWILIO, "--call", "+15005550009")

    assert done.exit_code == 2
    assert "calls of 60 s in all: at most 0.30 USD" in one_line(done)


@pytest.mark.parametrize("base", ["http://api.example.com", "api.example.com", "https://"])
def test_the_token_is_sent_over_tls_only(config: str, base: str) -> None:
    done = relay("probe", "twilio", "--config", config, *TWILIO, "--api-base", base)

    assert done.exit_code == 2
    assert f"--api-base {base.rstrip('/')}" in one_line(done)


async def test_a_twilio_account_is_looked_at_without_any_cost(tmp_path: Path) -> None:
    async with open_twilio_rest(SID, AUTH_TOKEN) as twilio:
        command = [*RELAY, "probe", "twilio", "--config", written(tmp_path, "http://127.0.0.1:9"), *TWILIO]
        done = await trio.run_process(
            [*command, "--api-base", twilio.base_url], capture_stdout=True, check=False, env=environment()
        )
        told = json.loads(done.stdout)

        assert twilio.calls == {}
    assert done.returncode == 1  # nothing answers at the public address
    assert told["service"] == "twilio"
    assert told["findings"][0]["setting"] == f'twilio.account_sids = ["{SID}"]'
    assert AUTH_TOKEN not in done.stdout.decode()


def test_an_assistant_of_a_list_stays_one_in_what_follows(tmp_path: Path) -> None:
    entry = '[[assistants]]\nname = "{name}"\nassistant_id = "id-{name}"\napi_base = "http://127.0.0.1:9"\n'
    path = tmp_path / "config.toml"
    path.write_text(entry.format(name="main") + entry.format(name="spare"))
    done = relay("probe", "vapi", "--config", str(path), "--assistant", "spare", "--yes", "--json", *CHEAP)

    assert json.loads(done.stdout)["config"] == '[[assistants]]\nassistant_id = "id-spare"\nname = "spare"'


async def probed(assistant: Assistant, folder: Path, *arguments: str) -> tuple[int, str, str]:
    """The command in a process of its own: status, standard output and standard error."""
    command = [*RELAY, "probe", "vapi", "--config", written(folder, assistant.base_url), "--yes", *arguments]
    done = await trio.run_process(
        command, capture_stdout=True, capture_stderr=True, check=False, env=environment(COLUMNS="160")
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.mark.parametrize("form", [(), ("--json",)], ids=["table", "json"])
async def test_what_is_found_is_printed_without_any_secret(tmp_path: Path, form: tuple[str, ...]) -> None:
    async with open_assistant(key=VAPI_KEY) as assistant:
        status, out, err = await probed(assistant, tmp_path, *form, *CHEAP)
        (call,) = assistant.calls.values()

    assert status == 1  # the codes of sockets are not known where no socket was opened
    assert "vapi.send_silence_timeout = true" in out
    assert call.status == "ended"
    assert call.id not in out + err
    assert VAPI_KEY not in out + err
    assert "asking: Is assistantOverrides.silenceTimeoutSeconds accepted?" in err


async def test_a_call_that_could_not_be_ended_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Assistant, "_control", lambda *_: Response(500))
    async with open_assistant(key=VAPI_KEY) as assistant:
        status, _, err = await probed(assistant, tmp_path, *CHEAP)
        (call,) = assistant.calls.values()

    assert status == 1
    assert f"call {call.id} could not be ended" in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_the_call_that_is_under_way(tmp_path: Path, number: signal.Signals) -> None:
    async with open_assistant(key=VAPI_KEY, behaviour=as_documented(Behaviour())) as assistant:
        command = [*RELAY, "probe", "vapi", "--config", written(tmp_path, assistant.base_url), "--yes"]
        process = await trio.lowlevel.open_process(command, env=environment(), stderr=subprocess.DEVNULL)
        with trio.fail_after(60):
            call = await assistant.wait_call()
            await trio.sleep(0.2)
            process.send_signal(number)
            assert await process.wait() == 128 + number

        assert call.status == "ended"
        assert {it.status for it in assistant.calls.values()} == {"ended"}


async def test_a_second_signal_does_not_keep_the_call_from_being_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer, ending = Assistant.answer, trio.Event()

    async def slowly(self: Assistant, request: Request) -> Response:
        if request.target.endswith("/control"):
            ending.set()
            await trio.sleep(1)
        return await answer(self, request)

    monkeypatch.setattr(Assistant, "answer", slowly)
    async with open_assistant(key=VAPI_KEY, behaviour=as_documented(Behaviour())) as assistant:
        command = [*RELAY, "probe", "vapi", "--config", written(tmp_path, assistant.base_url), "--yes"]
        process = await trio.lowlevel.open_process(command, env=environment(), stderr=subprocess.DEVNULL)
        with trio.fail_after(60):
            call = await assistant.wait_call()
            ending = trio.Event()
            process.send_signal(signal.SIGINT)
            await ending.wait()
            process.send_signal(signal.SIGINT)
            assert await process.wait() == 128 + signal.SIGINT

        assert call.status == "ended"
