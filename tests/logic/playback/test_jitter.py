import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.logic.playback.jitter import LEAST_MS, MARGIN_MS, MOST_MS, JitterTarget

FRAME_S = 0.02


def stream(target: JitterTarget, frames: int, *, start: float, chunk: int = 1, audible: bool = True) -> float:
    """So many frames in real time, chunk by chunk; returns when the next would come."""
    for n in range(frames):
        target.arrived(start + n // chunk * chunk * FRAME_S, audible=audible)
    return start + frames * FRAME_S


def needed_ms(target: JitterTarget) -> float:
    """The target as an underrun shows what was measured, when the configured one is no more than the least."""
    target.underrun()
    return target.target_ms


def test_a_steady_stream_has_no_jitter_however_it_is_chopped() -> None:
    for chunk in (1, 3, 10):
        target = JitterTarget(LEAST_MS)
        stream(target, 300, start=5.0, chunk=chunk)

        assert needed_ms(target) == LEAST_MS


def test_a_stall_counts_once_with_its_length() -> None:
    target = JitterTarget(LEAST_MS)
    end = stream(target, 100, start=0.0)
    for _ in range(15):
        target.arrived(end + 0.3, audible=True)
    stream(target, 100, start=end + 0.3)

    assert needed_ms(target) == pytest.approx(300 + MARGIN_MS, abs=25)


def test_what_is_measured_changes_nothing_before_an_underrun_or_a_backlog() -> None:
    target = JitterTarget(200)
    end = stream(target, 100, start=0.0)
    stream(target, 100, start=end + 0.3)

    assert target.pause() is False
    assert target.target_ms == 200


@pytest.mark.parametrize(("stall_s", "target_ms"), [(0.05, 200), (0.25, 300), (0.3, 340), (0.9, MOST_MS)])
def test_an_underrun_raises_the_target_to_what_is_needed_within_bounds(stall_s: float, target_ms: float) -> None:
    target = JitterTarget(200)
    end = stream(target, 100, start=0.0)
    target.arrived(end + stall_s, audible=True)
    target.underrun()

    assert target.target_ms == pytest.approx(target_ms, abs=20)
    assert target.target_ms >= min(MOST_MS, stall_s * 1000 + MARGIN_MS - 1)


def test_in_pauses_the_target_follows_the_jitter_down_but_not_below_the_configured_one() -> None:
    target = JitterTarget(200)
    end = stream(target, 100, start=0.0)
    target.arrived(end + 0.35, audible=True)
    target.underrun()
    raised = target.target_ms
    stream(target, 500, start=end + 0.37)
    assert target.pause()
    assert 200 < target.target_ms < raised
    stream(target, 5000, start=end + 10.37)
    target.pause()

    assert target.target_ms == 200


def test_after_a_backlog_a_calm_stream_needs_less_than_configured_once_enough_was_measured() -> None:
    target = JitterTarget(200)
    stream(target, 400, start=0.0)
    target.backlog()
    assert not target.pause()
    stream(target, 200, start=8.0)

    assert target.pause()
    assert target.target_ms == LEAST_MS


@pytest.mark.parametrize("gap_s", [1.1, 60.0])
def test_a_long_gap_is_no_jitter(gap_s: float) -> None:
    target = JitterTarget(LEAST_MS)
    end = stream(target, 100, start=0.0)
    stream(target, 100, start=end + gap_s)

    assert needed_ms(target) == LEAST_MS


def test_a_gap_after_silence_or_a_cut_is_no_jitter() -> None:
    target = JitterTarget(LEAST_MS)
    end = stream(target, 100, start=0.0)
    end = stream(target, 10, start=end, audible=False)
    end = stream(target, 100, start=end + 0.4)
    target.cut()
    stream(target, 100, start=end + 0.4)

    assert needed_ms(target) == LEAST_MS


def test_a_sender_that_runs_ahead_has_no_jitter_while_it_is_ahead() -> None:
    target = JitterTarget(LEAST_MS)
    for n in range(250):
        target.arrived(0.0 if n < 100 else 1.9, audible=True)

    assert needed_ms(target) == LEAST_MS


@pytest.mark.parametrize("configured_ms", [0.0, 20.0, 2000.0])
def test_a_target_configured_outside_the_bounds_is_respected(configured_ms: float) -> None:
    target = JitterTarget(configured_ms)
    stream(target, 600, start=0.0)
    target.backlog()
    target.pause()
    assert target.target_ms == min(configured_ms, LEAST_MS)
    target.underrun()

    assert target.target_ms <= max(MOST_MS, configured_ms)


@given(
    st.sampled_from([60.0, 200.0, 400.0]),
    st.lists(
        st.tuples(st.integers(0, 3000), st.booleans(), st.sampled_from(["", "underrun", "backlog", "pause", "cut"]))
    ),
)
def test_whatever_arrives_the_target_stays_within_bounds_and_is_lowered_in_pauses_only(
    configured_ms: float, steps: list[tuple[int, bool, str]]
) -> None:
    target = JitterTarget(configured_ms)
    now = 0.0
    for wait_ms, audible, event in steps:
        now += wait_ms / 1000
        before = target.target_ms
        target.arrived(now, audible=audible)
        match event:
            case "underrun":
                target.underrun()
            case "backlog":
                target.backlog()
            case "pause":
                assert target.pause() == (target.target_ms < before)
            case "cut":
                target.cut()
        assert event == "pause" or target.target_ms >= before
        assert LEAST_MS <= target.target_ms <= MOST_MS
