"""Plain numbers look to Prometheus as its own client's counters and histograms do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics, generate_latest

from relay.tally import CounterTally, HistogramTally

BOUNDS = (0.0001, 0.5, 1.0, 25.0)
disable_created_metrics()  # type: ignore[no-untyped-call]  # as `Metrics` does, for the whole process
LABELS = {"leg": ("caller", "assistant"), "direction": ("up", "down")}


@given(st.lists(st.tuples(st.sampled_from(LABELS["leg"]), st.sampled_from(LABELS["direction"]), st.integers(0, 10**9))))
def test_a_counter_is_rendered_as_the_clients_own(added: list[tuple[str, str, int]]) -> None:
    plain, own = CollectorRegistry(), CollectorRegistry()
    plain.register(tally := CounterTally("frames", "Some \\ text", **LABELS))
    counter = Counter("frames", "Some \\ text", list(LABELS), registry=own)
    for leg in LABELS["leg"]:
        for direction in LABELS["direction"]:
            counter.labels(leg, direction)

    for leg, direction, frames in added:
        tally.counts[leg, direction] += frames
        counter.labels(leg, direction).inc(frames)

    assert generate_latest(plain) == generate_latest(own)


@given(st.lists(st.sampled_from(BOUNDS) | st.floats(-1.0, 100.0)))
def test_a_histogram_is_rendered_as_the_clients_own(values: list[float]) -> None:
    plain, own = CollectorRegistry(), CollectorRegistry()
    plain.register(tally := HistogramTally("delay_seconds", "Some text", BOUNDS))
    histogram = Histogram("delay_seconds", "Some text", buckets=BOUNDS, registry=own)

    for value in values:
        tally.spreads[()].observe(value)
        histogram.observe(value)

    assert generate_latest(plain) == generate_latest(own)


def test_a_histogram_with_a_label_has_a_row_for_each_value() -> None:
    plain, own = CollectorRegistry(), CollectorRegistry()
    plain.register(tally := HistogramTally("delay_seconds", "Some text", BOUNDS, direction=("up", "down")))
    histogram = Histogram("delay_seconds", "Some text", ["direction"], buckets=BOUNDS, registry=own)
    histogram.labels("up")

    tally.spreads["down",].observe(0.75)
    histogram.labels("down").observe(0.75)

    assert generate_latest(plain) == generate_latest(own)


def test_two_series_of_one_name_are_refused() -> None:
    registry = CollectorRegistry()
    registry.register(CounterTally("frames", "Some text"))

    with pytest.raises(ValueError, match="Duplicated"):
        registry.register(HistogramTally("frames", "Some text", BOUNDS))
