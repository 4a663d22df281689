"""Shows what the attacks and the short calls did, as tables."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from relay.bench.machine import machine
from relay.bench.report import machine_line, pair
from tests.hostile.short_calls import After
from tests.hostile.siege import CALLS, Outcome

_COLUMNS = (
    "made / closed",
    "up / down ms",
    "frames",
    "holes",
    "buffer ms",
    "calls",
    "peak MB",
    "left MB",
    "back s",
    "fds",
    "tasks",
    "CPU / others %",
    "round ms",
    "late ms",
)


def show_attacks(outcomes: Sequence[Outcome], console: Console) -> None:
    """Print a row for each attack.

    Delays are the 99th percentile of each direction; frames and calls are those that were lost; `buffer` is by how much
    the playout buffer of a call was larger than configured; MB, descriptors and
    tasks are those of the relay beyond what it had before; CPU is that of its core; `round` is the CPU time
    between two of its looks at the sockets, 99 % and at most; `late` is how late the callers
    were, 99 % and at most.
    """
    table = Table(title=f"Attacks beside {CALLS} live calls")
    table.add_column("attack", no_wrap=True)
    table.add_column("how", no_wrap=True)
    for column in _COLUMNS:
        table.add_column(column, justify="right")
    for outcome in outcomes:
        table.add_row(outcome.name, outcome.way, *_cells(outcome))
    console.print(table)


def show_short_calls(found: Sequence[After], console: Console) -> None:
    """Print what the relay held after so many short calls."""
    table = Table(title="Memory after short calls")
    for column in ("calls", "resident MB", "of it in use MB", "objects"):
        table.add_column(column, justify="right")
    for after in found:
        held = after.held
        cells = (f"{held.rss_mb:.1f}", f"{held.trimmed_mb:.1f}", str(sum(held.objects.values())))
        table.add_row(f"{after.calls:,}", *cells)
    console.print(table)


def show_verdict(broken: Sequence[str], unknown: Sequence[str], console: Console) -> None:
    """Print what is wrong, and what could not be judged."""
    console.print(machine_line(machine()))
    for line in unknown:
        console.print(f"no verdict: {line}")
    for line in broken:
        console.print(f"BROKEN {line}")
    if not broken:
        console.print("no promise is broken" + (", as far as could be judged" if unknown else ""))


def _cells(outcome: Outcome) -> list[str]:
    return [
        f"{outcome.attack.made} / {outcome.attack.closed}",
        pair(outcome.added_ms),
        str(outcome.lost_frames),
        str(outcome.holes),
        f"+{outcome.larger_buffer_ms:.0f}" if outcome.larger_buffer_ms else "",
        str(outcome.lost_calls),
        f"{outcome.peak_mb:.1f}",
        f"{outcome.left_mb:.1f}",
        "never" if outcome.back_s is None else f"{outcome.back_s:.1f}",
        str(outcome.left_descriptors),
        str(outcome.left_tasks),
        f"{outcome.relay_cpu_percent:.0f} / {outcome.others_cpu_percent:.0f}",
        "" if outcome.rounds is None else f"{outcome.rounds.ms['p99']:.1f} / {outcome.rounds.ms['p100']:.1f}",
        pair(outcome.load_late_ms),
    ]
