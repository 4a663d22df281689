"""The sounds of the benchmark are a loop of speech for the callers, and noise that can be identified for the assistant.

Every 20 ms of both can be told from every other by correlation: the speech lies over a floor of noise (-58 dBFS), and
the assistant's turns are noise in the telephone band.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from relay.media.frames import FRAME_MS, TELEPHONE
from relay.standin.phrases import spoken
from relay.standin.sound import mulaw_to_samples, samples_to_mulaw

TELEPHONE_HZ = 8000
FRAME_SAMPLES = TELEPHONE_HZ * FRAME_MS // 1000
"""160: of one 20 ms frame at 8 kHz, in which everything is compared."""

PHRASES = ("stop", "question", "request", "goodbye")
GAP_S = 4.0
"""Between two phrases of a caller: room for an answer of the assistant."""
NOTICED_S = 0.3
"""An assistant notices the caller so much after the onset, and talks until then (Vapi's user-interrupted)."""
ANSWER_AFTER_S = 0.6
"""From the end of what the caller says to the assistant's next turn."""

_FLOOR_RMS = 40
_ONSET_DBFS = -40
_REFERENCE_S = 20
_REFERENCE_HZ = 16000
_REFERENCE_RMS = 2500
_REFERENCE_BAND_HZ = 3300

Waveform = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class CallerTrack:
    """A loop. `frames` are mu-law, `payloads` the same in base64, `waveform` in samples at 8 kHz,
    `onsets` the samples at which a phrase becomes audible.

    `assistant_talks` says for each frame whether a well-behaved assistant is speaking then.
    """

    frames: Sequence[bytes]
    payloads: Sequence[bytes]
    waveform: Waveform
    onsets: Sequence[int]
    assistant_talks: Sequence[bool]


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """The assistant's loop. `frames` in its own format, `waveform` the same at 8 kHz."""

    frames: Sequence[bytes]
    waveform: Waveform
    silence: bytes


@cache
def caller_track() -> CallerTrack:
    """What every caller says, each from an offset of its own: four phrases, with room for answers between them."""
    gap = np.zeros(int(GAP_S * TELEPHONE_HZ), np.float64)
    pieces, onsets, ends = [gap], [], []
    at = len(gap)
    for name in PHRASES:
        phrase = _from_onset(mulaw_to_samples(spoken(name, TELEPHONE)).astype(np.float64))
        onsets.append(at)
        ends.append(at + len(phrase))
        pieces += [phrase, gap]
        at += len(phrase) + len(gap)
    speech = np.concatenate(pieces)
    speech = speech[: len(speech) // FRAME_SAMPLES * FRAME_SAMPLES]
    noise = np.random.default_rng(1).normal(0, _FLOOR_RMS, len(speech))
    mulaw = samples_to_mulaw(np.clip(np.rint(speech + noise), -32768, 32767).astype(np.int16))
    frames = _cut(mulaw, FRAME_SAMPLES)
    return CallerTrack(
        frames=frames,
        payloads=tuple(base64.b64encode(frame) for frame in frames),
        waveform=mulaw_to_samples(mulaw).astype(np.float32),
        onsets=tuple(onsets),
        assistant_talks=_talks(len(frames), onsets, ends),
    )


@cache
def reference(audio: str) -> Reference:
    """What every assistant says; `audio` is "mulaw" (8 kHz) or "pcm" (16-bit, 16 kHz)."""
    length = _REFERENCE_S * _REFERENCE_HZ
    spectrum = np.fft.rfft(np.random.default_rng(2).normal(0, 1, length))
    spectrum[np.fft.rfftfreq(length, 1 / _REFERENCE_HZ) > _REFERENCE_BAND_HZ] = 0
    noise = np.fft.irfft(spectrum, length)
    wide = np.clip(np.rint(noise / noise.std() * _REFERENCE_RMS), -32768, 32767).astype(np.int16)
    narrow = wide[:: _REFERENCE_HZ // TELEPHONE_HZ]  # no filter: there is nothing over 4 kHz
    if audio == "mulaw":
        frames, silence = _cut(samples_to_mulaw(narrow), FRAME_SAMPLES), b"\xff" * FRAME_SAMPLES
    else:
        frame_bytes = _REFERENCE_HZ * FRAME_MS // 1000 * 2
        frames, silence = _cut(wide.astype("<i2").tobytes(), frame_bytes), b"\0" * frame_bytes
    return Reference(frames, narrow.astype(np.float32), silence)


def wideband(track: CallerTrack) -> tuple[bytes, ...]:
    """The same frames at 16 kHz, pcm_s16le. Every second sample is one of the track's."""
    twice = 2 * len(track.waveform)
    wide = np.fft.irfft(np.fft.rfft(track.waveform), twice) * 2
    wide[::2] = track.waveform
    samples = np.clip(np.rint(wide), -32768, 32767).astype("<i2")
    return _cut(samples.tobytes(), 2 * 2 * FRAME_SAMPLES)


def _from_onset(phrase: NDArray[np.float64]) -> NDArray[np.float64]:
    """Without the silence before the first 5 ms over -40 dBFS, which are the onset."""
    step = TELEPHONE_HZ // 200
    blocks = phrase[: len(phrase) // step * step].reshape(-1, step)
    loud = np.sqrt((blocks**2).mean(axis=1)) > 10 ** (_ONSET_DBFS / 20) * 32768
    return phrase[int(np.argmax(loud)) * step :]


def _talks(frames: int, onsets: Sequence[int], ends: Sequence[int]) -> tuple[bool, ...]:
    talks = [True] * frames
    for onset, end in zip(onsets, ends, strict=True):
        first = int((onset / TELEPHONE_HZ + NOTICED_S) * 1000 / FRAME_MS)
        after = int((end / TELEPHONE_HZ + ANSWER_AFTER_S) * 1000 / FRAME_MS)
        for index in range(first, min(after, frames)):
            talks[index] = False
    return tuple(talks)


def _cut(data: bytes, size: int) -> tuple[bytes, ...]:
    return tuple(data[at : at + size] for at in range(0, len(data), size))
