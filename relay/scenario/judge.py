"""The judge holds an expectation against what the caller has heard. Pure; times are seconds since the call was placed.

A judgement is None while more has to be heard; it is there 2 s after the expectation's own time at the latest.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from relay.scenario.hearing import BLOCK_S, Hearing
from relay.scenario.passages import Passage, find_passages, missing_s, repeated_s
from relay.scenario.step import AnswerWithin, NoCutFor, RestWithin, SilenceFor, SilenceWithin, SpeechFor
from relay.standin.sound import Samples

SILENCE_S = 0.6
"""A silence as long as this is none between two words, nor between two sentences."""
CUT_S = 1.0
"""What comes back within this time was paused, not cut."""
SEAM_S = 0.1
"""So much may be missing where a sentence was paused: about two windows of the comparison."""
REPEATED_MOST_S = 2.0
"""A sentence that goes on may go back by so much, for its connection; one that goes back further begins anew."""
_GAP_S = 0.2
_ENOUGH_S = 0.3
_SAMPLE_S = 0.6
_BEFORE_S = 3.0
_NEAR_S = 0.5
_OLD_PART = 0.5


@dataclass(frozen=True, slots=True)
class CallerMoment:
    """The last thing that the caller did: when it began, and when it had ended."""

    onset_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Judgement:
    """Whether the expectation was met, what was measured (s), and if it was not met: why."""

    passed: bool
    measured_s: float | None = None
    why: str = ""


HeardExpectation = SilenceWithin | SilenceFor | SpeechFor | AnswerWithin | RestWithin | NoCutFor


def judge(expected: HeardExpectation, hearing: Hearing, moment: CallerMoment, since_s: float) -> Judgement | None:
    """`moment`: see there; `since_s`: when the step began."""
    match expected:
        case SilenceWithin(within_s):
            return _silence_within(hearing, moment.onset_s, within_s)
        case SilenceFor(seconds, within_s):
            if within_s is None:
                return _silence_for(hearing, since_s, seconds)
            return _some_silence(hearing, since_s, seconds, within_s)
        case SpeechFor(seconds, within_s):
            return _speech_for(hearing, since_s, seconds, within_s)
        case AnswerWithin(within_s, sentence):
            known = None if sentence is None else sentence.samples
            return _answer_within(hearing, moment, within_s, known)
        case RestWithin(sentence, within_s):
            return _rest_within(hearing, moment, sentence.samples, within_s)
        case NoCutFor(seconds, sentence):
            known = None if sentence is None else sentence.samples
            return _no_cut(hearing, moment, since_s + seconds, known)


def _silence_within(hearing: Hearing, onset_s: float, within_s: float) -> Judgement | None:
    silent_s = hearing.next_silence_s(onset_s, SILENCE_S)
    if silent_s is not None:
        return _in_time(silent_s - onset_s, within_s, "silent")
    if hearing.until_s < onset_s + within_s + SILENCE_S + BLOCK_S:
        return None
    return Judgement(passed=False, why=f"still heard after {_ms(hearing.until_s - onset_s)}")


def _silence_for(hearing: Hearing, since_s: float, seconds: float) -> Judgement | None:
    heard_s = hearing.first_audible_s(since_s)
    if heard_s is not None and heard_s < since_s + seconds:
        why = f"something was heard after {_ms(heard_s - since_s)}"
        return Judgement(passed=False, measured_s=heard_s - since_s, why=why)
    return Judgement(passed=True, measured_s=seconds) if hearing.until_s >= since_s + seconds else None


def _some_silence(hearing: Hearing, since_s: float, seconds: float, within_s: float) -> Judgement | None:
    silent_s = hearing.next_silence_s(since_s, seconds)
    if silent_s is not None and silent_s + seconds <= since_s + within_s:
        return Judgement(passed=True, measured_s=silent_s + seconds - since_s)
    if hearing.until_s < since_s + within_s:
        return None
    return Judgement(passed=False, why=f"no such silence in {_ms(within_s)}")


def _speech_for(hearing: Hearing, since_s: float, seconds: float, within_s: float) -> Judgement | None:
    heard_s = hearing.audible_s(since_s, min(hearing.until_s, since_s + within_s))
    if heard_s >= seconds:
        return Judgement(passed=True, measured_s=hearing.reached_s(since_s, seconds) - since_s)
    if hearing.until_s < since_s + within_s:
        return None
    return Judgement(passed=False, measured_s=within_s, why=f"no more than {_ms(heard_s)} was heard")


def _answer_within(
    hearing: Hearing, moment: CallerMoment, within_s: float, sentence: Samples | None
) -> Judgement | None:
    begins_s = _new_speech_s(hearing, moment.onset_s)
    if begins_s is None:
        if hearing.until_s < moment.end_s + within_s + _SAMPLE_S:
            return None
        return Judgement(passed=False, why="nothing new was heard")
    if hearing.until_s < begins_s + _SAMPLE_S:
        return None
    answer = hearing.between(begins_s, begins_s + _SAMPLE_S)
    if _is_part_of(answer, _last_turn(hearing, moment.onset_s)) or (
        sentence is not None and _is_part_of(answer, sentence)
    ):
        return Judgement(passed=False, why="the old sentence was heard, and no answer")
    return _in_time(max(0.0, begins_s - moment.end_s), within_s, "an answer")


def _new_speech_s(hearing: Hearing, from_s: float) -> float | None:
    """When something began that is no click, behind the next gap."""
    gap_s = hearing.next_silence_s(from_s, _GAP_S)
    while gap_s is not None:
        begins_s = hearing.first_audible_s(gap_s)
        if begins_s is None or hearing.audible_s(begins_s, begins_s + _SAMPLE_S) >= _ENOUGH_S:
            return begins_s
        if hearing.until_s < begins_s + _SAMPLE_S:
            return None
        gap_s = hearing.next_silence_s(begins_s, _GAP_S)
    return None


def _last_turn(hearing: Hearing, onset_s: float) -> Samples:
    """What was being said when the caller's sound began; nothing if it was quiet."""
    if not hearing.audible_s(onset_s - _NEAR_S, onset_s):
        return hearing.samples[:0]
    begin_s = 0.0
    while (silent_s := hearing.next_silence_s(begin_s, SILENCE_S)) is not None:
        next_s = hearing.first_audible_s(silent_s)
        if next_s is None or next_s >= onset_s:
            break
        begin_s = next_s
    return hearing.between(begin_s, onset_s)


def _is_part_of(heard: Samples, sentence: Samples) -> bool:
    if not len(sentence):
        return False
    found_s = sum(p.heard_end_s - p.heard_s for p in find_passages(heard, sentence))
    whole = Hearing(heard)
    return found_s > _OLD_PART * whole.audible_s(0.0, whole.until_s)


def _rest_within(hearing: Hearing, moment: CallerMoment, sentence: Samples, within_s: float) -> Judgement | None:
    after_s = hearing.audible_s(moment.end_s, hearing.until_s)
    if after_s < _SAMPLE_S and hearing.until_s < moment.end_s + within_s + 2 * _SAMPLE_S:
        return None
    begin_s = moment.onset_s - _BEFORE_S
    passages = _passages(hearing, sentence, begin_s, hearing.until_s)
    if not passages or passages[0].heard_s > moment.onset_s:
        return Judgement(passed=False, why="the sentence was not heard before")
    later = [passage for passage in passages if passage.heard_end_s > moment.end_s + BLOCK_S]
    if not later:
        what = "something else was heard" if after_s >= _ENOUGH_S else "nothing was heard"
        return Judgement(passed=False, why=what)
    return _broken(passages, sentence) or _in_time(max(0.0, later[0].heard_s - moment.end_s), within_s, "the rest")


def _no_cut(hearing: Hearing, moment: CallerMoment, end_s: float, sentence: Samples | None) -> Judgement | None:
    spoke = hearing.audible_s(moment.onset_s - _NEAR_S, moment.onset_s) > 0
    begin_s = moment.onset_s if spoke else hearing.first_audible_s(moment.onset_s)
    if begin_s is None or begin_s >= end_s:
        return None if hearing.until_s < end_s else Judgement(passed=False, why="the assistant was not heard")
    silence_s = hearing.longest_silence_s(begin_s, end_s)
    if silence_s > CUT_S + BLOCK_S / 2:
        return Judgement(passed=False, measured_s=silence_s, why=f"silent for {_ms(silence_s)} or longer")
    if hearing.until_s < end_s:
        return None
    if sentence is not None:
        passages = _passages(hearing, sentence, begin_s - (_BEFORE_S if spoke else 0.0), end_s)
        found_s = sum(p.heard_end_s - max(p.heard_s, begin_s) for p in passages if p.heard_end_s > begin_s)
        if found_s < _OLD_PART * hearing.audible_s(begin_s, end_s):
            return Judgement(passed=False, why="something else was heard")
        broken = _broken(passages, sentence)
        if broken is not None:
            return broken
    return Judgement(passed=True, measured_s=silence_s)


def _broken(passages: Sequence[Passage], sentence: Samples) -> Judgement | None:
    """Why the passages are not one sentence, if they are not."""
    back_s, lost_s = repeated_s(passages), missing_s(passages, sentence)
    if back_s > REPEATED_MOST_S:
        return Judgement(passed=False, why=f"the sentence went back by {_ms(back_s)}: it began anew")
    if lost_s > SEAM_S:
        return Judgement(passed=False, why=f"{_ms(lost_s)} of the sentence are missing")
    return None


def _passages(hearing: Hearing, sentence: Samples, from_s: float, to_s: float) -> list[Passage]:
    """With the times of the call."""
    from_s = max(0.0, from_s)
    found = find_passages(hearing.between(from_s, to_s), sentence)
    return [Passage(p.heard_s + from_s, p.heard_end_s + from_s, p.sentence_s, p.sentence_end_s) for p in found]


def _in_time(measured_s: float, within_s: float, what: str) -> Judgement:
    # Rounded as it is shown, or 400.0 ms could be more than 400 ms.
    if round(measured_s, 3) <= within_s:
        return Judgement(passed=True, measured_s=measured_s)
    return Judgement(passed=False, measured_s=measured_s, why=f"{what} after {_ms(measured_s)}")


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"
