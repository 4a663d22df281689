"""Makes the cases of the benchmark from labelled recordings: streams of sound, each with a stretch that is judged.

A recording is heard as a whole, with its windows in several positions. Its clips, where it has some, are heard each in
a stream of its own: by itself, and behind some seconds of somebody's speech and a pause, as in a call. In one stream,
cough after cough, the model grows deaf to them.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import PurePath

import numpy as np

from relay.media import g711
from relay.media.detector import WINDOW_MS
from relay.media.resample import Samples
from relay.media.sound import Sound, convert
from relay.vad.evaluation import Recording, Trial
from relay.vad.sound import TELEPHONE_HZ, WIDEBAND_HZ, Route

RECORDING_PHASES = 4
"""A recording is heard with its windows in so many positions, spread evenly over a window."""
CLIP_PHASES = 2
"""A clip too; there are hundreds."""
LEAD_IN_S = 4.0
"""The longest speech before a clip."""
PAUSE_S = 1.0
"""Between the speech before a clip and the clip, which begins with some quiet of its own."""
WHOLE = "whole"
ALONE = "alone"
BEHIND_SPEECH = "behind speech"
LINE_NOISE_RMS = 20.0
"""Of a quiet line: -64 dBFS. In digital silence the model would behave as in no call."""


@dataclass(frozen=True, slots=True, order=True)
class Group:
    """Cases that are scored together. `source` is the recording that they come from.

    `condition` is "whole", of a clip "alone" or "behind speech", or says which echo there is.
    """

    kind: str
    source: str
    route: str
    condition: str

    @property
    def is_clip(self) -> bool:
        return self.condition in {ALONE, BEHIND_SPEECH}


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One stream, and the labels of the stretch that is judged, counted from the start of that stretch.

    `recording.file` names what is counted once: several cases of it in a group differ in the phase of the windows, in
    the speech before it or in the delay of an echo. `sound` makes the samples as they reach the relay, at 8 or 16 kHz.
    """

    name: str
    group: Group
    recording: Recording
    from_s: float
    sound: Callable[[], Sound]

    def trial(self, decided_ms: Sequence[float]) -> Trial:
        """Return the starts, given in ms of the stream, that fall into the stretch."""
        starts_s = [at_ms / 1000 - self.from_s for at_ms in decided_ms]
        return Trial(self.recording, [at for at in starts_s if 0 <= at <= self.recording.duration_s])


def on_the_way(sound: Sound, route: Route) -> Sound:
    """Return the sound as it reaches the relay by this route."""
    if route is Route.TELEPHONE:
        telephone = convert(sound, TELEPHONE_HZ)
        return Sound(g711.decode(g711.encode(telephone.samples)), TELEPHONE_HZ)
    return convert(sound, WIDEBAND_HZ) if route is Route.WIDEBAND else sound


def line_noise(seconds: float, rate_hz: int) -> Samples:
    """Return the noise of a quiet line, the same each time."""
    noise = np.random.default_rng(1).normal(0, LINE_NOISE_RMS, round(seconds * rate_hz))
    return noise.round().astype(np.int16)


def whole(recording: Recording, sound: Sound, route: Route) -> Iterator[Case]:
    """Return a recording in each phase."""
    stem = PurePath(recording.file).stem
    group = Group(recording.kind, stem, str(route), WHOLE)
    for phase, shift_s in enumerate(_shifts_s(RECORDING_PHASES)):
        yield Case(f"{stem}-{route.name.lower()}-{phase}", group, recording, shift_s, _shifted(sound, route, shift_s))


def clips(recording: Recording, sound: Sound, voices: Sequence[Sound], phases: int = CLIP_PHASES) -> Iterator[Case]:
    """Return each clip of a recording as the telephone carries it: alone and behind a voice, in each phase.

    The voices take turns.
    """
    stem = PurePath(recording.file).stem
    turns = cycle(voices)
    for number, bounds in enumerate(recording.clips):
        clip = clip_labels(recording, number)
        for phase, shift_s in enumerate(_shifts_s(phases)):
            for condition, voice in ((ALONE, None), (BEHIND_SPEECH, next(turns))):
                group = Group(recording.kind, stem, str(Route.TELEPHONE), condition)
                lead_s = 0.0 if voice is None else voice.duration_s + PAUSE_S
                make = _behind(voice, sound, bounds, shift_s)
                name = f"{stem}-{number:04}-{condition.replace(' ', '-')}-{phase}"
                yield Case(name, group, clip, shift_s + lead_s, make)


def clip_labels(recording: Recording, number: int) -> Recording:
    """Return the labels of one clip, counted from its start."""
    start, end = recording.clips[number]
    return Recording(
        file=f"{recording.file}#{number}",
        duration_s=end - start,
        kind=recording.kind,
        speech=[(max(a, start) - start, min(b, end) - start) for a, b in recording.speech if b > start and a < end],
        label_precision=recording.label_precision,
        count_false_starts=recording.count_false_starts,
    )


def _shifts_s(phases: int) -> list[float]:
    return [phase * WINDOW_MS / 1000 / phases for phase in range(phases)]


def _shifted(sound: Sound, route: Route, shift_s: float) -> Callable[[], Sound]:
    def make() -> Sound:
        heard = on_the_way(sound, route)
        silence = np.zeros(round(shift_s * heard.rate_hz), np.int16)
        return Sound(np.concatenate((silence, heard.samples)), heard.rate_hz)

    return make


def _behind(voice: Sound | None, sound: Sound, bounds: tuple[float, float], shift_s: float) -> Callable[[], Sound]:
    def make() -> Sound:
        start, end = (round(at * sound.rate_hz) for at in bounds)
        parts = [Sound(sound.samples[start:end], sound.rate_hz)]
        if voice is not None:
            parts = [voice, Sound(line_noise(PAUSE_S, TELEPHONE_HZ), TELEPHONE_HZ), *parts]
        joined = np.concatenate([convert(part, TELEPHONE_HZ).samples for part in parts])
        return _shifted(Sound(joined, TELEPHONE_HZ), Route.TELEPHONE, shift_s)()

    return make
