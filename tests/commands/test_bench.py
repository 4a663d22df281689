"""`relay bench` prints what was measured, and its status says whether anything was lost."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from relay.bench.browser_load import TransportResult
from relay.bench.browsers import BrowserResult
from relay.bench.errors import BenchFailed
from relay.bench.load import DelayResult
from relay.bench.result import BenchResult
from relay.commands import bench
from relay.vad.cost import CostRow, VadCost
from tests.support.bench_results import bench_result
from tests.support.commands import relay

Measure = Callable[[int, float, str], BenchResult]


@pytest.fixture
def measures(monkeypatch: pytest.MonkeyPatch) -> Callable[[Measure], None]:
    """Puts another measurement in the place of the real one."""
    return lambda measure: monkeypatch.setattr(bench, "run_bench", measure)


def fails(*_: object, **__: object) -> BenchResult:
    raise BenchFailed("the relay did not start:\n[no colours] here")


def test_json_is_one_object_and_nothing_else(measures: Callable[[Measure], None]) -> None:
    measures(lambda calls, seconds, audio, *_, **__: bench_result(calls, seconds=seconds, audio=audio))
    done = relay("bench", "--calls", "3", "--seconds", "4", "--audio", "mulaw", "--json")

    assert (done.exit_code, done.stderr) == (0, "")
    printed = json.loads(done.stdout)
    assert (printed["calls"], printed["seconds"], printed["audio"]) == (3, 4.0, "mulaw")
    assert "limit_calls" not in printed


@pytest.mark.parametrize("lost", ["frames_lost", "calls_lost"])
def test_what_was_lost_is_status_1(measures: Callable[[Measure], None], lost: str) -> None:
    measures(lambda calls, *_, **__: bench_result(calls, **{lost: 1}))

    assert relay("bench", "--json").exit_code == 1


def test_a_failure_is_status_1_and_told_as_it_is(measures: Callable[[Measure], None]) -> None:
    measures(fails)
    done = relay("bench")

    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == "relay bench: the relay did not start:\n[no colours] here\n"


def test_the_search_for_the_limit_tells_each_run_and_ends_with_the_answer(measures: Callable[[Measure], None]) -> None:
    measures(lambda calls, *_, **__: bench_result(calls, frames_lost=int(calls > 6)))
    done = relay("bench", "--calls", "4", "--find-limit")

    assert done.exit_code == 0
    assert done.stderr.splitlines()[:2] == ["4 calls: good", "8 calls: frames_lost"]
    assert "one core carries 6 calls, limited by frames_lost" in done.stdout


def test_the_search_prints_json_without_its_runs(measures: Callable[[Measure], None]) -> None:
    measures(lambda calls, *_, **__: bench_result(calls, frames_lost=int(calls > 6)))
    done = relay("bench", "--calls", "4", "--find-limit", "--json")

    assert done.stderr == ""
    assert (json.loads(done.stdout)["limit_calls"], json.loads(done.stdout)["limited_by"]) == (6, "frames_lost")


@pytest.mark.parametrize(("lost", "status"), [(0, 0), (1, 1)])
def test_browsers_are_measured_the_same_way(monkeypatch: pytest.MonkeyPatch, lost: int, status: int) -> None:
    way = DelayResult({"p50": 1.0, "p99": 2.0}, {"p50": 1.0, "p99": 2.0}, 0.0, 100, lost)
    result = BrowserResult(1, 4.0, "pcm", [TransportResult("websocket", 1.0, way, way, 0, 0.0)], {})
    monkeypatch.setattr(bench, "run_browsers", lambda *_: result)
    done = relay("bench", "--browsers", "--json")

    assert done.exit_code == status
    assert msgspec.json.decode(done.stdout, type=BrowserResult) == result


def test_browsers_that_could_not_be_measured_are_status_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "run_browsers", fails)
    done = relay("bench", "--browsers", "--json")

    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith("relay bench: ")


def test_the_cost_of_the_detector_is_printed_with_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    cost = VadCost(4.0, [CostRow(20, 11.5, 31.0, 23.0, 0.5, {"p50": 1.0, "p99": 2.0})])
    monkeypatch.setattr(bench, "vad_cost", lambda _: cost)
    printed, shown = relay("bench", "--vad-cost", "--json"), relay("bench", "--vad-cost")

    assert (printed.exit_code, shown.exit_code) == (0, 0)
    value = json.loads(printed.stdout)
    assert {name: value[name] for name in cost.as_json()} == cost.as_json()
    assert value["machine"]["python"] in shown.stdout
    assert "11.5" in shown.stdout


def test_the_figures_of_a_late_load_are_printed_and_not_judged(measures: Callable[[Measure], None]) -> None:
    measures(lambda calls, *_, **__: bench_result(calls, load={"late_p99_ms": 50.0}))
    done = relay("bench", "--json")

    assert done.exit_code == 0
    assert "the load was the bottleneck" in json.loads(done.stdout)["not_judged"]
    assert "not judged: the load was the bottleneck" in " ".join(relay("bench").stdout.split())


def test_the_limit_is_written_into_the_configuration(measures: Callable[[Measure], None], tmp_path: Path) -> None:
    hole = {'cause="underrun"': 1.0}
    measures(lambda calls, *_, **__: bench_result(calls, frames_invented=hole if calls > 6 else {}))
    file = tmp_path / "config.toml"
    file.write_text('[limits]\nmax_calls = "auto" # for now\n')
    done = relay("bench", "--calls", "4", "--find-limit", "--write", str(file))

    assert (done.exit_code, file.read_text()) == (0, "[limits]\nmax_calls = 6 # for now\n")
    assert "limited by holes" in done.stdout


@pytest.mark.parametrize(
    "changes", [{"load": {"late_p99_ms": 50.0}}, {"calls_lost": 1}], ids=["late load", "no call carried"]
)
def test_no_limit_is_written_where_none_was_found(
    measures: Callable[[Measure], None], tmp_path: Path, changes: dict[str, Any]
) -> None:
    measures(lambda calls, *_, **__: bench_result(calls, **changes))
    file = tmp_path / "config.toml"
    file.write_text("[limits]\nmax_calls = 3\n")
    done = relay("bench", "--find-limit", "--write", str(file))

    assert (done.exit_code, file.read_text()) == (1, "[limits]\nmax_calls = 3\n")


def test_a_file_that_cannot_be_written_is_told_before_anything_is_measured(
    measures: Callable[[Measure], None], tmp_path: Path
) -> None:
    measures(fails)
    done = relay("bench", "--find-limit", "--write", str(tmp_path / "none.toml"))

    assert done.exit_code == 2
    assert "none.toml" in done.stderr


def test_rounds_are_medians_with_their_spread(measures: Callable[[Measure], None]) -> None:
    costs = iter([30.0, 10.0, 20.0])
    measures(lambda calls, *_, **__: bench_result(calls, cpu_ms_per_call_second=next(costs)))
    printed = json.loads(relay("bench", "--rounds", "3", "--json").stdout)

    assert (printed["rounds"], printed["cpu_ms_per_call_second"]) == (3, 20.0)
    assert printed["spread"]["cpu_ms_per_call_second"] == [10.0, 30.0]
