"""Every row of the table in relay.logic.playback.barge_in, and that no order of events leaves the assistant paused."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from relay.logic.playback.barge_in import PAUSE_MAX_S, Action, BargeIn, BargeInRules, BargeInState, Policy

LOCAL = BargeInRules()
BOTH = BargeInRules(policy="both")
ASSISTANT = BargeInRules(policy="assistant")
WORDS = BargeInRules(min_words=2)
OFF = BargeInRules(enabled=False)
IDLE, PAUSED, ASKING, WAITING = BargeInState
ASK_S = 0.05


def paused(rules: BargeInRules = LOCAL, now: float = 10.0) -> BargeIn:
    barge_in = BargeIn(rules)
    assert barge_in.likely(interruptible=True, now=now) is Action.PAUSE
    return barge_in


def waiting(rules: BargeInRules = BOTH, now: float = 10.0) -> BargeIn:
    barge_in = paused(rules, now)
    assert barge_in.confirmed(interruptible=True, now=now) is None
    return barge_in


def test_a_suspicion_pauses_the_assistant_that_can_be_heard() -> None:
    barge_in = paused()

    assert (barge_in.state, barge_in.deadline) == (PAUSED, 10.0 + PAUSE_MAX_S)


@pytest.mark.parametrize("rules", [LOCAL, BOTH, WORDS, ASSISTANT, OFF])
def test_when_there_is_nothing_to_interrupt_the_caller_just_speaks(rules: BargeInRules) -> None:
    barge_in = BargeIn(rules)

    assert barge_in.likely(interruptible=False, now=1) is None
    assert barge_in.confirmed(interruptible=False, now=1) is None
    assert (barge_in.state, barge_in.deadline) == (IDLE, None)


def test_what_may_linger_at_the_callers_side_is_cleared_once_it_is_sure_that_the_caller_speaks() -> None:
    barge_in = BargeIn(LOCAL)

    assert barge_in.likely(interruptible=False, now=1) is None
    assert barge_in.confirmed(interruptible=False, lingers=True, now=1) is Action.CLEAR
    assert (barge_in.state, barge_in.deadline) == (IDLE, None)
    assert barge_in.likely(interruptible=True, now=1.01) is Action.PAUSE


@pytest.mark.parametrize("rules", [BOTH, WORDS, ASSISTANT, OFF])
def test_who_may_not_cut_alone_does_not_clear_alone(rules: BargeInRules) -> None:
    assert BargeIn(rules).confirmed(interruptible=False, lingers=True, now=1) is None


def test_what_can_be_heard_is_cut_and_what_lingers_with_it() -> None:
    barge_in = BargeIn(LOCAL)

    assert barge_in.confirmed(interruptible=True, lingers=True, now=1) is Action.CUT
    assert barge_in.confirmed(interruptible=False, lingers=True, now=1.2) is None


@pytest.mark.parametrize("rules", [ASSISTANT, OFF])
def test_our_detector_has_no_say_when_it_is_not_asked(rules: BargeInRules) -> None:
    barge_in = BargeIn(rules)

    assert barge_in.likely(interruptible=True, now=1) is None
    assert barge_in.confirmed(interruptible=True, now=1) is None


def test_certainty_cuts_with_or_without_a_suspicion_before() -> None:
    assert paused().confirmed(interruptible=True, now=10.1) is Action.CUT
    assert BargeIn(LOCAL).confirmed(interruptible=True, now=1) is Action.CUT


def test_what_is_paused_is_cut_even_if_nothing_can_be_heard_any_more() -> None:
    """Because it is paused."""
    assert paused().confirmed(interruptible=False, now=10.1) is Action.CUT


def test_a_suspicion_taken_back_resumes() -> None:
    barge_in = paused()

    assert barge_in.rejected() is Action.RESUME
    assert (barge_in.state, barge_in.deadline) == (IDLE, None)
    assert barge_in.rejected() is None


def test_a_detector_that_falls_silent_cannot_keep_the_assistant_paused() -> None:
    barge_in = paused()

    assert barge_in.expire(10.0 + PAUSE_MAX_S - 0.001) is None
    assert barge_in.expire(10.0 + PAUSE_MAX_S) is Action.RESUME
    assert barge_in.expire(99.0) is None


@pytest.mark.parametrize("rules", [BOTH, WORDS])
def test_who_may_not_decide_alone_waits_paused_and_not_for_ever(rules: BargeInRules) -> None:
    barge_in = waiting(rules)

    assert (barge_in.state, barge_in.deadline) == (WAITING, 10.0 + rules.agree_s)
    assert barge_in.rejected() is None
    assert barge_in.confirmed(interruptible=True, now=10.5) is None
    assert barge_in.expire(10.0 + rules.agree_s) is Action.RESUME


@pytest.mark.parametrize("rules", [BOTH, WORDS])
def test_certainty_without_a_suspicion_pauses_first_then_too(rules: BargeInRules) -> None:
    barge_in = BargeIn(rules)

    assert barge_in.confirmed(interruptible=True, now=1) is Action.PAUSE
    assert barge_in.state is WAITING


@pytest.mark.parametrize(
    ("rules", "words", "action"), [(WORDS, 1, None), (WORDS, 2, Action.CUT), (WORDS, 9, Action.CUT), (BOTH, 9, None)]
)
def test_words_cut_when_there_are_enough_and_words_are_asked_for(
    rules: BargeInRules, words: int, action: Action | None
) -> None:
    assert waiting(rules).heard_words(words, 10.5) is action


@pytest.mark.parametrize("rules", [LOCAL, WORDS])
def test_words_alone_cut_nothing(rules: BargeInRules) -> None:
    assert BargeIn(rules).heard_words(9, 10) is None
    assert paused(rules).heard_words(9, 10) is None


@pytest.mark.parametrize("rules", [LOCAL, BOTH, WORDS, ASSISTANT])
def test_the_assistants_word_cuts_whoever_else_decides(rules: BargeInRules) -> None:
    assert BargeIn(rules).interrupted(1) is Action.CUT


def test_the_assistants_word_cuts_from_every_state() -> None:
    assert paused().interrupted(10.1) is Action.CUT
    assert waiting().interrupted(10.1) is Action.CUT


def test_when_interrupting_is_off_not_even_the_assistants_word_cuts() -> None:
    assert BargeIn(OFF).interrupted(1) is None


def test_shortly_after_a_cut_all_is_the_same_interruption() -> None:
    barge_in = BargeIn(LOCAL)
    barge_in.interrupted(10.0)

    assert barge_in.interrupted(10.29) is None
    assert barge_in.likely(interruptible=True, now=10.29) is None
    assert barge_in.confirmed(interruptible=True, now=10.29) is None
    assert barge_in.likely(interruptible=True, now=10.31) is Action.PAUSE


# -- with a classifier


def asking(policy: Policy = "local", *, suspected: bool = True) -> BargeIn:
    barge_in = BargeIn(BargeInRules(policy=policy, ask_s=ASK_S))
    if suspected:
        barge_in.likely(interruptible=True, now=10.0)
    assert barge_in.confirmed(interruptible=True, now=10.1) is Action.ASK
    assert (barge_in.state, barge_in.deadline) == (ASKING, 10.1 + ASK_S)
    return barge_in


@pytest.mark.parametrize("suspected", [True, False])
def test_a_classifier_is_asked_before_anything_is_cut(suspected: bool) -> None:
    barge_in = asking(suspected=suspected)

    assert barge_in.confirmed(interruptible=True, now=10.12) is None
    assert barge_in.judged(interrupts=True, now=10.12) is Action.CUT
    assert barge_in.judged(interrupts=True, now=10.13) is None, "it has been answered"


def test_what_it_takes_for_no_interruption_costs_a_pause() -> None:
    barge_in = asking()

    assert barge_in.judged(interrupts=False, now=10.12) is Action.RESUME
    assert barge_in.interrupted(10.3) is Action.CUT, "the assistant's word cuts all the same"


@pytest.mark.parametrize("says", ["yes", "nothing"])
def test_when_it_is_late_it_is_as_if_there_were_none(says: str) -> None:
    local, both = asking(), asking("both")
    for barge_in, action in ((local, Action.CUT), (both, None)):
        if says == "yes":
            assert barge_in.judged(interrupts=True, now=10.12) is action
        else:
            assert barge_in.expire(10.1 + ASK_S) is action
    assert (local.state, both.state) == (IDLE, WAITING)


def test_while_it_thinks_the_assistants_word_cuts() -> None:
    assert asking().interrupted(10.11) is Action.CUT


def test_it_is_not_asked_when_there_is_nothing_to_interrupt() -> None:
    barge_in = BargeIn(BargeInRules(ask_s=ASK_S))

    assert barge_in.confirmed(interruptible=False, now=1) is None


def test_an_agreement_ends_the_wait_and_nothing_is_lost() -> None:
    barge_in = waiting()

    assert barge_in.agreed() is Action.RESUME
    assert (barge_in.state, barge_in.deadline) == (IDLE, None)


def test_what_follows_an_agreement_is_another_interruption() -> None:
    """However long `debounce_s` is: what was cut plays again by now."""
    barge_in = BargeIn(BargeInRules(debounce_s=2.0))
    barge_in.confirmed(interruptible=True, now=10.0)
    assert barge_in.agreed() is None

    assert barge_in.interrupted(10.6) is Action.CUT


def test_what_was_no_agreement_after_all_cuts_again() -> None:
    barge_in = BargeIn(LOCAL)
    barge_in.agreed()

    assert barge_in.disagreed(11.0) is Action.CUT
    assert barge_in.interrupted(11.1) is None, "it is the same interruption"


class AnyOrder(RuleBasedStateMachine):
    """Pauses and resumptions alternate, a pause always has a deadline, and cuts keep their distance."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 10.0
        self.paused = False
        self.cuts = [-100.0]
        self.barge_in = BargeIn(LOCAL)

    @rule(
        policy=st.sampled_from(["local", "both", "assistant"]),
        words=st.integers(0, 2),
        on=st.booleans(),
        ask_s=st.sampled_from([None, ASK_S]),
    )
    @precondition(lambda self: self.barge_in.state is IDLE and not self.paused and self.cuts == [-100.0])
    def configure(self, policy: Policy, words: int, *, on: bool, ask_s: float | None) -> None:
        self.barge_in = BargeIn(BargeInRules(on, policy, words, ask_s=ask_s))

    def follow(self, action: Action | None) -> None:
        match action:
            case Action.PAUSE:
                assert not self.paused
                self.paused = True
            case Action.RESUME:
                assert self.paused
                self.paused = False
            case Action.ASK:
                self.paused = True
            case Action.CUT:
                assert self.now - self.cuts[-1] >= 0.3
                self.cuts.append(self.now)
                self.paused = False
            case Action.CLEAR:
                assert not self.paused

    @rule(s=st.floats(0, 2))
    def wait(self, s: float) -> None:
        until = self.now + s
        if self.barge_in.deadline is not None and self.barge_in.deadline <= until:
            self.now = self.barge_in.deadline
            asked = self.barge_in.state is ASKING
            self.follow(self.barge_in.expire(self.now))
            assert not self.paused or asked, "after the classifier it may be the assistant's turn to agree"
        self.now = until

    @rule(interruptible=st.booleans())
    def likely(self, *, interruptible: bool) -> None:
        self.follow(self.barge_in.likely(interruptible=interruptible, now=self.now))

    @rule(interruptible=st.booleans(), lingers=st.booleans())
    def confirmed(self, *, interruptible: bool, lingers: bool) -> None:
        self.follow(self.barge_in.confirmed(interruptible=interruptible, lingers=lingers, now=self.now))

    @rule()
    def rejected(self) -> None:
        self.follow(self.barge_in.rejected())

    @rule()
    def interrupted(self) -> None:
        self.follow(self.barge_in.interrupted(self.now))

    @rule(interrupts=st.booleans())
    def judged(self, *, interrupts: bool) -> None:
        self.follow(self.barge_in.judged(interrupts=interrupts, now=self.now))

    @rule()
    def agreed(self) -> None:
        self.cuts.append(-100.0)
        self.follow(self.barge_in.agreed())

    @rule(count=st.integers(0, 3))
    def words(self, count: int) -> None:
        self.follow(self.barge_in.heard_words(count, self.now))

    @invariant()
    def paused_has_a_deadline(self) -> None:
        assert self.paused == (self.barge_in.state is not IDLE) == (self.barge_in.deadline is not None)


TestAnyOrder = AnyOrder.TestCase
