from functools import partial
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.logic.assistant.backoff import Backoff, BackoffRules


class Extreme(Random):
    """Draws always the same part of the range."""

    def __init__(self, part: float) -> None:
        super().__init__(0)
        self.part = part

    def uniform(self, a: float, b: float) -> float:
        return a + self.part * (b - a)


@pytest.mark.parametrize(
    ("part", "waits"),
    [(1.0, [0.2, 0.4, 0.8, 1.0, 1.0]), (0.5, [0.1, 0.2, 0.4, 0.5, 0.5]), (0.0, [0.0, 0.0, 0.0, 0.0, 0.0])],
)
def test_the_limit_of_each_wait_doubles_up_to_the_longest(part: float, waits: list[float]) -> None:
    backoff = Backoff(BackoffRules(max_attempts=5, first_s=0.2, longest_s=1.0), partial(Extreme, part))

    assert [backoff.next_at(100.0) for _ in range(5)] == [pytest.approx(100.0 + wait) for wait in waits]


def test_after_the_last_attempt_there_is_none() -> None:
    backoff = Backoff(BackoffRules(max_attempts=2), partial(Random, 1))
    assert backoff.next_at(0.0) is not None
    assert backoff.next_at(0.0) is not None

    assert backoff.next_at(0.0) is None
    assert backoff.attempt == 2


def test_with_no_attempts_allowed_there_is_none() -> None:
    assert Backoff(BackoffRules(max_attempts=0), partial(Random, 1)).next_at(0.0) is None


def test_an_attempt_that_would_begin_after_the_time_is_up_is_none() -> None:
    backoff = Backoff(BackoffRules(max_attempts=9, first_s=0.2, budget_s=10), partial(Extreme, 1.0))
    assert backoff.next_at(50.0) == pytest.approx(50.2)
    assert backoff.next_at(59.6) == pytest.approx(60.0)

    assert backoff.next_at(59.6) is None


def test_nothing_is_drawn_before_there_is_a_loss() -> None:
    drawn = list[Random]()

    def draw() -> Random:
        drawn.append(Random(1))
        return drawn[-1]

    backoff = Backoff(BackoffRules(max_attempts=2), draw)
    assert not drawn

    assert [backoff.next_at(0.0), backoff.next_at(0.0)] == [Random(1).uniform(0, 0.2), pytest.approx(0.339, abs=0.001)]
    assert len(drawn) == 1


def test_success_gives_all_attempts_and_the_whole_time_back() -> None:
    backoff = Backoff(BackoffRules(max_attempts=1, first_s=0.2, budget_s=10), partial(Extreme, 1.0))
    backoff.next_at(0.0)
    assert backoff.next_at(1.0) is None
    backoff.succeeded()

    assert backoff.attempt == 0
    assert backoff.next_at(1000.0) == pytest.approx(1000.2)


def test_the_same_seed_gives_the_same_waits_and_another_does_not() -> None:
    def waits(seed: int) -> list[float | None]:
        backoff = Backoff(BackoffRules(max_attempts=4), partial(Random, seed))
        return [backoff.next_at(0.0) for _ in range(4)]

    assert waits(1) == waits(1) != waits(2)


RULES = st.builds(BackoffRules, st.integers(0, 10), st.floats(0, 5), st.floats(0, 10), st.floats(0, 60))


@given(RULES, st.integers(), st.lists(st.floats(0, 20), max_size=20))
def test_attempts_and_time_are_never_exceeded(rules: BackoffRules, seed: int, lasting: list[float]) -> None:
    backoff = Backoff(rules, partial(Random, seed))
    now, granted = 7.0, 0
    for attempt_s in lasting:
        at = backoff.next_at(now)
        if at is None:
            break
        granted += 1
        assert now <= at <= now + min(rules.longest_s, rules.first_s * 2 ** (granted - 1))
        assert at <= 7.0 + rules.budget_s
        now = at + attempt_s

    assert granted == backoff.attempt <= rules.max_attempts
