"""One run: a fresh relay, a load, and what came of it."""

import os
import resource
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from relay.bench.errors import BenchFailed
from relay.bench.load import LoadResult, LoadSpec
from relay.bench.machine import cores, machine
from relay.bench.relay_process import LEAD_MS, TARGET_MS, RelayProcess, run_relay, tail
from relay.bench.result import BenchResult
from relay.bench.scores import percentiles

PER_CALL_TIMEOUT_S = 1.0
"""Of the time that the load may take beyond the seconds it was asked for."""
TIMEOUT_S = 60.0


def run_bench(calls: int, seconds: float, audio: str) -> BenchResult:
    """Measure. `audio` is what the relay and the assistant speak: "mulaw" or "pcm". Raises BenchFailed."""
    relay_core, load_core = cores()
    _allow_sockets()
    with tempfile.TemporaryDirectory(prefix="relay-bench-") as name, socket.create_server(("127.0.0.1", 0)) as listener:
        folder, assistant_port = Path(name), listener.getsockname()[1]
        with run_relay(folder, assistant_port, audio, calls, relay_core) as relay:
            spec = LoadSpec(
                calls=calls,
                seconds=seconds,
                audio=audio,
                relay_port=relay.port,
                relay_pid=relay.pid,
                listener_fd=listener.fileno(),
                target_ms=TARGET_MS,
                lead_ms=LEAD_MS,
            )
            load = _run_load(spec, relay, load_core)
        interruptions = [line for line in relay.lines() if line.get("event") == "bargein.flushed"]
    return _result(spec, load, interruptions)


def _allow_sockets() -> None:
    """As many open files as this user may have, for the relay and the load, which inherit it: two sockets a call."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _run_load(spec: LoadSpec, relay: RelayProcess, core: int | None) -> LoadResult:
    command = [sys.executable, "-m", "relay.bench.load", msgspec.json.encode(spec).decode()]
    with subprocess.Popen(  # noqa: S603 - our own
        command, pass_fds=[spec.listener_fd], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        if core is not None:
            os.sched_setaffinity(process.pid, {core})
        try:
            out, err = process.communicate(timeout=spec.seconds + spec.calls * PER_CALL_TIMEOUT_S + TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            raise BenchFailed("the load did not come to an end") from None
    if process.returncode != 0:
        raise BenchFailed(f"{err.decode(errors='replace')[-1500:]}\nThe relay's log ends with:\n{tail(relay.log)}")
    return msgspec.json.decode(out, type=LoadResult)


def _result(spec: LoadSpec, load: LoadResult, interruptions: Iterable[Mapping[str, Any]]) -> BenchResult:
    by_caller = [line for line in interruptions if line.get("by") == "caller"]
    lost = {cause: count for cause, count in load.dropped.items() if "stale" not in cause}
    return BenchResult(
        calls=spec.calls,
        seconds=spec.seconds,
        audio=spec.audio,
        cpu_ms_per_call_second=round(load.cpu_s * 1000 / load.wall_s / spec.calls, 2),
        added_delay_ms={"up": load.up.added_ms, "down": load.down.added_ms},
        raw_delay_ms={"up": load.up.raw_ms, "down": load.down.raw_ms},
        resampler_ms={"up": load.up.resampler_ms, "down": load.down.resampler_ms},
        loop_lag_ms={"p99": load.loop_lag_p99_ms},
        frames_lost=load.up.lost + load.down.lost + int(sum(lost.values())),
        frames_dropped=load.dropped,
        frames_invented=load.invented,
        calls_lost=load.calls_lost,
        rss_mb=round(load.rss_mb, 1),
        rss_mb_per_call=round((load.rss_mb - load.rss_before_mb) / spec.calls, 3),
        bargein_ms=load.bargein_ms,
        onset_to_clear_ms=percentiles([line["onset_to_clear_ms"] for line in by_caller], 50, 95),
        decide_to_clear_ms=percentiles([line["decide_to_clear_ms"] for line in by_caller], 50, 99),
        bargeins=load.bargeins,
        bargeins_missed=load.bargeins_missed,
        vad_delay_ms=load.vad_delay_ms,
        load={
            "late_p99_ms": round(load.load_late_p99_ms, 3),
            "late_over_5_ms": load.load_late,
            "cpu_percent": round(load.load_cpu_percent, 1),
            "frames_scored": load.up.frames + load.down.frames,
        },
        machine=machine(),
    )
