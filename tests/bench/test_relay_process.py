"""The relay under test is configured as was asked for, answers while the context is open, and is gone after it."""

import os
import signal
import urllib.request
from pathlib import Path

import pytest

from relay.bench import relay_process
from relay.bench.errors import BenchFailed
from relay.bench.relay_process import AUTH_TOKEN, LEAD_MS, TARGET_MS, RelayProcess, run_relay, tail
from relay.config_file import load


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.parametrize(("audio", "encoding", "rate_hz"), [("pcm", "pcm_s16le", 16000), ("mulaw", "mulaw", 8000)])
def test_it_answers_while_the_context_is_open_and_is_gone_after_it(
    audio: str, encoding: str, rate_hz: int, tmp_path: Path
) -> None:
    with run_relay(tmp_path, 8090, audio, 7, None) as relay:
        with urllib.request.urlopen(f"http://127.0.0.1:{relay.port}/health") as answer:
            assert answer.status == 200
        first = next(relay.lines())
        config = load(tmp_path / "config.toml", {"VAPI_API_KEY": "bench", "TWILIO_AUTH_TOKEN": AUTH_TOKEN})

    assert first["event"] == "daemon.ready"
    assert [line["event"] for line in relay.lines()][-1] == "daemon.stopped"
    assert is_gone(relay.pid)
    (assistant,) = config.assistants
    assert (assistant.audio_format, assistant.sample_rate_hz) == (encoding, rate_hz)
    assert assistant.api_base == "http://127.0.0.1:8090"
    assert config.limits.max_calls == 7
    assert config.record.mode == "off"
    assert (config.jitter.target_ms, config.jitter.lead_ms) == (TARGET_MS, LEAD_MS)


def test_one_that_does_not_start_fails_with_the_end_of_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_process, "_CONFIG", "[server]\nbogus = 1\n")

    with pytest.raises(BenchFailed, match=r"the relay did not start:\n.*bogus"), run_relay(tmp_path, 9, "pcm", 1, None):
        raise AssertionError("it started")


def test_one_that_does_not_end_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_process, "STOP_TIMEOUT_S", 0.1)
    with run_relay(tmp_path, 9, "pcm", 1, None) as relay:
        os.kill(relay.pid, signal.SIGSTOP)

    assert is_gone(relay.pid)


def test_of_the_log_only_json_objects_are_lines(tmp_path: Path) -> None:
    log = tmp_path / "relay.log"
    log.write_text('{"event": "one"}\nTraceback\n[1]\n{"event": "two"}\n{"event": "thr')

    assert [line["event"] for line in RelayProcess(1, 2, log).lines()] == ["one", "two"]


def test_of_a_long_log_the_end_is_quoted(tmp_path: Path) -> None:
    log = tmp_path / "relay.log"
    log.write_text("x" * 5000 + "\nthe end")

    assert len(tail(log)) == 1500
    assert tail(log).endswith("the end")
