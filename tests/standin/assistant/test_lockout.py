"""A burst of requests locks everybody out, and for how long."""

from relay.standin.assistant.lockout import LOCKED_S, Lockout


def test_as_many_as_the_burst_are_served_and_then_nobody_for_21_s() -> None:
    gate = Lockout()

    assert [gate.admits(n / 10, 3) for n in range(5)] == [True, True, True, False, False]
    assert not gate.admits(0.3 + LOCKED_S - 0.01, 3)
    assert gate.admits(0.3 + LOCKED_S, 3)


def test_requests_that_are_spread_out_are_no_burst() -> None:
    gate = Lockout()

    assert all(gate.admits(n * 11.0, 2) for n in range(20))


def test_with_a_burst_of_none_at_all_it_is_locked_from_the_start() -> None:
    assert not Lockout().admits(0.0, 0)


def test_without_a_limit_everything_is_served() -> None:
    gate = Lockout()

    assert all(gate.admits(0.0, None) for _ in range(1000))


def test_a_lockout_that_has_begun_goes_on_to_its_end_when_the_limit_is_taken_away() -> None:
    gate = Lockout()

    assert [gate.admits(at_s, None if at_s else 0) for at_s in (0.0, 0.1, LOCKED_S)] == [False, False, True]
