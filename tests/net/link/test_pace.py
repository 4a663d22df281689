"""FramePace: a call is never held up, a flood always, and a stranger soon; pings are few."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.net.link.pace import (
    OF_A_CALL,
    OF_A_STRANGER,
    OF_AN_ASSISTANT,
    SURPLUS_OF_CALLS,
    FramePace,
    FrameRates,
)


def call(surplus: FramePace) -> FramePace:
    return FramePace(OF_A_CALL, surplus)


def taken_at(pace: FramePace, now_s: float, wanted: int = 10_000) -> int:
    """How many of so many frames are taken at this time."""
    for number in range(wanted):
        if pace.due_s > now_s:
            return number
        pace.charge(now_s, 300)
    return wanted


def test_a_call_is_never_held_up_by_its_own_rate_nor_by_what_a_stall_left() -> None:
    """50 frames a second; after a stall of 20 s all that it held back."""
    pace, now_s = call(FramePace(SURPLUS_OF_CALLS)), 0.0
    for _ in range(500):
        now_s += 0.02
        assert taken_at(pace, now_s, 1) == 1

    assert taken_at(pace, now_s + 20, 1000) == 1000


def test_an_assistants_message_of_several_mib_is_not_held_up() -> None:
    pace = FramePace(OF_AN_ASSISTANT)
    pace.charge(0, 2**23)

    assert pace.due_s <= 0


def test_a_call_goes_on_at_its_own_pace_beside_any_number_of_floods() -> None:
    surplus = FramePace(SURPLUS_OF_CALLS)
    floods, own = [call(surplus) for _ in range(50)], call(surplus)
    for step in range(500):
        for flood in floods:
            taken_at(flood, step * 0.02)
        assert taken_at(own, step * 0.02, 1) == 1


def test_all_floods_together_are_held_to_their_own_paces_and_one_surplus() -> None:
    surplus, seconds = FramePace(SURPLUS_OF_CALLS), 10
    floods = [call(surplus) for _ in range(20)]
    taken = sum(taken_at(flood, step * 0.02) for step in range(seconds * 50) for flood in floods)

    own = OF_A_CALL.frames_per_s * (seconds + OF_A_CALL.burst_s)
    shared = SURPLUS_OF_CALLS.frames_per_s * (seconds + SURPLUS_OF_CALLS.burst_s)
    assert taken <= len(floods) * own + shared


def test_a_stranger_that_streams_at_a_calls_rate_is_not_held_up() -> None:
    pace = FramePace(OF_A_STRANGER)
    for number in range(200):
        assert pace.due_s <= number * 0.02
        pace.charge(number * 0.02, 300)


@given(
    waits_s=st.lists(st.floats(0, 0.5), min_size=1, max_size=60),
    n_bytes=st.sampled_from([6, 9000]),
    rates=st.sampled_from([OF_A_STRANGER, OF_A_CALL, OF_AN_ASSISTANT]),
)
def test_a_flood_is_taken_no_faster_than_the_rates_say(waits_s: list[float], n_bytes: int, rates: FrameRates) -> None:
    pace = FramePace(rates)
    cost_s = 1 / rates.frames_per_s + n_bytes / rates.bytes_per_s
    now_s, taken = 0.0, 0
    for wait_s in waits_s:
        now_s += wait_s
        while pace.due_s <= now_s:
            pace.charge(now_s, n_bytes)
            taken += 1
    assert taken <= (rates.burst_s + now_s) / cost_s + 1 + 1e-6


@pytest.mark.parametrize("rates", [OF_A_CALL, OF_A_STRANGER])
def test_other_rates_hold_at_once(rates: FrameRates) -> None:
    pace = FramePace(OF_A_STRANGER)
    while pace.allows_control(0):
        pace.charge(0, 6000)
    assert pace.due_s > 0
    pace.change(rates)
    assert pace.due_s < 0
    assert pace.allows_control(0)


@pytest.mark.parametrize("rates", [OF_A_STRANGER, OF_A_CALL, OF_AN_ASSISTANT])
def test_pings_are_few_at_once_and_few_in_a_second(rates: FrameRates) -> None:
    pace = FramePace(rates)
    at_once = next(number for number in range(1000) if not pace.allows_control(0))
    in_a_minute = sum(pace.allows_control(step * 0.01) for step in range(6000))

    assert at_once == pytest.approx(rates.controls_burst, abs=1)
    assert in_a_minute == pytest.approx(60 * rates.controls_per_s, abs=1)


@pytest.mark.parametrize("rates", [OF_A_STRANGER, OF_A_CALL, OF_AN_ASSISTANT])
def test_a_peer_that_pings_every_second_is_never_one_of_too_many(rates: FrameRates) -> None:
    """Nor when a network that stood still for nine seconds delivers its pings at once."""
    pace = FramePace(rates)

    assert all(pace.allows_control(second) for second in range(3600))
    assert all(pace.allows_control(3610) for _ in range(9))
