"""Echo cases: the echo is what it is said to be, and a control of echoes stands before the detector."""

import numpy as np
import pytest

from relay.media.resample import Samples
from relay.media.sound import Sound
from relay.vad.cases import clip_labels
from relay.vad.echo_cases import CALLER_OVER_ECHO, ECHO_ALONE, LINES, NO_ECHO, Echoed, Line, echo_cases, without_echo
from relay.vad.evaluation import Recording

RANDOM = np.random.default_rng(5)
SPEECH = (RANDOM.normal(0, 2000, 8000 * 8)).astype(np.int16)
NOTHING = np.zeros(len(SPEECH), np.int16)
WORDS = Recording("w.wav", 8.0, "words", [(1.0, 1.5), (5.0, 5.5)], clips=[(0.0, 4.0), (4.0, 8.0)])


def returned(line: Line, near: Samples = NOTHING) -> Samples:
    return Echoed(near, SPEECH, line, line.delays_ms[0]).returned()


def delay_ms(echo: Samples, played: Samples) -> float:
    spectrum = np.fft.rfft(echo.astype(float)) * np.conj(np.fft.rfft(played.astype(float)))
    return float(np.argmax(np.abs(np.fft.irfft(spectrum)))) / 8


@pytest.mark.parametrize("loss_db", [10, 20, 40])
def test_an_echo_is_as_late_and_as_much_weaker_as_its_line_says(loss_db: int) -> None:
    echo = returned(Line("some", loss_db, [180.0]))

    assert delay_ms(echo, SPEECH) == pytest.approx(180, abs=1)
    assert 20 * np.log10(np.std(SPEECH) / np.std(echo[2000:].astype(float))) == pytest.approx(loss_db, abs=1)


def test_a_delay_jumps_halfway() -> None:
    echo = returned(Line("jumps", 10, [180.0], jump_ms=60.0))
    half = len(SPEECH) // 2

    assert delay_ms(echo[:half], SPEECH[:half]) == pytest.approx(180, abs=1)
    assert delay_ms(echo[half:], SPEECH[half:]) == pytest.approx(240, abs=1)


def test_lost_frames_are_silent() -> None:
    whole, lossy = returned(Line("whole", 10, [50.0])), returned(Line("lossy", 10, [50.0], lost=0.1))
    differs = np.any((whole != lossy).reshape(-1, 160), axis=1)

    assert 15 < np.sum(differs) < 70
    assert not np.any(lossy.reshape(-1, 160)[differs])


def test_without_an_echo_the_caller_alone_is_heard() -> None:
    assert returned(NO_ECHO, SPEECH).tolist() == SPEECH.tolist()


def test_each_line_has_its_cases_alone_and_with_a_caller() -> None:
    cases = list(echo_cases([(WORDS, Sound(SPEECH, 8000))]))
    alone = {case.group.condition for case in cases if case.group.kind == ECHO_ALONE}
    over = [case for case in cases if case.group.kind == CALLER_OVER_ECHO]

    assert alone == {line.name for line in LINES}
    assert {case.group.condition for case in over} == {line.name for line in (NO_ECHO, *LINES)}
    assert {case.recording.file for case in over} == {"w.wav#0", "w.wav#1"}
    assert len({case.name for case in cases}) == len(cases)


def test_the_word_is_where_its_label_says() -> None:
    sound = Sound(SPEECH, 8000)
    (case, *_) = (case for case in echo_cases([(WORDS, sound)]) if case.group.condition == NO_ECHO.name)
    heard = case.sound().samples[round(case.from_s * 8000) :].astype(float)

    assert case.recording.speech == clip_labels(WORDS, 0).speech
    assert np.corrcoef(heard, SPEECH[: len(heard)])[0, 1] > 0.99


def test_where_nobody_says_a_word_one_is_made_up() -> None:
    over = [case for case in echo_cases([]) if case.group.kind == CALLER_OVER_ECHO]

    assert {case.recording.file for case in over} == {"stop.wav"}
    assert all(case.recording.onsets_s() for case in over)


class Late:
    """Gives everything back a frame later, and keeps what it was given."""

    def __init__(self) -> None:
        self.given: list[tuple[Samples, Samples]] = []
        self._held = np.zeros(320, np.int16)

    def push(self, near: Samples, far: Samples) -> Samples:
        self.given.append((near, far))
        held, self._held = self._held, near
        return held


def test_a_control_gets_both_sides_frame_by_frame_and_its_answer_is_judged() -> None:
    control = Late()
    cleaned = without_echo(Sound(SPEECH, 8000), SPEECH, control)
    near, far = (np.concatenate([pair[side] for pair in control.given]) for side in (0, 1))

    assert {len(frame) for frame, _ in control.given} == {320}
    assert near.tolist() == far.tolist()
    assert cleaned.rate_hz == 16000
    assert cleaned.samples[320:].tolist() == near[:-320].tolist()


def test_with_a_control_each_case_is_there_twice() -> None:
    plain, both = list(echo_cases([])), list(echo_cases([], Late))

    assert len(both) == 2 * len(plain)
    assert len({case.name for case in both}) == len(both)
    assert {case.group.route for case in both} == {"mu-law 8 kHz", "mu-law 8 kHz, echo control"}
