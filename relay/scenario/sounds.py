"""The sounds of a scenario, as a telephone carries them: packaged phrases, recordings of one's own, a made-up cough."""

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np

from relay.errors import FormatMismatch
from relay.media.frames import FRAME_MS, TELEPHONE
from relay.standin.compare import audible_frames
from relay.standin.phone import mulaw_of_wav
from relay.standin.phone.player import RATE_HZ
from relay.standin.phrases import spoken, texts
from relay.standin.sound import Samples, mulaw_to_samples, samples_to_mulaw

_COUGH_S = 0.35
_BURSTS = ((0.0, 0.5, 0.045), (0.14, 0.2, 0.05))
"""When each of the two bursts begins, its peak against full scale, and the time in which it falls to a third."""
_ATTACK_S = 0.004


@dataclass(frozen=True, slots=True)
class CallSound:
    """Something to say, or to recognise: `mulaw` at 8 kHz, audible from `onset_s` to `end_s` of it."""

    mulaw: bytes = field(repr=False)
    onset_s: float
    end_s: float

    @property
    def samples(self) -> Samples:
        """The same in 16 bits, at 8 kHz."""
        return mulaw_to_samples(self.mulaw)


def sound_of(mulaw: bytes) -> CallSound:
    """Find what is audible in it. `ValueError`: nothing is."""
    frames = audible_frames(mulaw_to_samples(mulaw))
    if not frames:
        raise ValueError("nothing in it is loud enough to be heard")
    return CallSound(mulaw, frames[0] / RATE_HZ, frames[-1] / RATE_HZ + FRAME_MS / 1000)


def sound_named(name: str, folder: Path) -> CallSound:
    """A packaged phrase by its name, or a WAV file by its path, which is relative to `folder`.

    `ValueError`: there is none, or it is of no use; the text says why.
    """
    if not name.lower().endswith(".wav"):
        if name not in texts():
            raise ValueError(f"must be a file that ends in .wav, or one of {', '.join(sorted(texts()))}")
        return sound_of(spoken(name, TELEPHONE))
    try:
        return sound_of(mulaw_of_wav(folder / name))
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None
    except FormatMismatch as error:
        raise ValueError(str(error)) from None


@cache
def made_up_cough() -> CallSound:
    """Two bursts of noise, each with a sudden beginning, the second weaker. Always the same."""
    n_samples = round(_COUGH_S * RATE_HZ)
    noise = np.random.default_rng(1).uniform(-1, 1, n_samples)
    time_s = np.arange(n_samples) / RATE_HZ
    envelope = np.zeros(n_samples)
    for begin_s, peak, decay_s in _BURSTS:
        since_s = np.maximum(time_s - begin_s, 0)
        envelope = np.maximum(envelope, peak * np.minimum(1, since_s / _ATTACK_S) * np.exp(-since_s / decay_s))
    return sound_of(samples_to_mulaw((noise * envelope * 32767).astype(np.int16)))
