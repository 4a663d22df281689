from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from relay.logic.assistant.breaker import ASK_AGAIN_S, Breaker, BreakerRules
from relay.logic.assistant.ladder import Dial, Ladder, Wait

RULES = BreakerRules(failures=4, open_s=2.0, longest_s=2.0, probe_s=15.0)


def breakers(count: int) -> list[Breaker]:
    return [Breaker(RULES) for _ in range(count)]


def open_(breaker: Breaker, now: float) -> None:
    for _ in range(RULES.failures):
        breaker.failed(now)


def dials(ladder: Ladder, *, retriable: bool = True, now: float = 0.0) -> list[int]:
    """Who is dialled when all fail and nobody waits."""
    made = []
    while isinstance(step := ladder.next(now), Dial):
        made.append(step.index)
        ladder.failed(step.index, now, retriable=retriable)
    return made


def test_first_to_last_each_with_all_its_tries() -> None:
    ladder = Ladder(breakers(3), tries=2)

    assert dials(ladder) == [0, 0, 1, 1, 2, 2]
    assert ladder.next(1000.0) is None


def test_what_cannot_succeed_is_tried_once() -> None:
    assert dials(Ladder(breakers(3), tries=3), retriable=False) == [0, 1, 2]


def test_one_that_is_locked_out_is_left_by_all_calls_at_once_until_that_is_over() -> None:
    shared = breakers(2)
    first, second = Ladder(shared, tries=2), Ladder(shared, tries=1)
    assert first.next(0.0) == Dial(0)
    first.locked_out(0, 0.0, 30.0)

    assert [first.next(0.0), first.next(0.0), second.next(0.0)] == [Dial(1)] * 3
    assert first.next(1.0) == Wait(30.0)
    assert [first.next(30.0), first.next(30.0)] == [Dial(0), None]


def test_an_assistant_that_is_down_is_left_out() -> None:
    shared = breakers(3)
    open_(shared[0], 0.0)

    assert Ladder(shared, tries=3).next(0.0) == Dial(1)


def test_when_all_are_down_the_first_that_may_be_up_is_waited_for() -> None:
    shared = breakers(2)
    open_(shared[0], 1.0)
    open_(shared[1], 0.5)
    ladder = Ladder(shared, tries=1)

    assert ladder.next(1.0) == Wait(2.5)
    assert ladder.next(2.5) == Dial(1)


def test_who_has_no_tries_left_is_not_waited_for() -> None:
    shared = breakers(2)
    ladder = Ladder(shared, tries=1)
    assert ladder.next(0.0) == Dial(0)
    open_(shared[0], 0.0)
    open_(shared[1], 5.0)

    assert ladder.next(5.0) == Wait(7.0)


def test_after_a_success_the_first_is_the_first_again() -> None:
    ladder = Ladder(breakers(2), tries=1)
    assert dials(ladder) == [0, 1]
    ladder.succeeded(1)

    assert ladder.next(0.0) == Dial(0)


def test_one_call_s_failures_spare_the_next_call_the_wait_and_a_success_ends_that() -> None:
    shared = breakers(2)
    assert dials(Ladder(shared, tries=3)) == [0, 0, 0, 1, 1, 1]
    assert dials(Ladder(shared, tries=3)) == [0, 1], "the breakers open at the fourth failure"
    probe = Ladder(shared, tries=3)
    assert probe.next(2.0) == Dial(0)
    probe.succeeded(0)

    assert Ladder(shared, tries=3).next(2.0) == Dial(0)


def test_a_probe_that_was_given_up_does_not_keep_others_waiting() -> None:
    shared = breakers(1)
    open_(shared[0], 0.0)
    first, second = Ladder(shared, 1), Ladder(shared, 1)
    assert first.next(2.0) == Dial(0)
    assert second.next(2.0) == Wait(2.0 + ASK_AGAIN_S)
    first.abandoned(0, 2.05)

    assert second.next(2.1) == Dial(0)


@given(st.integers(0, 4), st.integers(0, 4), st.lists(st.tuples(st.booleans(), st.floats(0, 20)), max_size=60))
def test_it_ends(rungs: int, tries: int, outcomes: list[tuple[bool, float]]) -> None:
    """Whatever the breakers think, nobody is dialled more often than allowed, and a wait is never over already."""
    ladder = Ladder(breakers(rungs), tries)
    now = 0.0
    dialled: Counter[int] = Counter()
    for retriable, lasting_s in outcomes:
        match ladder.next(now):
            case Dial(index=index):
                dialled[index] += 1
                now += lasting_s
                ladder.failed(index, now, retriable=retriable)
            case Wait(until=until):
                assert until > now
                now = until
            case None:
                break

    assert all(count <= tries for count in dialled.values())
    assert len(dialled) <= rungs
