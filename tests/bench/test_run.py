"""A run of the benchmark: one short one of the whole, with a real daemon and real sockets, and what becomes of it."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from relay.bench import run
from relay.bench.errors import BenchFailed
from relay.bench.load import DelayResult, LoadResult, LoadSpec
from relay.bench.relay_process import RelayProcess


@pytest.fixture(scope="module")
def printed() -> dict[str, object]:
    command = [sys.executable, "-m", "relay", "bench", "--calls", "2", "--seconds", "5", "--audio", "mulaw", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode in (0, 1), done.stderr
    values: dict[str, object] = json.loads(done.stdout)
    return values


def test_json_has_the_promised_fields(printed: dict[str, object]) -> None:
    promised = {
        "calls": int,
        "seconds": float,
        "cpu_ms_per_call_second": float,
        "frames_lost": int,
        "rss_mb": float,
        "rss_mb_per_call": float,
    }
    for name, kind in promised.items():
        assert isinstance(printed[name], kind), name
    assert printed["loop_lag_ms"].keys() == {"p99"}  # type: ignore[attr-defined]
    assert printed["bargein_ms"].keys() == {"p50", "p95"}  # type: ignore[attr-defined]
    assert "limit_calls" not in printed


def test_it_measured_audio_in_both_directions_and_lost_no_call(printed: dict[str, object]) -> None:
    delays = printed["added_delay_ms"]
    assert isinstance(delays, dict)
    for way in ("up", "down"):
        assert delays[way].keys() == {"p50", "p99"}
        assert delays[way]["p50"] is not None
    assert printed["calls_lost"] == 0
    assert printed["resampler_ms"] == {"up": 0.0, "down": 0.0}, "mu-law passes through"


UP = DelayResult({"p50": 1.0, "p99": 2.0}, {"p50": 1.0, "p99": 2.0}, 0.5, 100, 1)
DOWN = DelayResult({"p50": 3.0, "p99": 4.0}, {"p50": 103.0, "p99": 104.0}, 1.5, 200, 2)
LOAD = LoadResult(
    cpu_s=1.0,
    wall_s=5.0,
    rss_mb=120.04,
    rss_before_mb=100.0,
    up=UP,
    down=DOWN,
    bargein_ms={"p50": 150.0, "p95": 180.0},
    bargeins=3,
    bargeins_missed=1,
    loop_lag_p99_ms=1.25,
    vad_delay_ms={"p50": 1.0, "p99": None},
    dropped={'cause="overflow"': 4.0, 'cause="stale"': 30.0},
    invented={'cause="gap"': 2.0},
    calls_lost=1,
    load_late_p99_ms=0.12345,
    load_late=2,
    load_cpu_percent=33.33,
    taken=4,
    refused=17,
)
FLUSHED: list[Mapping[str, Any]] = [
    {"event": "bargein.flushed", "by": "caller", "onset_to_clear_ms": 100.0, "decide_to_clear_ms": 0.5},
    {"event": "bargein.flushed", "by": "caller", "onset_to_clear_ms": 200.0, "decide_to_clear_ms": 0.7},
    {"event": "bargein.flushed", "by": "assistant", "onset_to_clear_ms": 900.0, "decide_to_clear_ms": 90.0},
    {"event": "call.started", "by": "caller"},
    {"event": "echo.found", "loss_db": 15.0},
    {"event": "record.kept", "file": "call.relay"},
]


class QuietRelay(RelayProcess):
    """One that was never started, with these lines in its log."""

    def lines(self) -> Iterator[Mapping[str, Any]]:
        return iter(FLUSHED)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Puts a load with that result in the place of the real one."""

    @contextmanager
    def relay_to_load(
        calls: int, seconds: float, audio: str, *, max_calls: int | None, record_mode: str
    ) -> Iterator[tuple[RelayProcess, LoadSpec]]:
        assert max_calls == (calls + 1 if calls else None)
        yield QuietRelay(1, 2, tmp_path), LoadSpec(calls, seconds, audio, 2, 1, 3, 200, 100)

    monkeypatch.setattr(run, "relay_to_load", relay_to_load)
    monkeypatch.setattr(run, "run_load", lambda *_: LOAD)


@pytest.mark.usefixtures("measured")
def test_costs_are_per_call() -> None:
    result = run.run_bench(4, 5.0, "pcm")

    assert (result.calls, result.seconds, result.audio) == (4, 5.0, "pcm")
    assert result.cpu_ms_per_call_second == 50.0
    assert (result.rss_mb, result.rss_mb_per_call) == (120.0, 5.01)
    assert result.load == {
        "late_p99_ms": 0.123,
        "late_over_5_ms": 2,
        "cpu_percent": 33.3,
        "frames_scored": 300,
    }


@pytest.mark.usefixtures("measured")
def test_only_with_an_echo_it_says_how_many_were_found() -> None:
    result = run.run_bench(4, 5.0, "pcm", 15.0)

    assert (result.echo_loss_db, result.echoes_found) == (15.0, 1)
    assert run.run_bench(4, 5.0, "pcm").echoes_found is None


@pytest.mark.usefixtures("measured")
def test_only_where_calls_are_recorded_it_says_how_many_were() -> None:
    assert run.run_bench(4, 5.0, "pcm", None, "all").recorded == 1
    assert run.run_bench(4, 5.0, "pcm").recorded is None


@pytest.mark.usefixtures("measured")
def test_where_callers_ring_without_end_those_that_were_taken_count() -> None:
    result = run.run_bench(1, 5.0, "pcm", ringing=True)

    assert (result.calls, result.refused) == (4, 17)
    assert run.run_bench(4, 5.0, "pcm").refused is None


@pytest.mark.usefixtures("measured")
def test_frames_that_an_interruption_made_stale_are_not_lost() -> None:
    result = run.run_bench(4, 5.0, "pcm")

    assert result.frames_lost == 1 + 2 + 4
    assert result.frames_dropped == LOAD.dropped
    assert (result.calls_lost, result.bargeins_missed) == (1, 1)


@pytest.mark.usefixtures("measured")
def test_the_relays_own_figures_are_of_the_interruptions_by_callers() -> None:
    result = run.run_bench(4, 5.0, "pcm")

    assert result.onset_to_clear_ms == {"p50": 150.0, "p95": 195.0}
    assert result.decide_to_clear_ms == {"p50": 0.6, "p99": 0.698}


@contextmanager
def loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> Iterator[tuple[RelayProcess, LoadSpec]]:
    """A relay with a log, and what its load is told; the load is a module with this code."""
    (tmp_path / "small_load.py").write_text(code)
    (tmp_path / "relay.log").write_text("the last words of the relay")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        spec = LoadSpec(1, 0.1, "pcm", 2, os.getpid(), listener.fileno(), 200, 100)
        yield RelayProcess(os.getpid(), 2, tmp_path / "relay.log"), spec


def test_the_load_is_given_its_task_and_the_assistants_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = """
import json, os, socket, sys
spec = json.loads(sys.argv[1])
print(json.dumps({"calls": spec["calls"], "port": socket.socket(fileno=spec["listener_fd"]).getsockname()[1]}))
"""
    with loaded(tmp_path, monkeypatch, code) as (relay, spec):
        printed = run.run_load("small_load", spec, relay, dict[str, int])
        with socket.socket(fileno=os.dup(spec.listener_fd)) as listener:
            port = listener.getsockname()[1]

    assert printed == {"calls": 1, "port": port}


def test_a_load_that_fails_is_quoted_with_the_last_words_of_the_relay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "import sys; sys.exit('load: nobody answered')"
    with loaded(tmp_path, monkeypatch, code) as (relay, spec), pytest.raises(BenchFailed) as failed:
        run.run_load("small_load", spec, relay, dict[str, int])

    assert str(failed.value) == "load: nobody answered\n\nThe relay's log ends with:\nthe last words of the relay"


def test_a_load_without_an_end_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "TIMEOUT_S", 0.0)
    monkeypatch.setattr(run, "PER_CALL_TIMEOUT_S", 0.0)
    failed = pytest.raises(BenchFailed, match="did not come to an end")
    with loaded(tmp_path, monkeypatch, "import time; time.sleep(600)") as (relay, spec), failed:
        run.run_load("small_load", spec, relay, dict[str, int])
