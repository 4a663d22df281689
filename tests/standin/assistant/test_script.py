"""Every script has its sounds, in the format of the call."""

from pathlib import Path
from typing import get_args

import pytest

from relay.media.frames import TELEPHONE, WIDEBAND, AudioFormat
from relay.standin.assistant.behaviour import Behaviour, ScriptName
from relay.standin.assistant.brain import Speak
from relay.standin.assistant.script import Voice, script_of
from relay.standin.phrases import spoken, texts
from relay.standin.sound import decode, encode, level_dbfs, tone, write_wav

FORMATS = [TELEPHONE, WIDEBAND]
TEN_MINUTES_MS = 600_000


def first_words(behaviour: Behaviour, form: AudioFormat) -> tuple[str, bytes]:
    first = script_of(behaviour.script).first
    assert first is not None
    return Voice(form, behaviour).sound(Speak(first), "")


@pytest.mark.parametrize("name", get_args(ScriptName))
def test_every_script_that_can_be_asked_for_is_there(name: str) -> None:
    script = script_of(name)
    assert (script.first is None) == (name in {"echo", "silent"})


@pytest.mark.parametrize("form", FORMATS, ids=str)
def test_a_phrase_is_its_text_and_its_recording(form: AudioFormat) -> None:
    assert first_words(Behaviour(script="demo"), form) == (texts()["greeting"], spoken("greeting", form))


@pytest.mark.parametrize("form", FORMATS, ids=str)
def test_the_callers_own_words_are_given_back_as_they_were_heard(form: AudioFormat) -> None:
    voice = Voice(form, Behaviour(), caller_said=b"what was heard")
    assert voice.sound(Speak(None), "their text") == ("their text", b"what was heard")


@pytest.mark.parametrize("form", FORMATS, ids=str)
def test_the_tone_sounds_for_ten_minutes_at_least(form: AudioFormat) -> None:
    text, sound = first_words(Behaviour(script="tone"), form)

    assert text == "This is a steady tone."
    assert form.duration_ms(len(sound)) >= TEN_MINUTES_MS
    assert level_dbfs(decode(sound[-form.frame_bytes * 20 :], form)) > -20


def test_a_file_is_played_over_and_over(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", 16000, tone(300, 0.5))
    text, sound = first_words(Behaviour(script="file", audio=tmp_path / "a.wav"), TELEPHONE)
    once = encode(tone(300, 0.5), 16000, TELEPHONE)

    assert text == "This is a recording."
    assert TELEPHONE.duration_ms(len(sound)) >= TEN_MINUTES_MS
    assert sound == once * (len(sound) // len(once))


@pytest.mark.parametrize("form", FORMATS, ids=str)
def test_a_text_without_a_recording_is_a_tone_that_is_longer_for_more_words(form: AudioFormat) -> None:
    voice = Voice(form, Behaviour())
    durations = [form.duration_ms(len(voice.beep(text))) for text in ("Wait", "Wait a moment, please")]

    assert durations == [pytest.approx(250, abs=1), pytest.approx(400, abs=1)]
