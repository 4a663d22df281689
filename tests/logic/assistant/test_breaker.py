import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from relay.logic.assistant.breaker import ASK_AGAIN_S, Breaker, BreakerRules, BreakerState

RULES = BreakerRules(failures=3, open_s=2.0, longest_s=6.0, probe_s=15.0)
CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN


def breaker(state: BreakerState) -> Breaker:
    """Opened at 0, probed at 2."""
    result = Breaker(RULES)
    if state is not CLOSED:
        for _ in range(3):
            result.failed(0.0)
    if state is HALF_OPEN:
        assert result.admit(2.0)
    assert result.state is state
    return result


@pytest.mark.parametrize(
    ("state", "event", "at", "then"),
    [
        (CLOSED, "admit", 5.0, CLOSED),
        (CLOSED, "failed", 5.0, CLOSED),
        (CLOSED, "succeeded", 5.0, CLOSED),
        (CLOSED, "abandoned", 5.0, CLOSED),
        (OPEN, "refused", 1.99, OPEN),
        (OPEN, "admit", 2.0, HALF_OPEN),
        (OPEN, "failed", 1.0, OPEN),
        (OPEN, "succeeded", 1.0, CLOSED),
        (OPEN, "abandoned", 1.0, OPEN),
        (HALF_OPEN, "refused", 16.99, HALF_OPEN),
        (HALF_OPEN, "admit", 17.0, HALF_OPEN),
        (HALF_OPEN, "failed", 3.0, OPEN),
        (HALF_OPEN, "succeeded", 3.0, CLOSED),
        (HALF_OPEN, "abandoned", 3.0, OPEN),
    ],
)
def test_every_row_of_the_table(state: BreakerState, event: str, at: float, then: BreakerState) -> None:
    subject = breaker(state)
    match event:
        case "admit":
            assert subject.admit(at)
        case "refused":
            assert not subject.admit(at)
        case "failed":
            subject.failed(at)
        case "succeeded":
            subject.succeeded()
        case "abandoned":
            subject.abandoned(at)

    assert subject.state is then


@pytest.mark.parametrize("state", [CLOSED, OPEN, HALF_OPEN])
def test_nobody_is_admitted_while_it_is_locked_out_whatever_else_is_known(state: BreakerState) -> None:
    subject = breaker(state)
    subject.locked_out(3.0, 30.0)
    subject.locked_out(4.0, 5.0)
    subject.succeeded()

    assert not subject.admit(32.99)
    assert subject.next_at(5.0) == 33.0
    assert subject.admit(33.0)


def test_a_probe_that_meets_a_lock_out_leaves_the_way_for_another_one() -> None:
    subject = breaker(HALF_OPEN)
    subject.locked_out(3.0, 30.0)

    assert subject.next_at(100.0) == 100.0
    assert subject.admit(33.0)
    assert subject.state is HALF_OPEN


def test_only_failures_in_a_row_open_it() -> None:
    subject = Breaker(RULES)
    for _ in range(20):
        subject.failed(0.0)
        subject.failed(0.0)
        subject.succeeded()

    assert subject.state is CLOSED


def test_half_open_admits_one_probe() -> None:
    subject = breaker(OPEN)

    assert [subject.admit(2.0) for _ in range(5)] == [True, False, False, False, False]


def test_after_an_abandoned_probe_the_next_may_try_at_once() -> None:
    subject = breaker(HALF_OPEN)
    subject.abandoned(3.0)

    assert [subject.admit(3.0), subject.admit(3.0)] == [True, False]


def test_each_failed_probe_doubles_the_time_up_to_the_longest_and_success_resets_it() -> None:
    subject = breaker(OPEN)
    now, waited = 2.0, []
    for _ in range(4):
        assert subject.admit(now)
        subject.failed(now)
        waited.append(subject.next_at(now) - now)
        now = subject.next_at(now)
    assert waited == [4.0, 6.0, 6.0, 6.0]
    subject.succeeded()
    for _ in range(3):
        subject.failed(now)

    assert subject.next_at(now) == pytest.approx(now + 2.0)


@pytest.mark.parametrize(
    ("state", "now", "at"),
    [(CLOSED, 1.0, 1.0), (OPEN, 1.0, 2.0), (OPEN, 9.0, 9.0), (HALF_OPEN, 5.0, 5.0 + ASK_AGAIN_S), (HALF_OPEN, 17, 17)],
)
def test_when_to_ask_again(state: BreakerState, now: float, at: float) -> None:
    assert breaker(state).next_at(now) == pytest.approx(at)


class AnyCalls(RuleBasedStateMachine):
    """However dials end: never two probes within `probe_s`, and whoever comes when told to is admitted at last."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker = Breaker(RULES)
        self.now = 0.0
        self.probed_at = -100.0

    @rule(step_s=st.floats(0, 20))
    def wait(self, step_s: float) -> None:
        self.now += step_s

    @rule()
    def dial(self) -> None:
        closed = self.breaker.state is CLOSED
        if self.breaker.admit(self.now) and not closed:
            assert self.now >= self.probed_at + RULES.probe_s
            self.probed_at = self.now

    @rule()
    def succeed(self) -> None:
        self.breaker.succeeded()
        self.probed_at = -100.0

    @rule()
    def fail(self) -> None:
        self.breaker.failed(self.now)
        if self.breaker.state is OPEN:
            self.probed_at = -100.0

    @rule()
    def abandon(self) -> None:
        self.breaker.abandoned(self.now)
        if self.breaker.state is OPEN:
            self.probed_at = -100.0

    @invariant()
    def it_opens_again_in_the_end(self) -> None:
        at = self.breaker.next_at(self.now)
        assert self.now <= at <= self.now + max(RULES.longest_s, RULES.probe_s)


TestAnyCalls = AnyCalls.TestCase
