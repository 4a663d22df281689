#!/usr/bin/env python3
"""Print what a call costs in one version of relay, as a multiple of what it costs in another: both run at once.

Runs in turn lie apart by what else the machine did meanwhile. Two benches at once share the same cores, so both meet
the same, and some rounds tell a difference of a few per cent. OLD and NEW are the commands of the two versions, as
.venv/bin/relay. Together they should not fill a core: on one that is full, both read more at once than else.
"""

import json
import statistics
import subprocess
import sys

import click

EXTRA_S = 60.0
"""A bench takes so much longer than what it measures, at most."""


def ratio_of(old: str, new: str) -> float:
    """How much more a call costs in `new`, by what both benches printed as JSON. Raises ValueError if one did not."""
    costs = [json.loads(printed)["cpu_ms_per_call_second"] for printed in (old, new)]
    return float(costs[1] / costs[0])


def summary(ratios: list[float]) -> str:
    """The last line."""
    return f"median {statistics.median(ratios):.3f}, {min(ratios):.3f} to {max(ratios):.3f}"


def both(commands: list[list[str]], seconds: float) -> list[str]:
    """What each of the commands prints, run at once, in their order."""
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for command in commands]  # noqa: S603 - the user's own
    try:
        return [process.communicate(timeout=seconds + EXTRA_S)[0] for process in running]
    finally:
        for process in running:
            process.kill()


@click.command()
@click.argument("old", type=click.Path(exists=True, dir_okay=False))
@click.argument("new", type=click.Path(exists=True, dir_okay=False))
@click.option("--calls", type=click.IntRange(1, 2000), default=21, show_default=True, help="In each.")
@click.option("--seconds", type=click.FloatRange(4, 600), default=10.0, show_default=True, help="What is measured.")
@click.option("--rounds", type=click.IntRange(1, 20), default=4, show_default=True, help="How often.")
@click.option("--audio", type=click.Choice(["pcm", "mulaw"]), default="pcm", show_default=True)
def main(old: str, new: str, *, calls: int, seconds: float, rounds: int, audio: str) -> None:
    """Measure and print a line a round, then the median; 1 when a run could not be made."""
    bench = ["bench", "--calls", str(calls), "--seconds", str(seconds), "--audio", audio, "--json"]
    ratios: list[float] = []
    for number in range(rounds):
        order = [old, new] if number % 2 == 0 else [new, old]  # whoever starts first is not always the same
        try:
            printed = dict(zip(order, both([[relay, *bench] for relay in order], seconds), strict=True))
            ratios.append(ratio_of(printed[old], printed[new]))
        except (ValueError, subprocess.TimeoutExpired):
            sys.exit("a bench could not be run: see above")
        click.echo(f"{ratios[-1]:.3f}")
    click.echo(summary(ratios))


if __name__ == "__main__":
    main()
