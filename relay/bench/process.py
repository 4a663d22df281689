"""A process is watched from outside, as /proc/<pid> and its /metrics show it (Linux)."""

import http.client
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_BUCKET = re.compile(r'^(\w+)_bucket\{(?:(.*),)?le="([^"]+)"\} (\S+)$', re.MULTILINE)
_SAMPLE = re.compile(r"^(\w+)(?:\{([^}]*)\})? (\S+)$", re.MULTILINE)


def cpu_s(pid: int) -> float:
    """User and system time so far, in seconds (proc(5), /proc/pid/stat)."""
    # The second field is the name in brackets, which may hold spaces and brackets itself: count from the last one.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def rss_mb(pid: int) -> float:
    """Resident memory in MiB; 0 for a process that has ended and is not yet reaped."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The relay's /metrics: `buckets[name]` is {upper bound: count}, `counters[name]` {labels: value}."""

    buckets: Mapping[str, Mapping[float, float]]
    counters: Mapping[str, Mapping[str, float]]


def scrape(port: int) -> Snapshot:
    """Read /metrics on this port of 127.0.0.1; blocks for up to 10 s. Raises OSError."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/metrics")
        return parse_metrics(connection.getresponse().read().decode())
    finally:
        connection.close()


def parse_metrics(text: str) -> Snapshot:
    """Prometheus' text format; a histogram is read over all its labels together."""
    buckets: dict[str, dict[float, float]] = {}
    for name, _, bound, value in _BUCKET.findall(text):
        counts = buckets.setdefault(name, {})
        counts[float(bound)] = counts.get(float(bound), 0.0) + float(value)
    counters: dict[str, dict[str, float]] = {}
    for name, labels, value in _SAMPLE.findall(text):
        counters.setdefault(name, {})[labels] = float(value)
    return Snapshot(buckets, counters)


def quantile_between(before: Snapshot, after: Snapshot, name: str, quantile: float) -> float | None:
    """Of the observations between two snapshots, in the histogram's unit; linear inside a bucket, None without any.

    In the last bucket, which has no end, the answer is where it begins.
    """
    earlier = before.buckets.get(name, {})
    counts = sorted((bound, value - earlier.get(bound, 0.0)) for bound, value in after.buckets.get(name, {}).items())
    total = counts[-1][1] if counts else 0.0
    if total <= 0:
        return None
    low, below = 0.0, 0.0
    for bound, cumulated in counts:
        if cumulated >= quantile * total:
            if bound == float("inf"):
                return low
            return low + (bound - low) * (quantile * total - below) / max(cumulated - below, 1e-12)
        low, below = bound, cumulated
    return low


def counted_between(before: Snapshot, after: Snapshot, name: str) -> dict[str, float]:
    """What each label set of a counter rose by, without those that did not."""
    earlier = before.counters.get(name, {})
    rose = {labels: value - earlier.get(labels, 0.0) for labels, value in after.counters.get(name, {}).items()}
    return {labels: value for labels, value in rose.items() if value}
