"""One short run of the whole: real daemon, real sockets."""

import json
import subprocess
import sys

import pytest


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
