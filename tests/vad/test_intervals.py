"""Intervals of confidence, against values from tables and from direct sums."""

from math import exp, factorial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from relay.vad.intervals import cluster_bootstrap, gamma_quantile, poisson, wilson


@pytest.mark.parametrize(
    ("hits", "cases", "low", "high"),
    [
        (0, 10, 0.0, 0.2775),
        (10, 10, 0.7225, 1.0),
        (5, 10, 0.2366, 0.7634),
        (15, 148, 0.0624, 0.1605),
        (1, 29, 0.0061, 0.1718),
        (81, 263, 0.2553, 0.3662),
    ],
)
def test_shares_have_the_intervals_of_wilson(hits: int, cases: int, low: float, high: float) -> None:
    """The last three but one are of Newcombe's comparison, Statistics in Medicine 17 (1998), method 3."""
    assert wilson(hits / cases, cases) == pytest.approx((low, high), abs=1e-4)


def test_a_share_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing"):
        wilson(0.0, 0)


@pytest.mark.parametrize(
    ("count", "low", "high"),
    [(0, 0.0, 3.6889), (1, 0.0253, 5.5716), (2, 0.2422, 7.2247), (5, 1.6235, 11.6683), (10, 4.7954, 18.3904)],
)
def test_counts_have_the_intervals_of_garwood(count: int, low: float, high: float) -> None:
    assert poisson(count) == pytest.approx((low, high), abs=1e-4)


@given(st.integers(1, 120))
def test_the_bounds_leave_a_fortieth_on_each_side(count: int) -> None:
    low, high = poisson(count)

    def at_most(most: int, expected: float) -> float:
        return sum(exp(-expected) * expected**k / factorial(k) for k in range(most + 1))

    assert 1 - at_most(count - 1, low) == pytest.approx(0.025, abs=1e-6)
    assert at_most(count, high) == pytest.approx(0.025, abs=1e-6)


@given(st.integers(0, 1200), st.integers(1, 20))
def test_more_events_never_have_a_lower_interval(quarters: int, more: int) -> None:
    few, many = poisson(quarters / 4), poisson((quarters + more) / 4)

    assert few[0] <= quarters / 4 <= few[1]
    assert few[0] <= many[0]
    assert few[1] < many[1]


@given(st.floats(0, 1), st.integers(1, 1000))
def test_a_share_lies_in_its_interval_and_the_interval_in_0_to_1(share: float, cases: int) -> None:
    low, high = wilson(share, cases)

    assert 0 <= low <= share + 1e-12
    assert share - 1e-12 <= high <= 1


@pytest.mark.parametrize("probability", [0.025, 0.5, 0.975])
def test_a_gamma_variable_of_shape_1_is_exponential(probability: float) -> None:
    assert gamma_quantile(probability, 1) == pytest.approx(-np.log(1 - probability))


def test_events_of_one_cluster_widen_the_interval() -> None:
    """30 events, one in each recording or all in one: the second rate is far less sure."""
    spread, lumped = np.ones(30), np.zeros(30)
    lumped[0] = 30

    def interval(events: NDArray[np.float64]) -> tuple[float, float]:
        (found,) = cluster_bootstrap(30, lambda drawn: np.array([events[drawn].mean()])) or []
        return found

    assert interval(spread) == (1.0, 1.0)
    assert interval(lumped)[0] == 0.0
    assert interval(lumped)[1] > 2.0


def test_each_figure_of_a_statistic_has_its_interval_the_same_each_time() -> None:
    values = np.arange(100.0)

    def both(drawn: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.asarray(np.percentile(values[drawn], [50, 90]))

    median, ninety = cluster_bootstrap(100, both) or []
    assert median[0] < 49.5 < median[1]
    assert ninety[0] < 89.1 < ninety[1]
    assert [median, ninety] == cluster_bootstrap(100, both)


def test_a_draw_without_a_figure_is_left_out() -> None:
    values = np.array([1.0, np.nan, np.nan, np.nan, np.nan])

    (interval,) = cluster_bootstrap(5, lambda drawn: np.array([np.nan if np.isnan(values[drawn]).all() else 1.0])) or []
    assert interval == (1.0, 1.0)


def test_few_clusters_have_no_interval() -> None:
    assert cluster_bootstrap(4, lambda drawn: np.array([1.0])) is None
