#!/usr/bin/env python3
"""Print what calls cost as a table: 1 to 100 of them, PCM and mu-law, medians of several rounds.

With COMPARE, the path of a compare.py that measures a plain asyncio relay and this one in turn, and PEERS, the folder
that its setup.sh has prepared, there is a column with the ratio of the two costs.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from relay.bench.errors import BenchFailed
from relay.bench.limit import not_judged
from relay.bench.report import pair
from relay.bench.result import BenchResult
from relay.bench.rounds import of_rounds
from relay.bench.run import run_bench

CALLS = (1, 10, 25, 50, 100)
COMPARED_AS = {"pcm": "pcm_s16le", "mulaw": "mulaw"}
FIXED = ("audio", "calls", "CPU ms", "least-most", "up p99", "down p99", "lag p99", "lost", "MB/call")
WIDTH = 80


def columns(*, compared: bool) -> list[str]:
    """The heads of the columns. CPU is per call and second, delays are those added, in ms."""
    return [*FIXED, *["/ asyncio"] * compared]


def empty_table(title: str | None = None, *, compared: bool) -> Table:
    """The table without its rows, which fits a terminal of WIDTH."""
    table = Table(title=title, box=None, pad_edge=False, collapse_padding=True)
    for head in columns(compared=compared):
        table.add_column(head, justify="right", no_wrap=True)
    return table


def cells(result: BenchResult, ratio: float | None, *, compared: bool) -> list[str]:
    """A row; "?" in the place of figures that the load was too late to judge."""
    head = [result.audio, str(result.calls)]
    if not_judged(result):
        return [*head, *["?"] * (len(columns(compared=compared)) - len(head))]
    cpu = result.cpu_ms_per_call_second
    least, most = (result.spread or {}).get("cpu_ms_per_call_second", [cpu, cpu])
    return [
        *head,
        f"{cpu:.1f}",
        f"{least:.1f}-{most:.1f}",
        *[pair({"p99": result.added_delay_ms[way]["p99"]}) for way in ("up", "down")],
        pair(result.loop_lag_ms),
        f"{result.frames_lost} / {result.calls_lost}",
        f"{result.rss_mb_per_call:.2f}",
        *["-" if ratio is None else f"{ratio:.2f}"] * compared,
    ]


def comparison(environ: Mapping[str, str]) -> list[str] | None:
    """The command that compares, without the load; None where nothing is there or prepared."""
    script, folder = environ.get("COMPARE", ""), environ.get("PEERS", "")
    python = Path(folder) / "venv-load" / "bin" / "python"
    if not (script and folder and Path(script).is_file() and python.exists()):
        return None
    relay = Path(sys.executable).with_name("relay")
    return [str(python), script, "--peers", folder, "--relay", str(relay)]


def ratio_of(command: list[str], calls: int, audio: str, seconds: float, rounds: int) -> float | None:
    """The cost of this relay as a multiple of the other's; None if that could not be measured."""
    load = ["-n", str(calls), "--audio", COMPARED_AS[audio], "--secs", str(seconds), "--rounds", str(rounds)]
    done = subprocess.run([*command, *load], capture_output=True, text=True, check=False)  # noqa: S603 - the operator's own
    lines = done.stdout.splitlines()
    return float(json.loads(lines[-1])["ratio"]) if done.returncode == 0 and lines else None


@click.command()
@click.option("--seconds", type=click.FloatRange(4, 600), default=10.0, show_default=True, help="What is measured.")
@click.option("--rounds", type=click.IntRange(1, 20), default=3, show_default=True, help="How often.")
@click.option("--calls", type=click.IntRange(1, 2000), multiple=True, default=CALLS, show_default=True)
def main(seconds: float, rounds: int, calls: tuple[int, ...]) -> None:
    """Measure and print the table; 1 when a run could not be made or judged."""
    command = comparison(os.environ)
    compared = command is not None
    title = f"medians of {rounds} rounds of {seconds:g} s, CPU per call and second, added delay in ms"
    table = empty_table(title, compared=compared)
    failed = False
    progress = Console(stderr=True)
    for audio in COMPARED_AS:
        for number in calls:
            progress.print(f"{number} calls, {audio}")
            try:
                result = of_rounds([run_bench(number, seconds, audio) for _ in range(rounds)])
            except BenchFailed as error:
                progress.print(str(error), markup=False)
                table.add_row(audio, str(number), *["failed"] * (len(table.columns) - 2))
                failed = True
                continue
            failed = failed or not_judged(result) is not None
            ratio = ratio_of(command, number, audio, seconds, rounds) if command else None
            table.add_row(*cells(result, ratio, compared=compared))
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    console.print(table)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
