"""The table of `make bench`."""

import io
import sys
from pathlib import Path

import pytest
from rich.console import Console

from relay.bench.rounds import of_rounds
from scripts.bench_table import CALLS, WIDTH, cells, comparison, empty_table, ratio_of
from tests.support.bench_results import bench_result


@pytest.mark.parametrize("compared", [False, True])
def test_a_row_has_a_cell_for_each_column_and_fits_a_terminal(*, compared: bool) -> None:
    table = empty_table(compared=compared)
    for calls in CALLS:
        row = cells(bench_result(calls, delay_p99=123.4, frames_lost=1234), 1.25, compared=compared)
        assert len(row) == len(table.columns)
        table.add_row(*row)
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(table)

    assert max(len(line.rstrip()) for line in console.export_text().splitlines()) <= WIDTH


def test_a_row_is_made_of_medians_and_their_spread() -> None:
    result = of_rounds([bench_result(25, cpu_ms_per_call_second=cpu) for cpu in (30.0, 10.0, 20.0)])

    assert cells(result, None, compared=False)[:4] == ["pcm", "25", "20.0", "10.0-30.0"]


def test_what_cannot_be_judged_is_not_shown() -> None:
    assert set(cells(bench_result(25, load={"late_p99_ms": 30.0}), 0.7, compared=True)[2:]) == {"?"}


def test_without_another_relay_there_is_nothing_to_compare(tmp_path: Path) -> None:
    script = tmp_path / "compare.py"
    script.touch()

    assert comparison({}) is None
    assert comparison({"COMPARE": str(script), "PEERS": str(tmp_path / "not prepared")}) is None


def test_another_relay_that_is_prepared_is_compared(tmp_path: Path) -> None:
    script = tmp_path / "compare.py"
    script.write_text('print("a line a run")\nprint(\'{"ratio": 0.72}\')\n')
    python = tmp_path / "venv-load" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    command = comparison({"COMPARE": str(script), "PEERS": str(tmp_path)})

    assert command is not None
    assert ratio_of(command, 25, "mulaw", 4.0, 2) == 0.72


def test_a_comparison_that_fails_has_no_ratio(tmp_path: Path) -> None:
    assert ratio_of([sys.executable, str(tmp_path / "none.py")], 25, "pcm", 4.0, 2) is None
