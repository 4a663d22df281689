"""`make hostile`: every attack on a relay with live calls, then many short calls; a table, and status 1 for a broken
promise."""

import sys
from pathlib import Path

import click
import msgspec
from rich.console import Console

from tests.hostile.attacks import BY_NAME
from tests.hostile.plan import FULL, SMALL, Dose
from tests.hostile.report import show_attacks, show_short_calls, show_verdict
from tests.hostile.short_calls import memory_after
from tests.hostile.siege import Outcome, open_siege
from tests.hostile.verdict import growth, problems

WIDTH = 180


def run(dose: Dose, names: list[str], *, tasks: bool = False) -> list[Outcome]:
    """All attacks of these kinds. Calls that survive an attack go on through the next."""
    outcomes: list[Outcome] = []
    waiting = [(spec, way) for name in names for way, spec in dose.attacks(name)]
    while waiting:
        with open_siege(tasks=tasks) as siege:
            siege.warm_up(dose.warm_up())
            siege.rest("nobody", dose.rest_s)
            while waiting and not siege.broken:
                spec, way = waiting.pop(0)
                siege.attack(spec, way)
            outcomes += siege.end()
    return outcomes


@click.command()
@click.option("--small", is_flag=True, help="The dose for CI: some seven minutes.")
@click.option(
    "--kind", "names", multiple=True, type=click.Choice(sorted(BY_NAME)), help="Only this attack; repeatable."
)
@click.option("--json", "file", type=click.Path(path_type=Path), help="Write the figures to this file.")
@click.option("--tasks", is_flag=True, help="Measure which tasks the longest rounds of the event loop ran; for --json.")
def main(*, small: bool, names: tuple[str, ...], file: Path | None, tasks: bool) -> None:
    """Attack a relay that has live calls."""
    dose = SMALL if small else FULL
    outcomes = run(dose, list(names) or list(BY_NAME), tasks=tasks)
    broken, unknown = problems(outcomes, dose.added_max_ms)
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    show_attacks(outcomes, console)
    held = [] if names else memory_after(dose.short_calls)
    if held:
        broken += growth(held)
        show_short_calls(held, console)
    show_verdict(broken, unknown, console)
    if file is not None:
        file.write_bytes(msgspec.json.encode({"attacks": outcomes, "short_calls": held}))
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
