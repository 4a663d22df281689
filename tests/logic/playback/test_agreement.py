"""The state table row by row, what counts as an agreement, then the promises under any sequence of events."""

import unicodedata
from collections.abc import Callable, Sequence
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from relay.logic.playback.agreement import (
    AGREEMENT_WORDS,
    LOOK_AGAIN_S,
    REACTION_DUE_S,
    REACTION_MARGIN,
    REACTION_MAX_S,
    WORDS_MIN_S,
    Agreement,
    AgreementRules,
    AgreementState,
    Outcome,
    Phrases,
    ReactionDelays,
)

RULES = AgreementRules()
OFF = AgreementRules(evidence="off")
SILENCE = AgreementRules(evidence="silence")
IDLE, SPEAKING, QUIET, RETURNED = AgreementState
ONSET = 10.0
END = ONSET + 0.4
KNOWN = END + RULES.wait_s


def silenced(rules: AgreementRules = RULES) -> Agreement:
    """The caller has begun to speak, and that has silenced the assistant."""
    agreement = Agreement(rules)
    agreement.spoke(ONSET)
    agreement.silenced(ONSET + 0.1)
    return agreement


def quiet(rules: AgreementRules = RULES, *, words: str | None = None) -> Agreement:
    """The caller has said something short, and the detector has noticed its end."""
    agreement = silenced(rules)
    if words is not None:
        agreement.words(words, ONSET + 0.35)
    agreement.ended(END - ONSET, END, END + 0.26)
    return agreement


def returned() -> Agreement:
    agreement = quiet(words="uh-huh")
    assert agreement.expire(KNOWN, goes_on=True) is Outcome.BRING_BACK
    return agreement


# -- what an agreement is


@pytest.mark.parametrize(
    "text",
    ["uh-huh", "Uh huh.", "Mm-hmm", "mmhmm", "Yes.", "Okay, yes!", "OK", "All right.", "I see. Got it.", "mm, mm, mm"],
)
def test_agreements_are_known_however_they_are_spelled(text: str) -> None:
    assert Phrases(AGREEMENT_WORDS).make_up(text)


@pytest.mark.parametrize(
    "text",
    [
        *("stop", "Stop.", "no", "No no.", "wait", "hold on", "hey", "hello?", "what", "one", "7", "four two", "Anna"),
        *("yes but", "okay stop", "uh-huh, wait", "I see a problem", "not right", "yesterday", "so", "uh", "", "..."),
        "yes " * 20,
    ],
)
def test_whatever_else_is_said_is_none(text: str) -> None:
    assert not Phrases(AGREEMENT_WORDS).make_up(text)


def test_phrases_may_be_of_any_language_and_none_at_all() -> None:
    assert Phrases(["ja", "はい", "да"]).make_up("Ja, да, はい。")
    assert not Phrases(["ja"]).make_up("nein")
    assert not Phrases([]).make_up("yes")
    assert not Phrases(["..."]).make_up("...")


@pytest.mark.parametrize(("phrase", "other"), [("हाँ", "हूँ"), ("हाँ", "है"), ("ครับ", "ครบ"), ("sí", "sì")])
def test_vowels_and_accents_that_are_marks_tell_words_apart(phrase: str, other: str) -> None:
    assert Phrases([phrase]).make_up(f"{phrase}.")
    assert not Phrases([phrase]).make_up(other)


def test_a_word_is_the_same_whichever_way_its_marks_are_written() -> None:
    assert Phrases([unicodedata.normalize("NFC", "sí")]).make_up(unicodedata.normalize("NFD", "Sí!"))


def test_phrases_that_are_parts_of_each_other_are_compared_at_once() -> None:
    """To try all ways of splitting this text would take hours, in which no call goes on."""
    phrases = Phrases(["m", "mm", "mmm"])

    assert phrases.make_up("m" * 40)
    assert not phrases.make_up("m" * 39 + "x")


# -- the table


def test_an_agreement_brings_the_assistant_back_when_nothing_has_followed_it_for_the_wait() -> None:
    agreement = quiet(words="Uh-huh.")
    deadline = agreement.deadline
    assert deadline == KNOWN
    assert agreement.expire(KNOWN - 0.001, goes_on=True) is None

    assert agreement.expire(KNOWN, goes_on=True) is Outcome.BRING_BACK
    assert (agreement.state, agreement.deadline) == (RETURNED, None)


def test_words_that_come_after_the_wait_bring_it_back_at_once() -> None:
    agreement = quiet()
    assert agreement.deadline is None, "only words can tell"

    assert agreement.words("uh-huh", KNOWN + 0.3) is Outcome.BRING_BACK


def test_its_words_are_enough_even_at_the_end_of_what_the_assistant_says() -> None:
    assert quiet(words="yes").expire(KNOWN, goes_on=False) is Outcome.BRING_BACK


@pytest.mark.parametrize("rules", [RULES, SILENCE])
@pytest.mark.parametrize("words", ["stop", "no", "five", "okay wait"])
def test_other_words_never_bring_it_back_whatever_follows(words: str, rules: AgreementRules) -> None:
    agreement = quiet(rules)
    agreement.words(words, END + 0.3)
    agreement.words("okay", END + 0.4)

    assert agreement.expire(END + 9, goes_on=True) is None
    assert (agreement.state, agreement.deadline) == (IDLE, None)


def test_words_about_what_was_said_before_do_not_bring_it_back() -> None:
    """The transcript of the last answer, while the caller says stop."""
    agreement = silenced()
    agreement.words("okay", ONSET + 0.2)
    agreement.ended(0.4, END, END + 0.26)

    assert agreement.expire(KNOWN, goes_on=True) is None


def test_words_of_the_first_agreement_are_none_of_what_is_said_behind_it() -> None:
    """Uh-huh ... stop, of which the second is not recognised yet."""
    agreement = quiet(words="uh-huh")
    agreement.spoke(END + 0.4)
    agreement.ended(0.3, END + 0.7, END + 0.96)

    assert agreement.expire(END + 0.7 + RULES.wait_s, goes_on=True) is None


def test_speech_that_is_too_long_is_no_agreement() -> None:
    agreement = silenced()
    agreement.words("okay", ONSET + 0.5)
    agreement.ended(RULES.longest_s + 0.001, ONSET + 0.801, ONSET + 1.06)

    assert agreement.state is IDLE


def test_what_may_be_speech_again_stops_the_wait_and_its_rejection_ends_that() -> None:
    agreement = quiet(words="uh-huh")
    agreement.speaks()
    assert agreement.expire(KNOWN, goes_on=True) is None
    agreement.rejected(KNOWN + 0.2)
    assert agreement.deadline is not None

    assert agreement.expire(agreement.deadline, goes_on=True) is Outcome.BRING_BACK


def test_two_agreements_in_a_row_are_one() -> None:
    agreement = quiet(words="uh-huh")
    agreement.spoke(END + 0.4)
    agreement.words("uh-huh uh-huh", END + 0.8)
    agreement.ended(0.4, END + 0.8, END + 1.06)
    assert agreement.expire(END + 1.06, goes_on=True) is None

    assert agreement.expire(END + 0.8 + RULES.wait_s, goes_on=True) is Outcome.BRING_BACK


def test_once_it_is_back_other_words_silence_it_again_once() -> None:
    agreement = returned()
    assert agreement.words("uh-huh", KNOWN + 0.1) is None
    assert agreement.words("uh-huh stop", KNOWN + 0.2) is Outcome.CUT_AGAIN

    assert agreement.words("stop", KNOWN + 0.3) is None
    assert agreement.state is IDLE


@pytest.mark.parametrize("make", [silenced, quiet, returned])
def test_when_others_have_decided_it_is_over(make: Callable[[], Agreement]) -> None:
    agreement = make()
    agreement.over()

    assert agreement.words("uh-huh", 20) is agreement.words("stop", 20) is agreement.expire(20, goes_on=True) is None
    assert (agreement.state, agreement.deadline) == (IDLE, None)


def test_switched_off_nothing_brings_it_back() -> None:
    agreement = quiet(OFF, words="uh-huh")

    assert agreement.expire(KNOWN + 9, goes_on=True) is None
    assert not agreement.is_agreement("uh-huh")


def test_speech_that_silenced_nobody_is_not_looked_at() -> None:
    agreement = Agreement(RULES)
    agreement.spoke(ONSET)
    agreement.ended(0.4, END, END + 0.26)

    assert agreement.words("uh-huh", END + 0.3) is agreement.expire(KNOWN, goes_on=True) is None


# -- the lack of words


def heard_before(agreement: Agreement, *delays_s: float) -> Agreement:
    """The assistant has transcribed earlier speech after these delays."""
    for n, delay_s in enumerate(delays_s):
        agreement.spoke(-100.0 + 10 * n)
        agreement.words("something", -100.0 + 10 * n + delay_s)
    return agreement


def short_speech(agreement: Agreement) -> Agreement:
    agreement.spoke(ONSET)
    agreement.silenced(ONSET + 0.1)
    agreement.ended(END - ONSET, END, END + 0.26)
    return agreement


@pytest.mark.parametrize(
    ("delays_s", "known_at"), [((0.4,), ONSET + REACTION_DUE_S), ((0.4, 1.2, 0.5), ONSET + 1.2 * REACTION_MARGIN)]
)
def test_when_words_should_have_come_and_did_not_it_was_an_agreement(
    delays_s: Sequence[float], known_at: float
) -> None:
    agreement = short_speech(heard_before(Agreement(RULES), *delays_s))
    assert agreement.deadline == pytest.approx(known_at)
    assert agreement.expire(known_at - 0.001, goes_on=True) is None

    assert agreement.expire(known_at + 0.001, goes_on=True) is Outcome.BRING_BACK


def test_after_long_speech_words_are_due_before_the_wait_is_over() -> None:
    agreement = heard_before(Agreement(RULES), 0.4)
    agreement.spoke(ONSET)
    agreement.silenced(ONSET + 0.1)
    agreement.ended(0.7, ONSET + 0.7, ONSET + 0.96)

    assert agreement.deadline == ONSET + 0.7 + RULES.wait_s


def test_of_an_assistant_that_never_transcribed_the_lack_of_words_says_nothing() -> None:
    agreement = quiet()

    assert agreement.expire(KNOWN + 9, goes_on=True) is None
    assert agreement.state is QUIET


@pytest.mark.parametrize("rules", [RULES, SILENCE])
def test_without_words_an_assistant_that_has_fallen_silent_is_not_brought_back_unless_it_goes_on(
    rules: AgreementRules,
) -> None:
    agreement = short_speech(heard_before(Agreement(rules), 0.4))
    late = KNOWN + 0.3
    assert agreement.expire(late, goes_on=False) is None
    assert agreement.deadline == late + LOOK_AGAIN_S

    assert agreement.expire(late + LOOK_AGAIN_S, goes_on=True) is Outcome.BRING_BACK


def test_with_evidence_silence_the_assistant_need_not_transcribe() -> None:
    assert quiet(SILENCE).expire(KNOWN, goes_on=True) is Outcome.BRING_BACK


def test_an_assistant_that_never_transcribes_and_does_not_stop_as_it_did_before_takes_it_for_an_agreement() -> None:
    agreement = Agreement(RULES)
    agreement.spoke(-10.0)
    agreement.interrupted(-9.5)
    short_speech(agreement)
    due_at = ONSET + REACTION_DUE_S
    assert agreement.expire(due_at - 0.001, goes_on=True) is None

    assert agreement.expire(due_at + 0.001, goes_on=True) is Outcome.BRING_BACK


def test_of_an_assistant_that_transcribes_only_the_lack_of_words_counts() -> None:
    """Its word that it was interrupted may take longer."""
    agreement = heard_before(Agreement(RULES), 0.4)
    agreement.spoke(-10.0)
    agreement.interrupted(-8.5)

    assert short_speech(agreement).deadline == ONSET + REACTION_DUE_S


def test_speech_that_ends_before_it_silences_anybody_may_be_an_agreement() -> None:
    agreement = Agreement(RULES)
    agreement.spoke(ONSET)
    agreement.words("uh-huh", ONSET + 0.4)
    agreement.ended(END - ONSET, END, END + 0.26)
    agreement.silenced(END + 0.3)
    assert agreement.deadline == KNOWN

    assert agreement.expire(KNOWN, goes_on=True) is Outcome.BRING_BACK


@pytest.mark.parametrize("event", ["long", "words", "speaks"])
def test_what_is_known_of_speech_before_it_silences_anybody_is_not_forgotten(event: str) -> None:
    agreement = Agreement(SILENCE)
    agreement.spoke(ONSET)
    if event == "words":
        agreement.words("stop", ONSET + 0.35)
    agreement.ended(2.0 if event == "long" else END - ONSET, END, END + 0.26)
    if event == "speaks":
        agreement.speaks()
    agreement.silenced(END + 0.3)

    assert agreement.state is (SPEAKING if event == "speaks" else IDLE)
    assert agreement.deadline is None


def test_words_that_take_too_long_teach_nothing() -> None:
    delays = ReactionDelays()
    delays.spoke(1.0)
    delays.reacted(1.0 + REACTION_MAX_S + 0.01)

    assert delays.due_at(5.0) is None


def test_words_are_about_the_first_of_the_sounds_before_them() -> None:
    delays = ReactionDelays(WORDS_MIN_S)
    delays.spoke(1.0)
    delays.spoke(1.5)
    delays.reacted(1.2)
    delays.reacted(1.9)
    delays.reacted(2.5)

    assert delays.due_at(5.0) == pytest.approx(5.0 + 0.9 * REACTION_MARGIN)


def test_an_odd_delay_is_forgotten_after_some_more() -> None:
    agreement = short_speech(heard_before(Agreement(RULES), 1.9, *[0.4] * 5))

    assert agreement.deadline == ONSET + REACTION_DUE_S


# -- any sequence of events

TEXTS = st.sampled_from(["uh-huh", "yes okay", "stop", "no", "", "seven"])


class AnyOrder(RuleBasedStateMachine):
    """Words that are no agreement, and speech that is long, never bring the assistant back; nor does speech that has
    not ended for as long as the wait. It is brought back once, and silenced again only then."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0
        self.agreement = Agreement(RULES)
        self.last_speech_at = 0.0
        self.spoiled = True
        self.back = False
        self.speaking = False

    def follow(self, outcome: Outcome | None) -> None:
        match outcome:
            case Outcome.BRING_BACK:
                assert not self.spoiled
                assert not self.speaking
                assert not self.back
                assert self.now >= self.last_speech_at + RULES.wait_s
                self.back = True
            case Outcome.CUT_AGAIN:
                assert self.back
                self.back = False

    @rule(evidence=st.sampled_from(["off", "words", "silence"]))
    @precondition(lambda self: self.spoiled)
    def use(self, evidence: Literal["off", "words", "silence"]) -> None:
        self.agreement = Agreement(AgreementRules(evidence))
        self.back = False

    @rule(s=st.floats(0, 1.5), goes_on=st.booleans())
    def wait(self, s: float, *, goes_on: bool) -> None:
        until = self.now + s
        for _ in range(30):
            deadline = self.agreement.deadline
            if deadline is None or deadline > until:
                break
            self.now = max(self.now, deadline)
            self.follow(self.agreement.expire(self.now, goes_on=goes_on))
            later = self.agreement.deadline
            assert later is None or later > self.now, "or it would look again and again at once"
        self.now = until

    @rule(silences=st.booleans())
    @precondition(lambda self: not self.speaking)
    def speak(self, *, silences: bool) -> None:
        self.agreement.spoke(self.now - 0.1)
        self.speaking = True
        self.spoiled = False
        if silences:
            self.silence()

    @rule()
    @precondition(lambda self: self.agreement.state is IDLE and not self.spoiled)
    def silence(self) -> None:
        """A classifier was asked first: by now the speech may have ended."""
        self.agreement.silenced(self.now)
        self.back = False

    @rule(spoken_s=st.floats(0.1, 1.5))
    @precondition(lambda self: self.speaking)
    def end(self, spoken_s: float) -> None:
        self.now += spoken_s
        self.speaking = False
        self.last_speech_at = self.now
        if spoken_s > RULES.longest_s:
            self.spoiled = True
        self.now += 0.26
        self.agreement.ended(spoken_s, self.last_speech_at, self.now)

    @rule()
    def interrupted(self) -> None:
        self.agreement.interrupted(self.now)

    @rule(text=TEXTS)
    def words(self, text: str) -> None:
        other = bool(text) and not Phrases(AGREEMENT_WORDS).make_up(text)
        self.follow(self.agreement.words(text, self.now))
        if other:
            self.spoiled = True

    @rule()
    def over(self) -> None:
        self.agreement.over()
        self.spoiled, self.back = True, False

    @rule()
    def suspicion(self) -> None:
        self.agreement.speaks()
        if not self.speaking:
            self.agreement.rejected(self.now)

    @invariant()
    def only_quiet_has_a_deadline(self) -> None:
        assert self.agreement.deadline is None or self.agreement.state is QUIET


TestAnyOrder = AnyOrder.TestCase


@given(st.text(max_size=60), st.lists(st.text(max_size=10), max_size=5))
def test_no_text_and_no_phrase_is_too_odd(text: str, phrases: list[str]) -> None:
    assert Phrases([*phrases, text]).make_up(text) in {True, False}
