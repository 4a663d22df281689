"""A run with browsers measures the delay that a WebSocket adds, and the one that polling adds."""

from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from relay.bench.browser_load import TransportResult
from relay.bench.machine import machine
from relay.bench.report import machine_line, pair
from relay.bench.run import relay_to_load, run_load


class BrowserResult(msgspec.Struct, frozen=True):
    """What `relay bench --browsers --json` prints: the figures of each transport, as those of a `BenchResult`."""

    calls: int
    seconds: float
    audio: str
    transports: list[TransportResult]
    machine: dict[str, Any]

    @property
    def lost(self) -> bool:
        """Whether a call or a frame was lost."""
        return any(one.calls_lost or one.up.lost or one.down.lost for one in self.transports)


def run_browsers(calls: int, seconds: float, audio: str) -> BrowserResult:
    """`calls` browsers over a WebSocket, then as many by polling. Raises BenchFailed."""
    with relay_to_load(calls, seconds, audio, max_calls=2 * calls) as (relay, spec):
        transports = run_load("relay.bench.browser_load", spec, relay, list[TransportResult], windows=2)
    return BrowserResult(calls, seconds, audio, transports, machine())


def show_browsers(result: BrowserResult, console: Console) -> None:
    """Print the figures of both transports side by side."""
    table = Table(title=f"{result.calls} browsers, {result.seconds:g} s, {result.audio} to the assistant")
    table.add_column("figure")
    for one in result.transports:
        table.add_column(one.transport, justify="right")
    rows = {
        "CPU, ms per call and second": [f"{one.cpu_ms_per_call_second:.1f}" for one in result.transports],
        "added delay to the assistant, p50 / p99 ms": [pair(one.up.added_ms) for one in result.transports],
        "added delay to the browser, p50 / p99 ms": [pair(one.down.added_ms) for one in result.transports],
        "the same with the playout buffer, p50 / p99 ms": [pair(one.down.raw_ms) for one in result.transports],
        "frames lost": [str(one.up.lost + one.down.lost) for one in result.transports],
        "calls lost": [str(one.calls_lost) for one in result.transports],
        "the load's own lateness, p99 ms": [f"{one.load_late_p99_ms:.1f}" for one in result.transports],
    }
    for name, cells in rows.items():
        table.add_row(name, *cells)
    console.print(table)
    console.print(machine_line(result.machine))
