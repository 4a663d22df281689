"""The ear confirms speech after the time that was asked for, and takes neither silence nor a click for it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.media.frames import TELEPHONE, WIDEBAND, AudioFormat
from relay.standin.assistant.ear import Ear, Heard, SpeechStarted, SpeechStopped
from relay.standin.phrases import spoken
from relay.standin.sound import encode, tone

FORMATS = [TELEPHONE, WIDEBAND]


def quiet(form: AudioFormat, ms: int) -> bytes:
    return form.silent_frame * (ms // 20)


def hear(data: bytes, form: AudioFormat, detect_after_ms: float = 300, step: int = 0) -> list[tuple[float, Heard]]:
    """Everything heard, each with the length of audio (ms) that was needed to know."""
    ear = Ear(form, detect_after_ms)
    step = step or form.frame_bytes
    found = []
    for begin in range(0, len(data), step):
        found += [(form.duration_ms(begin + step), heard) for heard in ear.feed(data[begin : begin + step])]
    return found


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", ["stop", "question", "request", "goodbye"])
def test_speech_is_confirmed_300_ms_after_its_onset(name: str, form: AudioFormat) -> None:
    found = hear(quiet(form, 1000) + spoken(name, form) + quiet(form, 1000), form)
    (decided_ms, started), (_, stopped) = found
    assert isinstance(started, SpeechStarted)
    assert isinstance(stopped, SpeechStopped)
    assert 980 <= started.onset_ms <= 1100
    assert decided_ms - started.onset_ms == pytest.approx(300, abs=25)
    assert form.duration_ms(len(stopped.audio)) == pytest.approx(form.duration_ms(len(spoken(name, form))), abs=150)


@pytest.mark.parametrize("form", FORMATS)
def test_silence_and_faint_noise_are_not_speech(form: AudioFormat) -> None:
    noise = (np.random.default_rng(1).standard_normal(8000 * 3) * 60).astype(np.int16)
    assert hear(quiet(form, 3000) + encode(noise, 8000, form), form) == []


def test_a_click_is_not_speech() -> None:
    data = quiet(TELEPHONE, 500) + encode(tone(900, 0.06), 16000, TELEPHONE) + quiet(TELEPHONE, 1000)
    assert hear(data, TELEPHONE) == []


def test_two_phrases_with_a_second_between_are_two_utterances() -> None:
    data = (spoken("stop", TELEPHONE) + quiet(TELEPHONE, 1000)) * 2
    assert [type(heard) for _, heard in hear(data, TELEPHONE)] == [SpeechStarted, SpeechStopped] * 2


def test_the_delay_of_detection_is_the_one_asked_for() -> None:
    (decided_ms, started), *_ = hear(spoken("question", TELEPHONE), TELEPHONE, detect_after_ms=500)
    assert decided_ms - started.onset_ms == pytest.approx(500, abs=25)


@given(st.integers(1, 1000))
def test_the_chunking_of_the_audio_changes_nothing(step: int) -> None:
    data = quiet(WIDEBAND, 200) + spoken("stop", WIDEBAND) + quiet(WIDEBAND, 700)
    assert [heard for _, heard in hear(data, WIDEBAND, step=step)] == [heard for _, heard in hear(data, WIDEBAND)]


def test_speech_without_an_end_is_cut_after_a_minute() -> None:
    found = [heard for _, heard in hear(encode(tone(440, 70), 16000, TELEPHONE), TELEPHONE)]
    assert [type(heard) for heard in found] == [SpeechStarted, SpeechStopped, SpeechStarted]
    assert isinstance(found[1], SpeechStopped)
    assert len(found[1].audio) == 60 * 8000
