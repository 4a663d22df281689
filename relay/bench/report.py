"""The report shows a result to a person."""

from typing import Any

from rich.console import Console
from rich.table import Table

from relay.bench.result import BenchResult


def show(result: BenchResult, console: Console) -> None:
    """Print the figures, the machine, and the limit where one was looked for."""
    console.print(as_table(result))
    where = "one core for both" if result.machine["relay_core"] is None else "a core each for the relay and the load"
    console.print(f"{machine_line(result.machine)}, {where}")
    if result.spread:
        apart = ", ".join(f"{name} {least:.1f} to {most:.1f}" for name, (least, most) in result.spread.items())
        console.print(f"medians of {result.rounds} rounds: {apart}")
    if result.limit_calls is not None:
        console.print(f"one core carries {result.limit_calls} calls, limited by {result.limited_by}")
    if result.not_judged is not None:
        console.print(f"not judged: {result.not_judged}")


def machine_line(machine: dict[str, Any]) -> str:
    """`machine()` in a line."""
    return f"{machine['cpu']}, Python {machine['python']}, load average {machine['load_average']}"


def as_table(result: BenchResult) -> Table:
    """A row for each figure."""
    title = f"{result.calls} calls, {result.seconds:g} s, {result.audio} to the assistant, speech detection on"
    if result.echo_loss_db is not None:
        title += f", an echo {result.echo_loss_db:g} dB weaker"
    if result.recorded is not None:
        title += f", {result.recorded} calls recorded"
    if result.refused is not None:
        title += f", while {result.refused} more rang in vain"
    table = Table(title=title)
    table.add_column("figure")
    table.add_column("value", justify="right")
    for name, value in _rows(result):
        table.add_row(name, value)
    return table


def _rows(result: BenchResult) -> list[tuple[str, str]]:
    echoes = [] if result.echoes_found is None else [("echoes found", str(result.echoes_found))]
    return [
        ("CPU, ms per call and second", f"{result.cpu_ms_per_call_second:.1f}"),
        ("added delay to the assistant, p50 / p99 ms", pair(result.added_delay_ms["up"])),
        ("added delay to the caller, p50 / p99 ms", pair(result.added_delay_ms["down"])),
        ("the same with the playout buffer, p50 / p99 ms", pair(result.raw_delay_ms["down"])),
        ("of it held back by the resampler, up / down ms", pair(result.resampler_ms)),
        ("event loop lag, p99 ms", pair(result.loop_lag_ms)),
        ("speech detector's answer, p50 / p99 ms", pair(result.vad_delay_ms)),
        ("interruption to clear, p50 / p95 ms", pair(result.bargein_ms)),
        ("decision to clear, p50 / p99 ms", pair(result.decide_to_clear_ms)),
        ("interruptions answered / not", f"{result.bargeins} / {result.bargeins_missed}"),
        ("frames lost", str(result.frames_lost)),
        ("calls lost", str(result.calls_lost)),
        ("memory, all / per call MB", f"{result.rss_mb:.0f} / {result.rss_mb_per_call:.2f}"),
        ("the load's own lateness, p99 ms", f"{result.load['late_p99_ms']:.1f}"),
        *echoes,
    ]


def pair(values: dict[str, float | None]) -> str:
    """Figures side by side, with a dash for an unknown one."""
    return " / ".join("-" if value is None else f"{value:.1f}" for value in values.values())
