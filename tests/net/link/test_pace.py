"""FramePace: a call is never held up, a flood always, and a stranger soon."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.net.link.pace import OF_A_CALL, OF_A_STRANGER, FramePace, FrameRates


def test_a_call_is_never_held_up_by_its_own_rate_nor_by_what_a_stall_left() -> None:
    """50 frames a second; after a stall of 20 s all that it held back; and a message of several MiB."""
    pace, now_s = FramePace(OF_A_CALL), 0.0
    for _ in range(500):
        now_s += 0.02
        assert pace.due_s <= now_s
        pace.charge(now_s, 300, control=False)
    for _ in range(1000):
        assert pace.due_s <= now_s + 20
        pace.charge(now_s + 20, 300, control=False)
    pace.charge(now_s + 25, 2**23, control=False)
    assert pace.due_s <= now_s + 25


def test_a_stranger_that_streams_at_a_calls_rate_is_not_held_up() -> None:
    pace = FramePace(OF_A_STRANGER)
    for number in range(200):
        assert pace.due_s <= number * 0.02
        pace.charge(number * 0.02, 300, control=False)


@given(
    waits_s=st.lists(st.floats(0, 0.5), min_size=1, max_size=60),
    n_bytes=st.sampled_from([6, 9000]),
    control=st.booleans(),
    rates=st.sampled_from([OF_A_STRANGER, OF_A_CALL]),
)
def test_a_flood_is_taken_no_faster_than_the_rates_say(
    waits_s: list[float], n_bytes: int, rates: FrameRates, *, control: bool
) -> None:
    pace = FramePace(rates)
    cost_s = 1 / (rates.controls_per_s if control else rates.frames_per_s) + n_bytes / rates.bytes_per_s
    now_s, taken = 0.0, 0
    for wait_s in waits_s:
        now_s += wait_s
        while pace.due_s <= now_s:
            pace.charge(now_s, n_bytes, control=control)
            taken += 1
    assert taken <= (rates.burst_s + now_s) / cost_s + 1 + 1e-6


@pytest.mark.parametrize("rates", [OF_A_CALL, OF_A_STRANGER])
def test_other_rates_hold_at_once(rates: FrameRates) -> None:
    pace = FramePace(OF_A_STRANGER)
    for _ in range(100):
        pace.charge(0, 6, control=True)
    assert pace.due_s > 1
    pace.change(rates)
    assert pace.due_s < 0
