"""`relay assistant` serves with the key it was given, and ends on a signal."""

import signal
import socket
import subprocess

import httpx
import pytest

from relay.standin.assistant import Behaviour
from tests.support.commands import one_line, relay
from tests.support.daemons import RELAY, VAPI_KEY, environment


def test_a_taken_port_is_wrong_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = relay("assistant", "--port", str(taken.getsockname()[1]))

    assert done.exit_code == 2
    assert "--port" in one_line(done)


@pytest.mark.parametrize(("option", "status"), [([], 201), (["--strict"], 400)])
def test_strict_it_refuses_what_the_present_schema_does_not_have(option: list[str], status: int) -> None:
    command = [*RELAY, "assistant", "--port", "0", *option]
    order = {
        "assistantId": "a",
        "assistantOverrides": {"silenceTimeoutSeconds": 30},
        "transport": {"provider": "vapi.websocket"},
    }
    with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        url = run.stdout.readline().removeprefix("assistant at ").partition(" ")[0]
        headers = {"Authorization": f"Bearer {VAPI_KEY}"}
        with httpx.Client(base_url=url, headers=headers, trust_env=False) as client:
            answer = client.post("/call", json=order)
        run.send_signal(signal.SIGINT)

    assert answer.status_code == status


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_says_where_it_serves_and_does_so_until_a_signal(number: signal.Signals) -> None:
    command = [*RELAY, "assistant", "--port", "0", "--script", "tone"]
    with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        first = run.stdout.readline()
        url = first.removeprefix("assistant at ").partition(" ")[0]
        with httpx.Client(base_url=url, trust_env=False) as client:
            answers = [
                client.get("/call/none", headers={"Authorization": f"Bearer {key}"}).status_code
                for key in (VAPI_KEY, "another")
            ]
        run.send_signal(number)
        _, errors = run.communicate(timeout=60)

    assert first == f"assistant at {url} (vapi.api_base), script tone; Ctrl-C ends it\n"
    assert answers == [404, 401]
    assert (run.returncode, errors) == (0, "")


@pytest.mark.parametrize(("option", "ms"), [((), 300), (("--detect-after", "700"), 700)])
def test_how_long_a_caller_speaks_before_it_interrupts_can_be_set(
    monkeypatch: pytest.MonkeyPatch, option: tuple[str, ...], ms: float
) -> None:
    opened: list[Behaviour] = []

    def taken(*, behaviour: Behaviour, **_: object) -> None:
        opened.append(behaviour)
        raise OSError(0, "the test ends here")

    monkeypatch.setattr("relay.commands.assistant.open_assistant", taken)
    relay("assistant", *option)

    assert [behaviour.detect_after_ms for behaviour in opened] == [ms]
