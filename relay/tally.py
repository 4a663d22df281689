"""Series whose counting costs an addition: prometheus-client collects the numbers only when the metrics are read.

Only one thread may count, that of the event loop: nothing is locked.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate, product
from math import inf

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString


class CounterTally(Collector):
    """A counter. `counts` holds a number for every combination of the label values, to be added to."""

    def __init__(self, name: str, text: str, **labels: tuple[str, ...]) -> None:
        self._name, self._text, self._labels = name, text, tuple(labels)
        self.counts: dict[tuple[str, ...], int] = dict.fromkeys(product(*labels.values()), 0)

    def collect(self) -> Iterable[CounterMetricFamily]:
        """For the registry."""
        family = CounterMetricFamily(self._name, self._text, labels=self._labels)
        for values, count in self.counts.items():
            family.add_metric(values, count)
        return [family]

    describe = collect


class Spread:
    """How the values of one series of a histogram are spread: how many lie under each bound, and their sum."""

    __slots__ = ("_bounds", "_counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = (*bounds, inf)
        self._counts = [0] * len(self._bounds)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count a value. One that equals a bound lies under it."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self.sum += value

    def buckets(self) -> list[tuple[str, float]]:
        """Each bound, as Prometheus writes it, and how many values lie under it."""
        names = map(floatToGoString, self._bounds)
        return list(zip(names, accumulate(self._counts), strict=True))


class HistogramTally(Collector):
    """A histogram. `spreads` holds one for every combination of the label values."""

    def __init__(self, name: str, text: str, bounds: Sequence[float], **labels: tuple[str, ...]) -> None:
        self._name, self._text, self._labels = name, text, tuple(labels)
        self.spreads = {values: Spread(bounds) for values in product(*labels.values())}

    def collect(self) -> Iterable[HistogramMetricFamily]:
        """For the registry."""
        family = HistogramMetricFamily(self._name, self._text, labels=self._labels)
        for values, spread in self.spreads.items():
            family.add_metric(values, spread.buckets(), spread.sum)
        return [family]

    describe = collect
