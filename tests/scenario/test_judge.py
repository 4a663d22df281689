"""Each expectation is met by a recording that keeps it and not by one that breaks it, with figure and reason."""

from collections.abc import Sequence

import numpy as np
import pytest

from relay.media.frames import TELEPHONE
from relay.scenario.hearing import Hearing
from relay.scenario.judge import CallerMoment, HeardExpectation, Judgement, judge
from relay.scenario.sounds import CallSound, sound_of
from relay.scenario.step import AnswerWithin, NoCutFor, RestWithin, SilenceFor, SilenceWithin, SpeechFor
from relay.standin.phrases import spoken
from relay.standin.sound import Samples, lay_out, mulaw_to_samples, tone

SPEECH = sound_of(spoken("description", TELEPHONE))
SENTENCE = sound_of(SPEECH.mulaw[: 12 * 8000])
QUESTION = mulaw_to_samples(spoken("question", TELEPHONE))
CLICK = tone(440, 0.06, 8000)
MOMENT = CallerMoment(5.0, 6.0)
"""The caller spoke from the fifth to the sixth second."""
LONG_AFTER_S = 20.0


def words(from_s: float, to_s: float) -> Samples:
    return SPEECH.samples[round(from_s * 8000) : round(to_s * 8000)]


def tail(until_s: float) -> tuple[float, Samples]:
    return until_s, np.zeros(0, np.int16)


BEFORE = (1.0, words(0, 4))
"""The assistant spoke until the caller did."""
Pieces = Sequence[tuple[float, Samples]]


def judged(
    expected: HeardExpectation, *pieces: tuple[float, Samples], until_s: float = LONG_AFTER_S, since_s: float = 6.0
) -> Judgement | None:
    return judge(expected, Hearing(lay_out([*pieces, tail(until_s)], 8000)), MOMENT, since_s)


KEPT: dict[str, tuple[HeardExpectation, Pieces, float | None]] = {
    "silent in time": (SilenceWithin(0.4), [(1.0, words(0, 4.2))], 0.2),
    "silent already": (SilenceWithin(0.4), [(1.0, words(0, 3))], 0.0),
    "silent, though words came later": (SilenceWithin(0.4), [(1.0, words(0, 4.2)), (7.0, QUESTION)], 0.2),
    "nothing for two seconds": (SilenceFor(2.0), [BEFORE], 2.0),
    "a silence before long": (SilenceFor(1.0, 5.0), [(1.0, words(0, 6))], 2.0),
    "speech": (SpeechFor(1.0, 5.0), [(7.0, words(0, 3))], 2.0),
    "an answer": (AnswerWithin(2.0), [BEFORE, (7.5, QUESTION)], 1.5),
    "the first words of a call": (AnswerWithin(2.0), [(7.5, QUESTION)], 1.5),
    "an answer that is not the sentence": (AnswerWithin(2.0, SENTENCE), [BEFORE, (7.5, QUESTION)], 1.5),
    "an answer behind a click": (AnswerWithin(3.0), [BEFORE, (6.5, CLICK), (8.0, QUESTION)], 2.0),
    "an answer before the caller was done": (AnswerWithin(2.0), [BEFORE, (5.5, QUESTION)], 0.0),
    "the rest": (RestWithin(SENTENCE, 0.7), [BEFORE, (6.5, words(4, 8))], 0.5),
    "the rest, from some words before": (RestWithin(SENTENCE, 0.7), [BEFORE, (6.5, words(3, 8))], 0.5),
    "the rest, without a pause": (RestWithin(SENTENCE, 0.7), [(1.0, words(0, 9))], 0.0),
    "no cut": (NoCutFor(3.0), [(1.0, words(0, 12))], None),
    "a pause is no cut": (NoCutFor(3.0, SENTENCE), [BEFORE, (5.8, words(4, 8))], 0.8),
    "nothing was said yet": (NoCutFor(3.0, SENTENCE), [(7.0, words(0, 8))], None),
}
BROKEN: dict[str, tuple[HeardExpectation, Pieces, str]] = {
    "silent too late": (SilenceWithin(0.4), [(1.0, words(0, 4.7))], "silent after 700 ms"),
    "not silent at all": (SilenceWithin(0.4), [(1.0, words(0, 20))], "still heard after"),
    "something in two seconds": (SilenceFor(2.0), [(7.0, QUESTION)], "something was heard after 1000 ms"),
    "still speaking": (SilenceFor(2.0), [(1.0, words(0, 9))], "something was heard after 0 ms"),
    "no silence before long": (SilenceFor(1.0, 5.0), [(1.0, words(0, 18))], "no such silence in 5000 ms"),
    "too little speech": (SpeechFor(4.0, 5.0), [(7.0, words(0, 1))], "no more than"),
    "no speech": (SpeechFor(0.02, 5.0), [BEFORE], "no more than 0 ms was heard"),
    "a late answer": (AnswerWithin(2.0), [BEFORE, (8.5, QUESTION)], "an answer after 2500 ms"),
    "no answer": (AnswerWithin(2.0), [BEFORE], "nothing new was heard"),
    "a click for an answer": (AnswerWithin(2.0), [BEFORE, (7.0, CLICK)], "nothing new was heard"),
    "the assistant talks on": (AnswerWithin(2.0), [(1.0, words(0, 3.7)), (4.7, tone(99, 14, 8000))], "nothing new"),
    "the old sentence anew": (AnswerWithin(2.0), [BEFORE, (7.0, words(0, 4))], "the old sentence was heard"),
    "the old sentence goes on": (AnswerWithin(2.0, SENTENCE), [BEFORE, (7.0, words(4, 8))], "the old sentence was"),
    "the rest too late": (RestWithin(SENTENCE, 0.7), [BEFORE, (8.0, words(4, 8))], "the rest after 2000 ms"),
    "no rest": (RestWithin(SENTENCE, 0.7), [BEFORE], "nothing was heard"),
    "an answer for the rest": (RestWithin(SENTENCE, 0.7), [BEFORE, (6.5, QUESTION)], "something else was heard"),
    "words are missing": (RestWithin(SENTENCE, 0.7), [BEFORE, (6.5, words(4.6, 8))], "of the sentence are missing"),
    "anew for the rest": (RestWithin(SENTENCE, 0.7), [BEFORE, (6.5, words(0, 4))], "it began anew"),
    "no sentence before": (RestWithin(SENTENCE, 0.7), [(1.0, QUESTION)], "the sentence was not heard before"),
    "cut": (NoCutFor(3.0), [BEFORE], "silent for"),
    "cut, and back too late": (NoCutFor(3.0, SENTENCE), [BEFORE, (6.5, words(4, 8))], "silent for 1500 ms"),
    "cut, and an answer": (NoCutFor(3.0, SENTENCE), [BEFORE, (5.3, tone(440, 5, 8000))], "something else"),
    "cut, and anew": (NoCutFor(3.0, SENTENCE), [BEFORE, (5.3, words(0, 5))], "it began anew"),
    "words lost": (NoCutFor(3.0, SENTENCE), [BEFORE, (5.3, words(4.6, 9))], "of the sentence are missing"),
    "nobody spoke": (NoCutFor(3.0), [(1.0, words(0, 2))], "the assistant was not heard"),
}


@pytest.mark.parametrize("name", KEPT)
def test_an_expectation_is_met_with_what_was_measured(name: str) -> None:
    expected, pieces, measured_s = KEPT[name]
    judgement = judged(expected, *pieces)

    assert judgement is not None
    assert (judgement.passed, judgement.why) == (True, "")
    if measured_s is not None:
        assert judgement.measured_s == pytest.approx(measured_s, abs=0.08)


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_expectation_says_why(name: str) -> None:
    expected, pieces, why = BROKEN[name]
    judgement = judged(expected, *pieces)

    assert judgement is not None
    assert not judgement.passed
    assert why in judgement.why


@pytest.mark.parametrize("name", [*KEPT, *BROKEN])
def test_as_long_as_more_can_change_it_nothing_is_judged_and_then_it_stands(name: str) -> None:
    """Whenever one looks, the answer is none or the last one."""
    expected, pieces, _ = {**KEPT, **BROKEN}[name]
    whole = lay_out([*pieces, tail(LONG_AFTER_S)], 8000)
    verdicts = [
        found.passed
        for until_s in np.arange(6.0, LONG_AFTER_S)
        if (found := judge(expected, Hearing(whole[: round(until_s * 8000)]), MOMENT, 6.0)) is not None
    ]

    assert set(verdicts) == {name in KEPT}
    assert len(verdicts) >= LONG_AFTER_S - 6.0 - 5.0 - 3.0, "it took longer than promised"


def test_a_figure_that_is_shown_as_the_limit_is_within_it() -> None:
    moment = CallerMoment(5.0 - 1e-9, 6.0)
    hearing = Hearing(lay_out([(1.0, tone(440, 4.4, 8000)), tail(9.0)], 8000))

    found = judge(SilenceWithin(0.4), hearing, moment, 6.0)

    assert found is not None
    assert found.passed
    assert found.measured_s == pytest.approx(0.4)


def test_a_reference_may_be_any_recording() -> None:
    sentence = CallSound(spoken("question", TELEPHONE), 0.0, 2.0)
    hearing = Hearing(lay_out([(4.0, QUESTION[:8000]), (6.2, QUESTION[8000:]), tail(9.0)], 8000))
    found = judge(RestWithin(sentence, 0.7), hearing, MOMENT, 6.0)

    assert found is not None
    assert found.passed
