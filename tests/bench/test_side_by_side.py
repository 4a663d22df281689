"""Two versions at once: the ratio of their costs, and a bench that cannot be run."""

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from scripts.side_by_side import main, ratio_of, summary


def bench(folder: Path, name: str, prints: str) -> str:
    """A command in the place of a relay, which prints this."""
    command = folder / name
    command.write_text(f"#!{sys.executable}\nimport sys\nassert sys.argv[1] == 'bench'\nprint({prints!r})\n")
    command.chmod(0o755)
    return str(command)


def test_a_ratio_is_new_to_old() -> None:
    old, new = (json.dumps({"cpu_ms_per_call_second": cost}) for cost in (8.0, 6.0))
    assert ratio_of(old, new) == 0.75
    assert summary([0.75, 0.7, 0.9]) == "median 0.750, 0.700 to 0.900"
    with pytest.raises(ValueError, match="Expecting value"):
        ratio_of(old, "")


def test_each_round_has_a_line_whichever_was_started_first(tmp_path: Path) -> None:
    old = bench(tmp_path, "old", json.dumps({"cpu_ms_per_call_second": 8.0}))
    new = bench(tmp_path, "new", json.dumps({"cpu_ms_per_call_second": 6.0}))
    done = CliRunner().invoke(main, [old, new, "--rounds", "2"])
    assert done.output.splitlines() == ["0.750", "0.750", "median 0.750, 0.750 to 0.750"]
    assert done.exit_code == 0


def test_a_bench_that_prints_nothing_ends_it(tmp_path: Path) -> None:
    old = bench(tmp_path, "old", json.dumps({"cpu_ms_per_call_second": 8.0}))
    done = CliRunner().invoke(main, [old, bench(tmp_path, "new", "no JSON")])
    assert done.exit_code == 1
    assert "could not be run" in done.output
