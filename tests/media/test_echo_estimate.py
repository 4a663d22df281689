"""An echo is found soon, with its delay and its loss; two people who speak at once are none."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from relay.media import echo_estimate, g711
from relay.media.echo_estimate import (
    BLOCK_MS,
    CERTAIN,
    GLANCE_MS,
    GLANCE_SUSPECT,
    RATE_HZ,
    REACH_MS,
    STEADY_STEPS,
    EchoEstimate,
    glance,
)
from relay.media.features import level_dbfs
from relay.media.resample import Samples
from relay.media.sound import Sound, convert
from relay.standin import phrases
from relay.standin.echo import EchoPath, mix

FRAME = RATE_HZ // 50


def speech(name: str) -> Samples:
    """As a telephone line carries it."""
    phrase = phrases.phrase(name)
    narrow = convert(Sound(phrase.samples, phrase.rate_hz), 8000).samples
    return convert(Sound(g711.decode(g711.encode(narrow)), 8000), RATE_HZ).samples


def first_certain_ms(near: Samples, far: Samples, estimate: EchoEstimate) -> float | None:
    for at in range(0, min(len(near), len(far)) - FRAME, FRAME):
        if estimate.push(near[at : at + FRAME], far[at : at + FRAME]) and estimate.is_certain:
            return (at + FRAME) * 1000 / RATE_HZ
    return None


@pytest.mark.parametrize("delay_ms", [50, 180, 500, 900])
@pytest.mark.parametrize("loss_db", [10, 25, 35])
def test_an_echo_is_found_with_its_delay_and_its_loss(loss_db: int, delay_ms: int) -> None:
    far = speech("description")
    near = EchoPath(RATE_HZ, delay_ms=delay_ms, loss_db=loss_db).push(far)
    estimate = EchoEstimate()

    found_ms = first_certain_ms(near, far, estimate)

    assert found_ms is not None
    assert found_ms < delay_ms + 1500
    assert estimate.delay_ms == pytest.approx(delay_ms, abs=5)
    assert estimate.loss_db == pytest.approx(loss_db, abs=5)


def test_an_echo_is_found_beneath_the_callers_own_voice() -> None:
    far = speech("description")
    caller = np.resize(speech("question"), len(far))
    near = mix(caller, EchoPath(RATE_HZ, delay_ms=180, loss_db=10).push(far))
    estimate = EchoEstimate()

    assert first_certain_ms(near, far, estimate) is not None
    assert estimate.delay_ms == pytest.approx(180, abs=5)


def test_what_comes_back_much_louder_than_it_was_played_is_no_echo() -> None:
    far: Samples = (speech("description") * 0.1).astype(np.int16)
    near = EchoPath(RATE_HZ, delay_ms=180, loss_db=-12).push(far)

    assert first_certain_ms(near, far, EchoEstimate()) is None


def test_two_people_who_speak_at_once_are_no_echo() -> None:
    far = speech("description")
    near = np.resize(speech("question"), len(far))

    assert first_certain_ms(near, far, EchoEstimate()) is None


@pytest.mark.parametrize("hz", [440, 523.25, 1000])
def test_tones_of_two_sides_are_no_echo_though_they_agree(hz: float) -> None:
    """The sound of an outage, of a free line, of a key: each side may have one of the same pitch."""
    at_s = np.arange(6 * RATE_HZ) / RATE_HZ
    tone: Samples = (6000 * np.sin(2 * np.pi * hz * at_s)).astype(np.int16)
    later: Samples = (-tone * (at_s > 2.1)).astype(np.int16)
    pulses: Samples = (later * (at_s % 0.7 < 0.3)).astype(np.int16)

    for near, far in ((later, tone), (pulses, tone), (tone, tone), (tone, pulses)):
        assert first_certain_ms(near, far, EchoEstimate()) is None


@pytest.mark.parametrize(("near_kind", "far_kind"), [("noise", "tone"), ("noise", "click"), ("click", "click")])
def test_a_sound_that_begins_suddenly_on_each_side_is_no_echo(near_kind: str, far_kind: str) -> None:
    """Two clicks agree perfectly, at the one delay between them."""
    begins_ms = (300, 311, 320, 333, 345)

    assert max(highest_score(near_kind, at + later, far_kind, at) for at in begins_ms for later in (112, 400)) < CERTAIN


def highest_score(near_kind: str, near_ms: int, far_kind: str, far_ms: int) -> float:
    """A sound begins at these times on the two sides, which are silent before."""
    estimate, near, far = EchoEstimate(), beginning(near_kind, near_ms), beginning(far_kind, far_ms)
    steps = range(0, len(near), FRAME)
    return max(estimate.score for at in steps if estimate.push(near[at : at + FRAME], far[at : at + FRAME]))


def beginning(kind: str, at_ms: int) -> Samples:
    sound = np.zeros(RATE_HZ)
    if kind == "tone":
        sound = 7000 * np.sin(np.arange(len(sound)) * 2 * np.pi * 1000 / RATE_HZ)
    elif kind == "noise":
        sound = np.random.default_rng(at_ms).normal(0, 6000, len(sound))
    else:
        sound[at_ms * 16 : at_ms * 16 + 40] = 9000
        sound += np.random.default_rng(at_ms).normal(0, 30, len(sound))
    sound[: at_ms * 16] = 0
    narrow = convert(Sound(np.clip(sound, -32000, 32000).astype(np.int16), RATE_HZ), 8000).samples
    return convert(Sound(g711.decode(g711.encode(narrow)), 8000), RATE_HZ).samples


def test_an_echo_later_than_the_reach_is_not_found() -> None:
    far = speech("description")
    near = EchoPath(RATE_HZ, delay_ms=REACH_MS + 100, loss_db=10).push(far)

    assert first_certain_ms(near, far, EchoEstimate()) is None


@pytest.mark.parametrize("silent", ["near", "far"])
def test_with_one_side_silent_nothing_is_computed(silent: str) -> None:
    sound = speech("description")
    nothing = np.zeros(len(sound), np.int16)
    near, far = (nothing, sound) if silent == "near" else (sound, nothing)

    assert EchoEstimate().push(near, far) == 0


def test_chunking_changes_nothing() -> None:
    far = speech("description")[: 2 * RATE_HZ]
    near = EchoPath(RATE_HZ, delay_ms=100, loss_db=12).push(far)
    at_once, chunked = EchoEstimate(), EchoEstimate()

    steps = at_once.push(near, far)
    pieces = np.cumsum([0, 1, 7, 160, 511, 513, 320, 3000])
    later = sum(chunked.push(near[a:b], far[a:b]) for a, b in zip(pieces, [*pieces[1:], len(far)], strict=True))

    assert (steps, at_once.score, at_once.delay_ms) == (later, chunked.score, chunked.delay_ms)


def glances(near: Samples, far: Samples) -> list[float]:
    """The scores of the moments at which there is sound on both sides, 50 ms apart."""
    kept = (GLANCE_MS + REACH_MS) * 16
    moments = range(2 * RATE_HZ, len(near), RATE_HZ // 20)
    scores = [glance(near[at - kept : at], far[at - kept : at], RATE_HZ) for at in moments]
    return [score for score in scores if score]


def share_suspected(scores: list[float]) -> float:
    return sum(score >= GLANCE_SUSPECT for score in scores) / len(scores)


def test_a_glance_suspects_most_echoes_and_hardly_ever_two_people_who_speak_at_once() -> None:
    far = speech("description")
    echo = EchoPath(RATE_HZ, delay_ms=180, loss_db=15).push(far)
    caller = np.resize(speech("question"), len(far))

    assert share_suspected(glances(echo, far)) > 0.8
    assert share_suspected(glances(caller, far)) < 0.1


def test_a_glance_at_silence_or_at_too_little_suspects_nothing() -> None:
    far = speech("description")[: 2 * RATE_HZ]

    assert glance(np.zeros(len(far), np.int16), far, RATE_HZ) == 0
    assert glance(far, np.zeros(len(far), np.int16), RATE_HZ) == 0
    assert glance(far[:8000], far[:8000], RATE_HZ) == 0


LOSS_STEPS = 32
"""The median is that of the last 16 losses, which not every step adds to."""
BY_ONE_BLOCK = 7.5
"""A single block comes to less. Its highest sums may be equal, as each is limited: then rounding says which counts."""


class PlainEstimate(EchoEstimate):
    """A step as the module describes it, in double precision, and one thing after the other."""

    def _step(self, near: Samples, far: Samples) -> bool:
        lags, block = REACH_MS * 4, BLOCK_MS * 4
        self._near = np.concatenate((self._near, slow(near)))[-block:]
        self._far = np.concatenate((self._far, slow(far)))[-lags - block :]
        if level_dbfs(near[-RATE_HZ * 32 // 1000 :]) < echo_estimate.HEARD_DBFS:
            return False
        if float(np.mean(self._far.astype(np.float64) ** 2)) < 10 ** ((echo_estimate.PLAYED_DBFS - 6) / 10) * 32768**2:
            return False
        near_flat, far_flat = (flat(sound, lags + block) for sound in (self._near * np.hanning(block), self._far))
        near_power = float((np.abs(near_flat) ** 2).sum())
        if near_power / len(near_flat) < 0.15:
            return False
        agreement = np.fft.irfft(far_flat * near_flat.conj())[: lags + 1]
        played = np.fft.irfft(far_flat)
        sums = np.cumsum(np.concatenate(([0.0], played**2)))
        chance = (sums[block:] - sums[:-block]) * near_power * 2 / (lags + block) ** 2
        most = 25 * np.sqrt(chance + 0.05 * chance.mean())
        self._sums = (self._sums * 0.88 + np.clip(agreement, -most, most)).astype(np.float32)
        self._chance = (self._chance * 0.88**2 + chance).astype(np.float32)
        self._look()
        return True


def slow(samples: Samples) -> NDArray[np.float32]:
    means: NDArray[np.float32] = samples.reshape(-1, 4).mean(axis=1, dtype=np.float32)
    return means


def flat(sound: NDArray[np.floating], span: int) -> NDArray[np.complex128]:
    spectrum = np.fft.rfft(sound.astype(np.float64), span)
    size = np.abs(spectrum)
    flattened: NDArray[np.complex128] = spectrum / (size + 0.05 * np.sqrt(np.mean(size**2)) + 1e-9)
    return flattened


@settings(max_examples=15)
@example(caller="silence", played="description", caller_db=0, loss_db=2, delay_ms=8, thinned=1)
@given(
    caller=st.sampled_from(["question", "silence", "noise"]),
    played=st.sampled_from(["description", "noise"]),
    caller_db=st.integers(-30, 0),
    loss_db=st.integers(0, 50),
    delay_ms=st.integers(0, REACH_MS),
    thinned=st.sampled_from([1, 4]),
)
def test_what_is_found_is_what_the_plain_computation_finds(
    *, caller: str, played: str, caller_db: int, loss_db: int, delay_ms: int, thinned: int
) -> None:
    far = sound(played, 1)
    near = mix(loudness(sound(caller, 2), caller_db), EchoPath(RATE_HZ, delay_ms=delay_ms, loss_db=loss_db).push(far))
    quick, plain = EchoEstimate(), PlainEstimate()
    agreed: list[bool] = []
    for at in range(0, len(far), FRAME):
        piece = slice(at, at + FRAME)
        compared = quick.push(near[piece], far[piece], thinned=thinned)

        assert compared == plain.push(near[piece], far[piece], thinned=thinned)
        agreed.extend([quick.delay_ms == plain.delay_ms] * compared)
        if all(agreed[-STEADY_STEPS:]):  # of lags that tie in the first steps each may take another: steady later
            assert quick.is_certain == plain.is_certain
        if max(quick.score, plain.score) > BY_ONE_BLOCK:
            assert quick.delay_ms == plain.delay_ms
            assert quick.score == pytest.approx(plain.score, rel=1e-4)
        if quick.is_certain and all(agreed[-LOSS_STEPS:]):  # it is the median of these
            assert quick.loss_db == pytest.approx(plain.loss_db, abs=0.5)


def sound(kind: str, seed: int) -> Samples:
    count = 3 * RATE_HZ
    if kind == "silence":
        return np.zeros(count, np.int16)
    if kind == "noise":
        return np.random.default_rng(seed).normal(0, 3000, count).astype(np.int16)
    return np.resize(phrases.phrase(kind).samples, count)


def loudness(samples: Samples, gain_db: int) -> Samples:
    return (samples * 10 ** (gain_db / 20)).astype(np.int16)
