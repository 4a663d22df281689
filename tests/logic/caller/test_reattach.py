import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.logic.caller.reattach import Reattach, ReattachRules

RULES = ReattachRules(max_attempts=3, window_s=60.0, grace_s=15.0)


def test_three_in_a_minute_are_granted_and_the_fourth_is_not() -> None:
    reattach = Reattach(RULES)

    assert [reattach.grant(at) for at in (0.0, 1.0, 2.0, 3.0, 59.9)] == [True, True, True, False, False]


def test_a_minute_after_an_attempt_there_is_room_for_one_more() -> None:
    reattach = Reattach(RULES)
    for at in (0.0, 10.0, 20.0):
        reattach.grant(at)

    assert [reattach.grant(at) for at in (60.0, 69.9, 70.0)] == [True, False, True]


def test_no_deadline_while_attached_and_none_before_the_first_socket() -> None:
    reattach = Reattach(RULES)
    assert reattach.deadline is None
    reattach.grant(5.0)
    assert reattach.deadline is None, "a request that Twilio repeats must not end a call that goes on"
    reattach.lost(10.0)
    reattach.attached()

    assert reattach.deadline is None


@pytest.mark.parametrize(("granted_at", "deadline"), [(None, 25.0), (20.0, 35.0)])
def test_the_grace_runs_from_the_loss_or_from_the_last_grant(granted_at: float | None, deadline: float) -> None:
    reattach = Reattach(RULES)
    reattach.lost(10.0)
    if granted_at is not None:
        assert reattach.grant(granted_at)

    assert reattach.deadline == deadline


def test_a_refusal_gives_no_more_time() -> None:
    reattach = Reattach(RULES)
    reattach.lost(10.0)
    for at in (10.0, 11.0, 12.0):
        reattach.grant(at)
    assert not reattach.grant(20.0)

    assert reattach.deadline == 27.0


def test_another_process_counts_on() -> None:
    reattach = Reattach(RULES)
    for at in (1000.0, 1020.0, 1050.0):
        assert reattach.grant(at)
    ages_s = reattach.ages_s(1065.0)
    assert ages_s == (45.0, 15.0)

    other = Reattach(RULES, ages_s=ages_s, now=5.0)
    assert [other.grant(5.0), other.grant(6.0), other.grant(20.0)] == [True, False, True]


@given(st.lists(st.floats(0, 30), max_size=60), st.integers(0, 5))
def test_never_more_than_allowed_in_any_window_and_never_refused_without_reason(
    waits: list[float], max_attempts: int
) -> None:
    reattach = Reattach(ReattachRules(max_attempts, 60.0, 15.0))
    now = 0.0
    granted: list[float] = []
    for wait_s in waits:
        now += wait_s
        recent = [at for at in granted if at > now - 60.0]
        assert reattach.grant(now) == (len(recent) < max_attempts)
        granted += [now] if len(recent) < max_attempts else []
