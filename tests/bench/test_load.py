"""The load spreads its calls, looks at a few of them, and prints its result or says why there is none."""

import sys

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.bench import load
from relay.bench.caller import SetupFailed
from relay.bench.load import DelayResult, LoadResult, LoadSpec, delay_result, offsets, sampled
from relay.bench.scores import Direction
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
