"""The figures of a run are shown to a person, with the machine that they are of."""

from io import StringIO

import pytest
from rich.console import Console

from relay.bench.report import machine_line, pair, show
from relay.bench.result import BenchResult
from tests.support.bench_results import bench_result


def shown(result: BenchResult) -> str:
    out = StringIO()
    show(result, Console(file=out, width=120))
    return out.getvalue()


@pytest.mark.parametrize(
    ("values", "text"), [({"p50": 1.04, "p99": 20.0}, "1.0 / 20.0"), ({"p50": None, "p99": 2.0}, "- / 2.0"), ({}, "")]
)
def test_figures_stand_side_by_side_and_an_unknown_one_is_a_dash(values: dict[str, float | None], text: str) -> None:
    assert pair(values) == text


def test_every_figure_has_its_row() -> None:
    result = bench_result(7, delay_p99=6.4, frames_lost=3, calls_lost=2, bargeins=12, bargeins_missed=1)
    rows = {line.strip("│┃ ").partition("│")[0].strip(): line for line in shown(result).splitlines()}

    assert "7 calls, 10 s, pcm to the assistant" in shown(result)
    assert "1.0 / 6.4" in rows["added delay to the caller, p50 / p99 ms"]
    assert "2.0 / -" in rows["speech detector's answer, p50 / p99 ms"]
    assert "12 / 1" in rows["interruptions answered / not"]
    assert " 3 " in rows["frames lost"]
    assert " 2 " in rows["calls lost"]


def test_the_machine_is_named_and_how_its_cores_were_used() -> None:
    one_core = {**bench_result().machine, "relay_core": None}

    assert machine_line(one_core) == "a processor, Python 3.11.9, load average 0.5"
    assert "a processor, Python 3.11.9, load average 0.5, a core each for the relay and the load" in shown(
        bench_result()
    )
    assert "one core for both" in shown(bench_result(machine=one_core))


def test_a_limit_is_told_where_one_was_looked_for() -> None:
    assert "one core carries 40 calls, limited by loop_lag" in shown(
        bench_result(40, limit_calls=40, limited_by="loop_lag")
    )
    assert "one core carries" not in shown(bench_result())
