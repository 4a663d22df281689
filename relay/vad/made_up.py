"""Makes up sounds without speech, minutes of each, for what no recording at hand holds. They are the same each time.

Each is cut into clips of some seconds, to be heard as those of recordings are: a model that has heard a sound for
minutes has grown deaf to it. They are no recordings: a detector that withstands them may still fall for real ones.
"""

from collections.abc import Callable, Collection, Iterator

import numpy as np
from numpy.typing import NDArray

from relay.media.sound import Sound
from relay.vad.evaluation import Recording
from relay.vad.labels import Labelled

MADE_UP = "made_up"
RATE_HZ = 8000
SECONDS = 240
CLIP_S = 10
_FULL_SCALE = 32767

Floats = NDArray[np.float64]
Random = np.random.Generator

DTMF_LOW_HZ = (697, 770, 852, 941)
DTMF_HIGH_HZ = (1209, 1336, 1477, 1633)
"""ITU-T Q.23."""
RINGBACK_HZ, BUSY_HZ = (440, 480), (480, 620)
"""The tones of North America (ITU-T E.180, annex)."""
TDMA_HZ = 216.7
"""The rate of a GSM telephone's bursts, which are heard in badly shielded loudspeakers."""


def names() -> list[str]:
    """Return the names of the sounds."""
    return list(_SOUNDS)


def made_up(wanted: Collection[str]) -> Iterator[Labelled]:
    """Return each sound that is wanted, by its name, with its labels. Full scale is +-1 until here."""
    bounds = [(float(start), float(start + CLIP_S)) for start in range(0, SECONDS, CLIP_S)]
    for number, (name, make) in enumerate(_SOUNDS.items()):
        if name not in wanted:
            continue
        loud = make(np.random.default_rng(number)).clip(-1, 1)
        samples = (loud * _FULL_SCALE).round().astype(np.int16)
        yield Recording(f"{name}.wav", float(SECONDS), MADE_UP, [], "exact", clips=bounds), Sound(samples, RATE_HZ)


def _times(seconds: float) -> Floats:
    return np.arange(round(seconds * RATE_HZ)) / RATE_HZ


def _tone(seconds: float, *frequencies_hz: float) -> Floats:
    """Return a sum of sines with a peak of 1 at most, and without clicks at its ends."""
    times = _times(seconds)
    tone = np.sum([np.sin(2 * np.pi * hz * times) for hz in frequencies_hz], axis=0) / len(frequencies_hz)
    return np.asarray(tone * np.minimum(1, np.minimum(times, times[::-1]) / 0.005))


def _noise(random: Random, seconds: float, tilt: float) -> Floats:
    """Return noise whose spectrum falls by `tilt` times 6 dB an octave over 50 Hz, with an RMS of 1."""
    samples = round(seconds * RATE_HZ)
    spectrum = np.fft.rfft(random.standard_normal(samples))
    frequencies_hz = np.fft.rfftfreq(samples, 1 / RATE_HZ)
    noise = np.fft.irfft(spectrum * np.maximum(frequencies_hz, 50) ** -tilt, samples)
    return np.asarray(noise / noise.std())


def _burst(random: Random, decay_ms: float, tilt: float) -> Floats:
    """Return noise that dies away, with a peak of 1."""
    seconds = 6 * decay_ms / 1000
    burst = _noise(random, seconds, tilt) * np.exp(-_times(seconds) * 1000 / decay_ms)
    return np.asarray(burst / np.abs(burst).max())


def _scattered(random: Random, gap_s: tuple[float, float], make: Callable[[], Floats]) -> Floats:
    """Return sounds one after the other, with gaps between such bounds, over the noise of a quiet line."""
    result = 0.0006 * random.standard_normal(SECONDS * RATE_HZ)
    at = 0
    while (at := at + round(random.uniform(*gap_s) * RATE_HZ)) < len(result):
        sound = make()[: len(result) - at]
        result[at : at + len(sound)] += sound
        at += len(sound)
    return result


def _level(random: Random, low_db: float, high_db: float) -> float:
    return float(10 ** (random.uniform(low_db, high_db) / 20))


def _steady_noise(random: Random) -> Floats:
    """Fans and engines: noise of another colour and level every 8 s."""
    parts = [_level(random, -50, -22) * _noise(random, 8, random.uniform(0, 1.5)) for _ in range(SECONDS // 8)]
    return np.concatenate(parts)


def _gusts(random: Random) -> Floats:
    """Wind at a microphone: low noise that swells and sinks within a second or so."""
    swell = np.repeat(random.uniform(0, 1, SECONDS + 1), RATE_HZ)
    smooth = np.convolve(swell, np.hanning(RATE_HZ) / (RATE_HZ / 2), "same")[: SECONDS * RATE_HZ]
    return np.asarray(0.15 * smooth**2 * _noise(random, SECONDS, 1.2))


def _hum(random: Random) -> Floats:
    """The hum of mains at 50 or 60 Hz with its harmonics, which comes and goes."""
    parts = []
    for turn in range(SECONDS // 12):
        mains_hz = (50, 60)[turn % 2]
        hum = _level(random, -40, -20) * _tone(8, *(mains_hz * harmonic for harmonic in (1, 2, 3, 5, 7, 9)))
        parts.append(np.concatenate((hum, np.zeros(4 * RATE_HZ))))
    return np.concatenate(parts)


def _keys(random: Random) -> Floats:
    """The keys of a telephone, 60 to 250 ms each."""

    def key() -> Floats:
        pair = random.choice(DTMF_LOW_HZ), random.choice(DTMF_HIGH_HZ)
        return _level(random, -26, -8) * _tone(random.uniform(0.06, 0.25), *pair)

    return _scattered(random, (0.05, 0.6), key)


def _call_progress(random: Random) -> Floats:
    """The tones of ringing and of a busy line."""

    def tones() -> Floats:
        if random.random() < 0.5:
            return _level(random, -28, -14) * _tone(2.0, *RINGBACK_HZ)
        busy = np.concatenate((_tone(0.5, *BUSY_HZ), np.zeros(RATE_HZ // 2)))
        return _level(random, -28, -14) * np.tile(busy, 3)

    return _scattered(random, (1.0, 4.0), tones)


def _alarms(random: Random) -> Floats:
    """Beeps of machines in rows, and sirens that glide."""

    def alarm() -> Floats:
        level, pitch_hz = _level(random, -30, -10), random.uniform(500, 3000)
        if random.random() < 0.5:
            beep = np.concatenate((_tone(0.15, pitch_hz, 2 * pitch_hz), np.zeros(RATE_HZ // 10)))
            return level * np.tile(beep, int(random.integers(1, 6)))
        times = _times(3.0)
        glide_hz = 900 + 400 * np.sin(2 * np.pi * times / random.uniform(0.5, 3))
        return np.asarray(level * np.sin(2 * np.pi * np.cumsum(glide_hz) / RATE_HZ))

    return _scattered(random, (0.5, 3.0), alarm)


def _typing(random: Random) -> Floats:
    """Keystrokes: clicks of some milliseconds, pressed and let go."""
    return _scattered(random, (0.05, 0.4), lambda: _level(random, -34, -10) * _burst(random, random.uniform(2, 8), 0.2))


def _thumps(random: Random) -> Floats:
    """Doors, steps, a handset put down: low bursts of up to half a second."""
    return _scattered(random, (0.4, 3.0), lambda: _level(random, -24, -3) * _burst(random, random.uniform(15, 90), 1.5))


def _rustle(random: Random) -> Floats:
    """Paper and clothes at a microphone: strokes of bright noise."""

    def stroke() -> Floats:
        seconds = random.uniform(0.1, 0.7)
        shape = np.sin(np.pi * _times(seconds) / seconds) ** 2
        return np.asarray(_level(random, -36, -16) * shape * _noise(random, seconds, 0.3))

    return _scattered(random, (0.05, 1.0), stroke)


def _crackle(random: Random) -> Floats:
    """A bad line: clicks of a sample or two, and the buzz of a GSM telephone."""

    def fault() -> Floats:
        if random.random() < 0.8:
            return _level(random, -30, -6) * random.choice([-1.0, 1.0], 2)
        times = _times(random.uniform(0.3, 2.0))
        return np.asarray(_level(random, -34, -16) * ((times * TDMA_HZ % 1) < 0.125))

    return _scattered(random, (0.02, 0.8), fault)


def _melody(random: Random) -> Floats:
    """Music of plucked notes with harmonics, in chords of one to three."""

    def notes() -> Floats:
        seconds = random.uniform(0.2, 0.8)
        times = _times(seconds)
        chord = np.zeros(len(times))
        for _ in range(int(random.integers(1, 4))):
            pitch_hz = 110 * 2 ** (random.integers(0, 36) / 12)
            for harmonic in range(1, 7):
                chord += np.sin(2 * np.pi * pitch_hz * harmonic * times) * np.exp(-3 * harmonic * times) / harmonic
        return np.asarray(_level(random, -26, -14) * chord / 3)

    return _scattered(random, (0.0, 0.3), notes)


_SOUNDS: dict[str, Callable[[Random], Floats]] = {
    "made_up_noise": _steady_noise,
    "made_up_wind": _gusts,
    "made_up_hum": _hum,
    "made_up_keys": _keys,
    "made_up_call_progress": _call_progress,
    "made_up_alarms": _alarms,
    "made_up_typing": _typing,
    "made_up_thumps": _thumps,
    "made_up_rustle": _rustle,
    "made_up_crackle": _crackle,
    "made_up_melody": _melody,
}
