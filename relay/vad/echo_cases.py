"""Makes cases of echo: recorded speech is played to the caller as the assistant's, and comes back over the line.

Alone, every cut is false. With a caller who says a word over it, the word must be found as soon as without an echo.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from relay.media.frames import FRAME_MS
from relay.media.resample import Samples, resampler
from relay.media.sound import Sound, convert, run_through
from relay.standin import phrases
from relay.standin.echo import EchoPath, mix
from relay.vad.cases import Case, Group, clip_labels, line_noise, on_the_way
from relay.vad.evaluation import Recording
from relay.vad.labels import Labelled
from relay.vad.sound import TELEPHONE_HZ, WIDEBAND_HZ, Route
from relay.vad.voices import MADE_UP_VOICE, voices

ECHO_ALONE = "echo"
CALLER_OVER_ECHO = "caller_over_echo"
ECHO_KINDS = (ECHO_ALONE, CALLER_OVER_ECHO)
WITH_CONTROL = f"{Route.TELEPHONE}, echo control"

DELAYS_MS = (50.0, 180.0, 500.0)
WORDS = 40
"""So many are said over each line's echo: the same ones, so that the lines compare."""
BEFORE_WORD_S = 3.0
"""The assistant speaks so long before the word's clip begins, which has some quiet of its own."""
FRAME_SAMPLES = TELEPHONE_HZ * FRAME_MS // 1000
WORD = "stop"
"""The phrase that the caller says where no clip holds speech."""


class Control(Protocol):
    """Takes the echo out of what the caller says, at 16 kHz."""

    def push(self, near: Samples, far: Samples) -> Samples:
        """Take what was recorded, and what was played at the time; return it without the echo, perhaps later."""
        ...


MakeControl = Callable[[], Control]


@dataclass(frozen=True, slots=True)
class Line:
    """One way for an echo to come back. `jump_ms` is added to its delay halfway; `lost` is a share of frames."""

    name: str
    loss_db: float
    delays_ms: Sequence[float] = DELAYS_MS
    drive: float = 0.0
    jump_ms: float = 0.0
    lost: float = 0.0


NO_ECHO = Line("no echo", float("inf"))
LINES = (
    *(Line(f"{loss_db} dB", loss_db) for loss_db in (10, 15, 20, 30, 40)),
    Line("15 dB, overdriven", 15, [180.0], drive=1.0),
    Line("15 dB, delay jumps", 15, [180.0], jump_ms=60.0),
    Line("15 dB, 1 % lost", 15, [180.0], lost=0.01),
    Line("15 dB, 700 ms late", 15, [700.0]),
)


def echo_cases(labelled: Sequence[Labelled], control: MakeControl | None = None) -> Iterator[Case]:
    """Return each case as it is and, if there is a control of echoes, behind it."""
    made_up = phrases.phrase(MADE_UP_VOICE)
    speakers = [*voices(labelled), Sound(made_up.samples, made_up.rate_hz)]
    assistants = [on_the_way(speaker, Route.TELEPHONE).samples for speaker in speakers]
    words = list(_words(labelled))
    for way in (None, control) if control else (None,):
        for line in LINES:
            yield from _alone(line, assistants, way)
        for line in (NO_ECHO, *LINES):
            yield from _over_echo(line, assistants, words, way)


@dataclass(frozen=True, slots=True, eq=False)
class Echoed:
    """What the caller says, and what is played to the caller, both at 8 kHz and of one length, on a line."""

    near: Samples
    played: Samples
    line: Line
    delay_ms: float

    def returned(self) -> Samples:
        """Return what the caller's side sends."""
        if self.line is NO_ECHO:
            return self.near
        half = len(self.played) // 2
        echo = self._path(self.delay_ms).push(self.played)
        if self.line.jump_ms:
            echo[half:] = self._path(self.delay_ms + self.line.jump_ms).push(self.played)[half:]
        both = mix(self.near, echo)
        for frame in np.flatnonzero(np.random.default_rng(1).random(len(both) // FRAME_SAMPLES) < self.line.lost):
            both[frame * FRAME_SAMPLES : (frame + 1) * FRAME_SAMPLES] = 0
        return both

    def case(self, label: Recording, from_s: float, control: MakeControl | None) -> Case:
        group = Group(label.kind, label.kind, WITH_CONTROL if control else str(Route.TELEPHONE), self.line.name)
        words = (label.kind, label.file, self.line.name, f"{self.delay_ms:.0f} ms", "controlled" if control else "")
        name = re.sub(r"\W+", "-", " ".join(words)).strip("-")

        def make() -> Sound:
            heard = on_the_way(Sound(self.returned(), TELEPHONE_HZ), Route.TELEPHONE)
            return without_echo(heard, self.played, control()) if control else heard

        return Case(name, group, label, from_s, make)

    def _path(self, delay_ms: float) -> EchoPath:
        return EchoPath(TELEPHONE_HZ, delay_ms=delay_ms, loss_db=self.line.loss_db, drive=self.line.drive)


def _alone(line: Line, assistants: Sequence[Samples], control: MakeControl | None) -> Iterator[Case]:
    for number, played in enumerate(assistants):
        label = Recording(f"assistant_{number}", len(played) / TELEPHONE_HZ, ECHO_ALONE, [])
        near = line_noise(label.duration_s, TELEPHONE_HZ)
        for delay_ms in line.delays_ms:
            yield Echoed(near, played, line, delay_ms).case(label, 0.0, control)


def _over_echo(
    line: Line, assistants: Sequence[Samples], words: Sequence[Labelled], control: MakeControl | None
) -> Iterator[Case]:
    for number, (label, sound) in enumerate(words):
        near = np.concatenate((line_noise(BEFORE_WORD_S, TELEPHONE_HZ), sound.samples))
        played = np.resize(assistants[number % len(assistants)], len(near))
        delay_ms = line.delays_ms[number % len(line.delays_ms)]
        yield Echoed(near, played, line, delay_ms).case(label, BEFORE_WORD_S, control)


def without_echo(heard: Sound, played: Samples, control: Control) -> Sound:
    """Return what the detector hears behind a control of echoes, frame by frame as in a call."""
    size = WIDEBAND_HZ * FRAME_MS // 1000
    near, far = (run_through(resampler(TELEPHONE_HZ, WIDEBAND_HZ), samples) for samples in (heard.samples, played))
    cleaned = [control.push(near[at : at + size], far[at : at + size]) for at in range(0, len(near), size)]
    return Sound(np.concatenate(cleaned), WIDEBAND_HZ)


def _words(labelled: Sequence[Labelled]) -> Iterator[Labelled]:
    """Return clips with speech at 8 kHz, evenly spread over all that there are."""
    found = [
        (recording, sound, number)
        for recording, sound in labelled
        for number in range(len(recording.clips))
        if clip_labels(recording, number).onsets_s()
    ]
    if not found:
        phrase = phrases.phrase(WORD)
        quiet = line_noise(1.0, phrase.rate_hz)
        ends_s = 1.0 + phrase.duration_s
        label = Recording(f"{WORD}.wav", ends_s + 1.0, CALLER_OVER_ECHO, [(1.0, ends_s)], count_false_starts=False)
        yield label, convert(Sound(np.concatenate((quiet, phrase.samples, quiet)), phrase.rate_hz), TELEPHONE_HZ)
    for recording, sound, number in found[:: max(1, len(found) // WORDS)][:WORDS]:
        start, end = (round(at * sound.rate_hz) for at in recording.clips[number])
        clip = Sound(sound.samples[start:end], sound.rate_hz)
        label = clip_labels(recording, number)
        yield (
            Recording(label.file, label.duration_s, CALLER_OVER_ECHO, label.speech, count_false_starts=False),
            convert(clip, TELEPHONE_HZ),
        )
