"""Calculates 95 % intervals of confidence for shares, rates and whatever comes in clusters.

- A share of independent cases: Wilson's score interval (E. B. Wilson, J. Am. Stat. Assoc. 22, 1927).
- Events a minute: the exact Poisson interval (F. Garwood, Biometrika 28, 1936), whose bounds are quantiles of the gamma
  distribution.
- Events that are not independent, as several in one recording: the cluster bootstrap, which draws whole clusters
  (A. C. Davison and D. V. Hinkley, Bootstrap Methods and their Application, 1997, section 3.8).
"""

from collections.abc import Callable
from math import exp, lgamma, log, sqrt

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.95
TAIL = (1 - LEVEL) / 2
NORMAL_QUANTILE = 1.959963984540054
"""Of 1 - TAIL."""
DRAWS = 1000
FEWEST_CLUSTERS = 5
"""With fewer the bootstrap says nothing of the rest of the world."""

Interval = tuple[float, float]


def wilson(share: float, cases: int) -> Interval:
    """Return the interval of a share of so many cases. Raises `ValueError` without any."""
    if cases < 1:
        raise ValueError("a share of nothing has no interval")
    square = NORMAL_QUANTILE**2 / cases
    centre = share + square / 2
    reach = NORMAL_QUANTILE * sqrt(share * (1 - share) / cases + square / (4 * cases))
    return max(0.0, (centre - reach) / (1 + square)), min(1.0, (centre + reach) / (1 + square))


def poisson(count: float) -> Interval:
    """Return the interval of the expected number of events, where so many were seen.

    `count` may be a mean over hearings of the same sound, so it need not be whole: the quantiles go through the whole
    numbers without a step.
    """
    return gamma_quantile(TAIL, count) if count else 0.0, gamma_quantile(1 - TAIL, count + 1)


def gamma_quantile(probability: float, shape: float) -> float:
    """Return the value under which a gamma variable of this shape and scale 1 lies with this probability."""
    low, high = 0.0, shape + 10 * sqrt(shape) + 20
    for _ in range(60):
        middle = (low + high) / 2
        if _gamma_probability(shape, middle) < probability:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def cluster_bootstrap(
    clusters: int, statistic: Callable[[NDArray[np.int64]], NDArray[np.float64]]
) -> list[Interval] | None:
    """Return an interval for each figure of a statistic, which is given the numbers of the clusters drawn.

    The draws are the same each time. None with fewer than five clusters.
    """
    if clusters < FEWEST_CLUSTERS:
        return None
    drawn = np.random.default_rng(1).integers(0, clusters, (DRAWS, clusters))
    figures = np.array([statistic(numbers) for numbers in drawn])
    bounds = np.nanpercentile(figures, [100 * TAIL, 100 * (1 - TAIL)], axis=0)
    return [(float(low), float(high)) for low, high in bounds.T]


def _gamma_probability(shape: float, value: float) -> float:
    """Return the regularised lower incomplete gamma function, by its series."""
    if value <= 0:
        return 0.0
    term = total = 1.0
    denominator = shape
    while term > total * 1e-12:
        denominator += 1
        term *= value / denominator
        total += term
    return min(1.0, total * exp(shape * log(value) - value - lgamma(shape + 1)))
