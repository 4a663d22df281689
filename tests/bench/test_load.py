"""The load spreads its calls, looks at a few of them, and prints its result or says why there is none."""

import os
import socket
import sys
import time
from collections.abc import Iterable, Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.bench import load
from relay.bench.caller import Refused, SetupFailed
from relay.bench.load import (
    SAMPLED_CALLS,
    DelayResult,
    Load,
    LoadCalls,
    LoadResult,
    LoadSpec,
    delay_result,
    offsets,
    sampled,
)
from relay.bench.process import Snapshot
from relay.bench.reactor import Reactor
from relay.bench.scores import Direction, SampleWindow
from relay.bench.sounds import caller_track

SPEC = LoadSpec(2, 5.0, "pcm", 1, 2, 3, 200, 100)
WAY = DelayResult({"p50": 1.0, "p99": 2.0}, {"p50": 1.0, "p99": 2.0}, 0.0, 100, 0)
RESULT = LoadResult(
    cpu_s=1.0,
    wall_s=5.0,
    rss_mb=100.0,
    rss_before_mb=90.0,
    up=WAY,
    down=WAY,
    bargein_ms={"p50": 150.0, "p95": 180.0},
    bargeins=3,
    bargeins_missed=0,
    loop_lag_p99_ms=1.0,
    vad_delay_ms={"p50": 1.0, "p99": None},
    dropped={},
    invented={},
    calls_lost=0,
    load_late_p99_ms=0.1,
    load_late=0,
    load_cpu_percent=10.0,
    taken=2,
    refused=0,
)


@given(st.integers(1, 2000))
def test_at_most_eight_calls_are_looked_at_the_first_and_the_last_among_them(calls: int) -> None:
    chosen = list(sampled(calls))

    assert len(chosen) == len(set(chosen)) == min(calls, 8)
    assert (chosen[0], chosen[-1]) == (0, calls - 1)
    assert chosen == sorted(chosen)


def test_no_two_of_the_first_callers_say_the_same_at_the_same_time() -> None:
    track = caller_track()
    starts = [offsets(number, track) for number in range(20)]

    assert all(0 <= caller < len(track.frames) for caller, _ in starts)
    assert len({caller for caller, _ in starts}) == len({assistant for _, assistant in starts}) == 20


def test_the_added_delay_is_without_the_buffer_that_was_asked_for() -> None:
    direction = Direction(delay_ms=[101.0, 102.0, 103.0], lag_ms=[1.5, 1.5, 1.5], frames=4, lost=1)

    assert delay_result(direction, 100) == DelayResult(
        added_ms={"p50": 2.0, "p99": 2.98},
        raw_ms={"p50": 102.0, "p99": 102.98},
        resampler_ms=1.5,
        frames=4,
        lost=1,
    )


def test_where_nothing_was_found_nothing_is_known() -> None:
    assert delay_result(Direction(), 100).added_ms == {"p50": None, "p99": None}


class FullHouse(LoadCalls):
    """Takes ten calls and no more. Each ring is a second of the clock."""

    def __init__(self, port: int, listener: socket.socket, *_: object, **__: object) -> None:
        listener.close()
        self.clock_s = 0.0
        self.rung: list[tuple[int, bool]] = []

    @property
    def taken(self) -> int:
        return min(10, len(self.rung))

    def place(self, number: int, *, sampled: bool) -> None:
        self.clock_s += 1.0
        self.rung.append((number, sampled))
        if len(self.rung) > 10:
            raise Refused("all lines are busy")

    def directions(
        self, windows: Sequence[SampleWindow], target_ms: int, numbers: Iterable[int]
    ) -> list[tuple[Direction, Direction]]:
        assert list(numbers) == list(range(SAMPLED_CALLS))
        return [(Direction(), Direction()) for _ in windows]

    def barge_ins(self, window: SampleWindow) -> tuple[list[float], int]:
        return [], 0

    def hang_up(self) -> None:
        pass

    @property
    def lost(self) -> int:
        return 0


def test_callers_ring_without_end_and_who_is_refused_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "LoadCalls", FullHouse)
    for name in ("rss_mb", "cpu_s"):
        monkeypatch.setattr(load, name, lambda _: 1.0)
    monkeypatch.setattr(load, "scrape", lambda _: Snapshot({}, {}))
    listener = socket.create_server(("127.0.0.1", 0))
    ringing = Load(LoadSpec(0, 5.0, "pcm", 1, 2, os.dup(listener.fileno()), 200, 100, ringing=True))
    listener.close()
    calls = ringing._calls
    assert isinstance(calls, FullHouse)
    monkeypatch.setattr(time, "monotonic", lambda: calls.clock_s)
    monkeypatch.setattr(Reactor, "run_until", lambda _self, until: setattr(calls, "clock_s", max(until, calls.clock_s)))

    result = ringing.run()

    assert (result.taken, result.refused) == (10, len(calls.rung) - 10)
    assert result.refused > 5, "they ring while it is measured, too"
    assert [sampled for _, sampled in calls.rung[:10]] == [True] * SAMPLED_CALLS + [False] * 2
    assert len({number for number, _ in calls.rung}) == len(calls.rung), "each call has a name of its own"


class Loaded:
    """In the place of `Load`."""

    outcome: LoadResult | Exception = RESULT

    def __init__(self, spec: LoadSpec) -> None:
        assert spec == SPEC

    def run(self) -> LoadResult:
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["load", msgspec.json.encode(SPEC).decode()])
    monkeypatch.setattr(load, "Load", Loaded)
    monkeypatch.setattr(Loaded, "outcome", RESULT)


def test_the_result_is_printed_as_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert load.main() == 0
    assert msgspec.json.decode(capsys.readouterr().out, type=LoadResult) == RESULT


@pytest.mark.parametrize("failed", [SetupFailed("/twilio/voice answered 503"), ConnectionRefusedError("nobody")])
def test_a_relay_that_did_not_take_the_calls_is_status_1_and_a_line(
    failed: Exception, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Loaded, "outcome", failed)

    assert load.main() == 1
    assert capsys.readouterr() == ("", f"load: {failed}\n")
