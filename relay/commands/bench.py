"""`relay bench` measures what a call costs, and how many a core carries."""

import sys
from pathlib import Path

import msgspec
from rich.console import Console

from relay.bench.browsers import run_browsers, show_browsers
from relay.bench.errors import BenchFailed
from relay.bench.limit import broken_limit, find_limit, not_judged
from relay.bench.machine import machine
from relay.bench.report import machine_line, show
from relay.bench.result import BenchResult
from relay.bench.rounds import of_rounds
from relay.bench.run import run_bench
from relay.commands.write_limit import check_writable, write_limit
from relay.vad.cost import vad_cost


def bench(
    calls: int,
    seconds: float,
    audio: str,
    *,
    rounds: int = 1,
    echo_loss_db: float | None = None,
    record: bool = False,
    ringing: bool = False,
    limit: bool,
    write: Path | None = None,
    as_json: bool,
) -> int:
    """Measure and print; 1 when calls or frames were lost, or no limit was found that was looked for, or nothing
    could be measured.

    `write`: the configuration file that gets the limit. Raises ConfigError: it cannot be written.
    """
    progress = Console(stderr=True)
    record_mode = "all" if record else "off"
    if write is not None:
        check_writable(write)

    def measure(number: int) -> BenchResult:
        runs = [run_bench(number, seconds, audio, echo_loss_db, record_mode, ringing=ringing) for _ in range(rounds)]
        result = of_rounds(runs)
        result.not_judged = not_judged(result)
        if limit and not as_json:
            progress.print(f"{number} calls: {broken_limit(result) or 'good'}")
        return result

    try:
        result = find_limit(calls, measure) if limit else measure(calls)
    except BenchFailed as failed:
        return _failed(failed)
    if as_json:
        _print_json(result)
    else:
        show(result, Console())
    if result.limited_by == "load":
        progress.print("relay bench: the load was the bottleneck: this is no limit of the relay", markup=False)
    elif write is not None and result.limit_calls:
        write_limit(write, result.limit_calls)
        progress.print(f"{write}: limits.max_calls = {result.limit_calls}", markup=False, highlight=False)
    no_limit = result.limited_by == "load" or result.limit_calls == 0
    return 1 if result.frames_lost or result.calls_lost or no_limit else 0


def bench_browsers(calls: int, seconds: float, audio: str, *, as_json: bool) -> int:
    """Measure browsers, over a WebSocket and by polling, and print; the status is that of `bench`."""
    try:
        result = run_browsers(calls, seconds, audio)
    except BenchFailed as failed:
        return _failed(failed)
    if as_json:
        _print_json(result)
    else:
        show_browsers(result, Console())
    return 1 if result.lost else 0


def bench_vad(seconds: float, *, as_json: bool) -> int:
    """Print what the speech detector costs a call."""
    cost = vad_cost(seconds)
    if as_json:
        _print_json(cost.as_json() | {"machine": machine()})
    else:
        console = Console()
        console.print(cost.table())
        console.print(machine_line(machine()))
    return 0


def _print_json(result: object) -> None:
    sys.stdout.write(msgspec.json.encode(result).decode() + "\n")


def _failed(failed: BenchFailed) -> int:
    Console(stderr=True).print(f"relay bench: {failed}", markup=False)
    return 1
