"""Recorded calls in which much goes wrong run again, and every decision comes out the same.

A quarter of $ENDURANCE_CUTS says how many calls (`make endurance`: 50); without it there are a few.
"""

import time
from pathlib import Path

from relay.replay.decisions import count, differences
from relay.replay.exact_run import run_exactly
from relay.replay.settings import config_of
from tests.support.cuts import cuts_wanted
from tests.support.lively import record_lively, timed_entries

FEW = 4


def test_calls_with_interruptions_drops_and_jitter_come_out_the_same(tmp_path: Path) -> None:
    """How fast is printed, by the processor's time, and not judged: it depends on the machine and on what else runs."""
    decisions, length_s, took_s, other = 0, 0.0, 0.0, []
    for seed in range(100, 100 + int(cuts_wanted(FEW * 4) / 4)):
        header, entries = timed_entries(record_lively(tmp_path, seed))
        began_s = time.process_time()
        found = run_exactly(header, entries, config_of(header, {}), None)
        took_s += time.process_time() - began_s
        decisions, length_s = decisions + count(entries), length_s + entries[-1].at_s
        other += [(seed, it) for it in differences(entries, found, browser=False)]
    print(f"{length_s:.0f} s of calls, {decisions} decisions, {length_s / took_s:.0f} times faster")

    assert other == []
