"""One result of several runs."""

from relay.bench.rounds import of_rounds
from tests.support.bench_results import bench_result


def test_one_run_is_its_own_result() -> None:
    one = bench_result()

    assert of_rounds([one]) is one
    assert one.spread is None


def test_a_figure_is_the_median_with_its_spread() -> None:
    result = of_rounds([bench_result(cpu_ms_per_call_second=cpu, delay_p99=cpu / 2) for cpu in (30.0, 10.0, 20.0)])

    assert (result.rounds, result.cpu_ms_per_call_second) == (3, 20.0)
    assert result.added_delay_ms["down"]["p99"] == 10.0
    assert result.spread is not None
    assert result.spread["cpu_ms_per_call_second"] == [10.0, 30.0]
    assert result.spread["delay_down_p99_ms"] == [5.0, 15.0]


def test_what_was_lost_in_one_run_is_not_hidden() -> None:
    holes = {'cause="underrun"': 2.0}
    runs = [
        bench_result(),
        bench_result(calls_lost=2, frames_invented=holes, load={"late_p99_ms": 30.0}),
        bench_result(),
    ]
    result = of_rounds(runs)

    assert (result.calls_lost, result.frames_invented, result.load["late_p99_ms"]) == (2, holes, 30.0)


def test_a_figure_that_one_run_does_not_know_is_unknown() -> None:
    result = of_rounds([bench_result(delay_p99=None), bench_result(delay_p99=4.0)])

    assert result.added_delay_ms["down"]["p99"] is None


def test_counts_stay_whole() -> None:
    assert of_rounds([bench_result(bargeins=3), bench_result(bargeins=4)]).bargeins == 3
