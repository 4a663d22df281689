"""`make soak`: a real relay with calls that talk, lose their sockets and end, for an hour; status 1 if anything grows.

The relay's log is kept in soak.log where the soak fails.
"""

import os
import shutil
import socket
import sys
import tempfile
import time
from pathlib import Path

import click
from rich.console import Console

from relay.bench.caller import SetupFailed
from relay.bench.errors import BenchFailed
from relay.bench.machine import cores
from relay.bench.process import Snapshot, quantile_between, rss_mb, scrape
from relay.bench.relay_process import PUBLIC_URL, RelayProcess, run_configured
from relay.bench.scores import percentiles
from tests.soak.load import SoakLoad
from tests.soak.verdict import Sample, judges_delay, problems

LOG = Path("soak.log")
SAMPLE_EVERY_S, CUT_EVERY_S = 10.0, 3.0
WARM_UP_S = 10.0
CONFIG = """\
[server]
port = 0
public_url = "{public_url}"
drain_timeout_s = 0.0
[vapi]
api_base = "http://127.0.0.1:{port}"
assistant_id = "soak"
[session]
max_duration_s = 43200.0
[limits]
max_calls = {calls}
requests_burst = 1000
[state]
url = "memory:"
"""


def run(minutes: float, calls: int, console: Console) -> tuple[list[Sample], dict[str, int], str | None]:
    """The samples, what was cut, and why it came to an end too early, if it did. Keeps the log then."""
    relay_core, load_core = cores()
    with tempfile.TemporaryDirectory(prefix="relay-soak-") as name, socket.create_server(("127.0.0.1", 0)) as listener:
        text = CONFIG.format(public_url=PUBLIC_URL, port=listener.getsockname()[1], calls=calls + 5)
        samples: list[Sample] = []
        cuts: dict[str, int] = {}
        failure = None
        try:
            with run_configured(Path(name), text, relay_core) as relay:
                if load_core is not None:
                    os.sched_setaffinity(0, {load_core})
                load = SoakLoad(relay.port, socket.socket(fileno=os.dup(listener.fileno())), calls)
                cuts = load.cuts
                soak(relay, load, minutes * 60, samples, console)
        except (SetupFailed, BenchFailed, OSError) as error:
            failure = str(error) or repr(error)
        if failure or problems(samples):
            shutil.copy(Path(name) / "relay.log", LOG)
    return samples, cuts, failure


def soak(relay: RelayProcess, load: SoakLoad, seconds: float, samples: list[Sample], console: Console) -> None:
    """Cut and sample in turn until the time is over. Raises SetupFailed, OSError."""
    load.reactor.run_until(time.monotonic() + WARM_UP_S)
    began = cut_at = time.monotonic()
    before = scrape(relay.port)
    while time.monotonic() < began + seconds:
        sample_at = min(began + seconds, time.monotonic() + SAMPLE_EVERY_S)
        while cut_at < sample_at:
            load.reactor.measuring = True
            load.reactor.run_until(cut_at)
            load.reactor.measuring = False  # it waits for answers when it dials, and is late itself then
            load.cut()
            cut_at += CUT_EVERY_S
        load.reactor.run_until(sample_at)
        load.look()
        after = scrape(relay.port)
        samples.append(_sample(relay, load, before, after, time.monotonic() - began))
        before = after
        console.print(_line(samples[-1]), highlight=False)


def _sample(relay: RelayProcess, load: SoakLoad, before: Snapshot, after: Snapshot, at_s: float) -> Sample:
    late_ms = percentiles([late_s * 1000 for late_s in load.reactor.late_s], 99)["p99"] or 0.0
    load.reactor.late_s.clear()
    return Sample(
        at_s=at_s,
        calls=after.counters["relay_calls_active"][""],
        memory_mb=rss_mb(relay.pid),
        tasks=after.counters["relay_tasks"][""],
        descriptors=len(list(Path(f"/proc/{relay.pid}/fd").iterdir())),
        delay_p99_ms=(quantile_between(before, after, "relay_frame_delay_seconds", 0.99) or 0.0) * 1000,
        lag_p99_ms=(quantile_between(before, after, "relay_loop_lag_seconds", 0.99) or 0.0) * 1000,
        drift_ms=max(load.drifts_ms(), key=abs, default=0.0),
        lost=load.lost,
        load_late_p99_ms=late_ms,
    )


def _line(sample: Sample) -> str:
    return (
        f"{sample.at_s:6.0f} s  {sample.calls:.0f} calls  {sample.memory_mb:.1f} MB  {sample.tasks:.0f} tasks  "
        f"{sample.descriptors:.0f} descriptors  p99: delay {sample.delay_p99_ms:.1f}, lag {sample.lag_p99_ms:.1f} ms  "
        f"drift {sample.drift_ms:.0f} ms  lost {sample.lost}  load late {sample.load_late_p99_ms:.1f} ms"
    )


@click.command()
@click.option("--minutes", type=click.FloatRange(0.5, 1440), default=60.0, show_default=True)
@click.option("--calls", type=click.IntRange(2, 500), default=25, show_default=True)
def main(minutes: float, calls: int) -> None:
    """Soak a relay, and say what has grown."""
    console = Console(width=None if sys.stdout.isatty() else 160)
    samples, cuts, failure = run(minutes, calls, console)
    broken = ([failure] if failure else []) + problems(samples)
    if not judges_delay(samples):
        console.print("the load was late itself in most samples: delays are hardly judged")
    console.print("cut: " + ", ".join(f"{kind} {count} times" for kind, count in cuts.items()))
    for one in broken:
        console.print(f"broken: {one}", highlight=False)
    console.print(f"the relay's log is in {LOG}" if broken else "nothing has grown")
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
