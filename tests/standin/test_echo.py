"""An echo comes after its delay, with its loss, however the sound was chunked."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.standin.echo import ROOM_MS, EchoPath, mix
from relay.standin.sound import Samples

RATE_HZ = 8000


def noise(seconds: float, level: float = 4000.0) -> Samples:
    samples: Samples = (np.random.default_rng(7).standard_normal(int(seconds * RATE_HZ)) * level).astype(np.int16)
    return samples


def level_db(samples: Samples) -> float:
    return float(10 * np.log10(np.mean(samples.astype(np.float64) ** 2)))


@pytest.mark.parametrize("loss_db", [10.0, 20.0, 40.0])
def test_the_echo_is_weaker_by_its_loss(loss_db: float) -> None:
    played = noise(3)

    echo = EchoPath(RATE_HZ, delay_ms=0, loss_db=loss_db).push(played)

    assert level_db(played) - level_db(echo) == pytest.approx(loss_db, abs=0.5)


@pytest.mark.parametrize("delay_ms", [0.0, 50.0, 180.0, 700.0])
def test_the_echo_begins_after_its_delay_with_the_direct_sound(delay_ms: float) -> None:
    click = np.zeros(RATE_HZ, np.int16)
    click[0] = 20000

    echo = EchoPath(RATE_HZ, delay_ms=delay_ms, loss_db=10).push(click)

    heard = np.flatnonzero(echo)
    assert heard[0] == delay_ms * RATE_HZ / 1000
    assert heard[-1] < (delay_ms + ROOM_MS) * RATE_HZ / 1000
    assert abs(int(echo[heard[0]])) == np.abs(echo).max()


@given(st.lists(st.integers(0, 700), max_size=12))
def test_the_echo_depends_on_the_samples_alone(lengths: list[int]) -> None:
    whole = noise(1)[: sum(lengths)]
    path, other = (EchoPath(RATE_HZ, delay_ms=30, loss_db=12, drive=0.5) for _ in range(2))

    pieces = [path.push(piece) for piece in np.split(whole, np.cumsum(lengths))]

    apart = np.concatenate(pieces).astype(int) - other.push(whole)
    assert not len(apart) or np.abs(apart).max() <= 1  # sums of floats in another order may round the other way


def test_an_overdriven_loudspeaker_adds_harmonics() -> None:
    tone: Samples = (20000 * np.sin(2 * np.pi * 500 * np.arange(RATE_HZ) / RATE_HZ)).astype(np.int16)

    def third_db(drive: float) -> float:
        spectrum = np.abs(np.fft.rfft(EchoPath(RATE_HZ, delay_ms=0, loss_db=0, drive=drive).push(tone)[-4000:]))
        return float(20 * np.log10(spectrum[750] / spectrum[250]))

    assert third_db(0.0) < -50
    assert third_db(3.0) > -25


def test_a_sum_saturates() -> None:
    both = mix(np.array([30000, -30000, 5], np.int16), np.array([30000, -30000, 6], np.int16))

    assert both.tolist() == [32767, -32768, 11]
