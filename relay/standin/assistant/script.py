"""The scripts are found here by their names, and the sounds of a script in a call's format."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from relay.media.frames import AudioFormat
from relay.media.sound import Sound
from relay.media.wav import read_wav
from relay.standin.assistant.behaviour import Behaviour
from relay.standin.assistant.brain import Script, Speak
from relay.standin.phrases import spoken, texts
from relay.standin.sound import SPEECH_HZ, encode, tone

_LOOP = "loop"
_LOOP_AT_LEAST_S = 600.0
_LOOP_TEXTS = {"tone": "This is a steady tone.", "file": "This is a recording."}
_SCRIPTS: Mapping[str, Script] = {
    "demo": Script("greeting", ("description",)),
    "tone": Script(_LOOP, then=Speak(_LOOP)),
    "file": Script(_LOOP, then=Speak(_LOOP)),
    "echo": Script(None, then=None),
    "silent": Script(None, then=None),
}


def script_of(name: str) -> Script:
    """What is said by the script of this name; `KeyError` if there is none."""
    return _SCRIPTS[name]


@cache
def _loop(audio: Path | None, form: AudioFormat) -> bytes:
    sound = Sound(tone(440, 1.0), SPEECH_HZ) if audio is None else read_wav(audio)
    once = encode(sound.samples, sound.rate_hz, form)
    return once * (int(_LOOP_AT_LEAST_S * 1000 / max(1.0, form.duration_ms(len(once)))) + 1)


@cache
def _beep(words: int, form: AudioFormat) -> bytes:
    return encode(tone(880, 0.2 + 0.05 * words), SPEECH_HZ, form)


@dataclass(slots=True)
class Voice:
    """Turns what the brain decides into a text and bytes in the call's format."""

    format: AudioFormat
    behaviour: Behaviour
    caller_said: bytes = field(default=b"", repr=False)

    def sound(self, speak: Speak, caller_text: str) -> tuple[str, bytes]:
        """The text and the bytes of what is to be said; `caller_text` is that of the caller's last words."""
        if speak.phrase is None:
            return caller_text, self.caller_said
        if speak.phrase == _LOOP:
            return _LOOP_TEXTS[self.behaviour.script], _loop(self.behaviour.audio, self.format)
        return texts()[speak.phrase], spoken(speak.phrase, self.format)

    def beep(self, text: str) -> bytes:
        """A tone as long as the text has words, where no recorded speech exists."""
        return _beep(len(text.split()), self.format)
