"""A run starts a fresh relay and a load, waits for the load, and puts the figures of both together."""

import os
import resource
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from relay.bench.errors import BenchFailed
from relay.bench.load import LoadResult, LoadSpec
from relay.bench.machine import cores, machine
from relay.bench.relay_process import LEAD_MS, TARGET_MS, RelayProcess, run_relay, tail
from relay.bench.result import BenchResult
from relay.bench.scores import percentiles

Result = TypeVar("Result")
PER_CALL_TIMEOUT_S = 1.0
"""Of the time that the load may take beyond the seconds it was asked for."""
TIMEOUT_S = 60.0


def run_bench(
    calls: int,
    seconds: float,
    audio: str,
    echo_loss_db: float | None = None,
    record_mode: str = "off",
    *,
    ringing: bool = False,
) -> BenchResult:
    """Measure. `audio` is what the relay and the assistant speak: "mulaw" or "pcm". `echo_loss_db`: of the echo on the
    callers' lines (None: they have none). `record_mode`: the relay's `record.mode`. `ringing`: callers ring without
    end at a relay that takes as many as it does by default; `calls` has no meaning then. Raises BenchFailed.
    """
    calls, max_calls = (0, None) if ringing else (calls, calls + 1)
    with relay_to_load(calls, seconds, audio, max_calls=max_calls, record_mode=record_mode) as (relay, spec):
        spec.echo_loss_db = echo_loss_db
        spec.ringing = ringing
        load = run_load("relay.bench.load", spec, relay, LoadResult)
        lines = list(relay.lines())
    result = _result(spec, load, [line for line in lines if line.get("event") == "bargein.flushed"])
    if record_mode != "off":
        result.recorded = sum(line.get("event") == "record.kept" for line in lines)
    if echo_loss_db is not None:
        result.echo_loss_db = echo_loss_db
        result.echoes_found = sum(line.get("event") == "echo.found" for line in lines)
    if ringing:
        result.refused = load.refused
    return result


@contextmanager
def relay_to_load(
    calls: int, seconds: float, audio: str, *, max_calls: int | None, record_mode: str = "off", forward_url: str = ""
) -> Iterator[tuple[RelayProcess, LoadSpec]]:
    """A relay that runs, and what its load has to know. Raises BenchFailed."""
    relay_core, _ = cores()
    _allow_sockets()
    with tempfile.TemporaryDirectory(prefix="relay-bench-") as name, socket.create_server(("127.0.0.1", 0)) as listener:
        folder, assistant_port = Path(name), listener.getsockname()[1]
        more = {"record_mode": record_mode, "forward_url": forward_url}
        with run_relay(folder, assistant_port, audio, max_calls, relay_core, **more) as relay:
            yield (
                relay,
                LoadSpec(
                    calls=calls,
                    seconds=seconds,
                    audio=audio,
                    relay_port=relay.port,
                    relay_pid=relay.pid,
                    listener_fd=listener.fileno(),
                    target_ms=TARGET_MS,
                    lead_ms=LEAD_MS,
                ),
            )


def _allow_sockets() -> None:
    """As many open files as this user may have, for the relay and the load, which inherit it: two sockets a call."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def run_load(module: str, spec: LoadSpec, relay: RelayProcess, kind: type[Result], *, windows: int = 1) -> Result:
    """Run the load in a process on its own core, and read what it prints. `windows`: how often `spec.seconds` pass."""
    _, core = cores()
    takes_s = spec.seconds + spec.calls * PER_CALL_TIMEOUT_S
    command = [sys.executable, "-P", "-m", module, msgspec.json.encode(spec).decode()]
    with subprocess.Popen(  # noqa: S603 - our own
        command, pass_fds=[spec.listener_fd], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        if core is not None:
            os.sched_setaffinity(process.pid, {core})
        try:
            out, err = process.communicate(timeout=windows * takes_s + TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            raise BenchFailed("the load did not come to an end") from None
    if process.returncode != 0:
        raise BenchFailed(f"{err.decode(errors='replace')[-1500:]}\nThe relay's log ends with:\n{tail(relay.log)}")
    return msgspec.json.decode(out, type=kind)


def _result(spec: LoadSpec, load: LoadResult, interruptions: Iterable[Mapping[str, Any]]) -> BenchResult:
    by_caller = [line for line in interruptions if line.get("by") == "caller"]
    # What an interruption made stale was to be dropped.
    lost = {cause: count for cause, count in load.dropped.items() if "stale" not in cause}
    return BenchResult(
        calls=load.taken,
        seconds=spec.seconds,
        audio=spec.audio,
        cpu_ms_per_call_second=round(load.cpu_s * 1000 / load.wall_s / load.taken, 2),
        added_delay_ms={"up": load.up.added_ms, "down": load.down.added_ms},
        raw_delay_ms={"up": load.up.raw_ms, "down": load.down.raw_ms},
        resampler_ms={"up": load.up.resampler_ms, "down": load.down.resampler_ms},
        loop_lag_ms={"p99": load.loop_lag_p99_ms},
        frames_lost=load.up.lost + load.down.lost + int(sum(lost.values())),
        frames_dropped=load.dropped,
        frames_invented=load.invented,
        calls_lost=load.calls_lost,
        rss_mb=round(load.rss_mb, 1),
        rss_mb_per_call=round((load.rss_mb - load.rss_before_mb) / load.taken, 3),
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
