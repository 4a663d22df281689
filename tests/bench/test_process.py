"""Reading a process from outside: /proc, and what happened between two scrapes of /metrics."""

import os
import time

import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest, start_http_server

from relay.bench.process import counted_between, cpu_s, parse_metrics, quantile_between, rss_mb, scrape


def test_cpu_time_rises_with_work_and_memory_is_there() -> None:
    before = cpu_s(os.getpid())
    while time.process_time() - before < 0.1:
        pass

    assert 0.05 <= cpu_s(os.getpid()) - before < 60
    assert 5 < rss_mb(os.getpid()) < 10_000


def test_a_quantile_is_of_what_was_observed_between_the_two_snapshots() -> None:
    registry = CollectorRegistry()
    histogram = Histogram("lag_seconds", "x", buckets=(0.001, 0.01, 0.1), registry=registry)
    for _ in range(1000):
        histogram.observe(0.05)
    before = parse_metrics(generate_latest(registry).decode())
    for _ in range(100):
        histogram.observe(0.0005)
    after = parse_metrics(generate_latest(registry).decode())

    assert quantile_between(before, after, "lag_seconds", 0.5) == pytest.approx(0.0005)
    assert quantile_between(before, before, "lag_seconds", 0.5) is None
    assert quantile_between(before, after, "no_such_series", 0.5) is None


def test_beyond_the_last_bound_a_quantile_is_that_bound() -> None:
    registry = CollectorRegistry()
    before = parse_metrics(generate_latest(registry).decode())
    histogram = Histogram("lag_seconds", "x", buckets=(0.001, 0.01), registry=registry)
    histogram.observe(5)

    assert quantile_between(before, parse_metrics(generate_latest(registry).decode()), "lag_seconds", 0.99) == 0.01


def test_counters_say_by_label_what_they_rose_by() -> None:
    registry = CollectorRegistry()
    counter = Counter("dropped", "x", ["cause"], registry=registry)
    counter.labels("late").inc(3)
    counter.labels("stale")
    before = parse_metrics(generate_latest(registry).decode())
    counter.labels("stale").inc(2)
    after = parse_metrics(generate_latest(registry).decode())

    assert counted_between(before, after, "dropped_total") == {'cause="stale"': 2.0}


def test_the_metrics_of_a_process_are_read_from_its_port() -> None:
    registry = CollectorRegistry()
    Counter("dropped", "x", registry=registry).inc(3)
    server, thread = start_http_server(0, addr="127.0.0.1", registry=registry)
    try:
        snapshot = scrape(server.server_port)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

    assert snapshot.counters["dropped_total"] == {"": 3.0}
