"""What is heard of a sentence is found, with what is missing and what comes twice; nothing else is taken for it."""

import numpy as np
import pytest
import soxr

from relay.media.frames import TELEPHONE
from relay.scenario.passages import Passage, find_passages, missing_s, repeated_s
from relay.standin.phrases import spoken
from relay.standin.sound import Samples, mulaw_to_samples, samples_to_mulaw, tone

SENTENCE = mulaw_to_samples(spoken("description", TELEPHONE))[: 8 * 8000]


def part(from_s: float, to_s: float) -> Samples:
    return SENTENCE[round(from_s * 8000) : round(to_s * 8000)]


def quiet(seconds: float) -> Samples:
    return np.zeros(round(seconds * 8000), np.int16)


def through_another_rate(samples: Samples) -> Samples:
    """To 16 kHz, half a sample later, and back through mu-law, as through a relay."""
    fine = soxr.resample(samples.astype(np.float32), 8000, 16000)
    coarse = soxr.resample(np.concatenate([np.zeros(1, np.float32), fine]), 16000, 8000)
    return mulaw_to_samples(samples_to_mulaw(np.clip(coarse, -32768, 32767).astype(np.int16)))


def found(*pieces: Samples) -> list[Passage]:
    return find_passages(through_another_rate(np.concatenate(pieces)), SENTENCE)


def test_a_sentence_that_is_heard_as_it_is_is_one_passage() -> None:
    (passage,) = found(quiet(0.5), SENTENCE)

    assert passage.heard_s - passage.sentence_s == pytest.approx(0.5, abs=0.005)
    assert passage.sentence_end_s - passage.sentence_s > 7.5


def test_a_pause_is_a_seam_at_which_nothing_is_missing_or_repeated() -> None:
    passages = found(part(0, 3), quiet(2), part(3, 6))

    assert passages[0].heard_end_s == pytest.approx(3, abs=0.06)
    assert passages[-1].heard_s == pytest.approx(5, abs=0.06)
    assert missing_s(passages, SENTENCE) <= 0.1
    assert repeated_s(passages) <= 0.02


def test_words_that_were_left_out_are_missing() -> None:
    passages = found(part(0, 2.5), quiet(1), part(3, 6))

    assert missing_s(passages, SENTENCE) == pytest.approx(0.5, abs=0.1)


def test_a_sentence_that_goes_back_is_heard_twice() -> None:
    passages = found(part(0, 3), quiet(1), part(2.5, 6))

    assert repeated_s(passages) == pytest.approx(0.5, abs=0.06)
    assert missing_s(passages, SENTENCE) == 0


def test_a_sentence_that_begins_anew_goes_back_by_all_that_was_heard() -> None:
    assert repeated_s(found(part(0, 5), part(0, 3))) == pytest.approx(5, abs=0.3)


@pytest.mark.parametrize(
    "other",
    [
        mulaw_to_samples(spoken("greeting", TELEPHONE)),
        mulaw_to_samples(spoken("question", TELEPHONE)),
        tone(440, 2.0, 8000),
        np.random.default_rng(1).integers(-3000, 3000, 16000).astype(np.int16),
        quiet(2),
        quiet(0),
    ],
    ids=["same voice", "other voice", "tone", "noise", "silence", "nothing"],
)
def test_nothing_else_is_taken_for_the_sentence(other: Samples) -> None:
    assert found(other) == []


def test_a_syllable_that_stands_twice_in_a_sentence_is_no_step_in_it() -> None:
    """The sentence begins with a word that comes again 15 s later."""
    whole = mulaw_to_samples(spoken("description", TELEPHONE))
    passages = find_passages(through_another_rate(np.concatenate([quiet(0.3), whole[:32000]])), whole)

    assert repeated_s(passages) < 0.1
    assert passages[0].heard_s == pytest.approx(0.3, abs=0.06)
    assert passages[-1].sentence_end_s == pytest.approx(4, abs=0.3)


@pytest.mark.parametrize("pause_s", [1.0, 1.005, 1.01, 1.015])
@pytest.mark.parametrize("back_s", [0.0, 2.0, 2.3, 2.6, 3.0])
def test_a_sentence_is_recognised_from_the_first_sound_on_with_which_it_goes_on(back_s: float, pause_s: float) -> None:
    """Though a short piece of it is found at other places, too."""
    whole = mulaw_to_samples(spoken("description", TELEPHONE))
    heard = np.concatenate([part(0, 3), quiet(pause_s), part(back_s, back_s + 1)])
    later = [it for it in find_passages(through_another_rate(heard), whole) if it.heard_end_s > 4.0]

    assert later[0].heard_s == pytest.approx(3 + pause_s, abs=0.07)
    assert later[0].sentence_s == pytest.approx(back_s, abs=0.07)
