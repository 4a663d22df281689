"""The resamplers: what passes and what does not, the delay, the chunking, the edges."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from relay.media.resample import NoResampling, PolyphaseFir, Resampler, Samples, SoxrStream, resampler

# rate in, rate out, delay in ms
FIR_PAIRS = [
    (8000, 16000, 1.75),
    (16000, 8000, 1.75),
    (24000, 8000, 1.75),
    (48000, 8000, 1.75),
    (8000, 24000, 1.75),
    (8000, 48000, 1.75),
    (24000, 16000, 0.875),
    (48000, 16000, 0.875),
    (16000, 24000, 0.875),
    (16000, 48000, 0.875),
    (96000, 16000, 0.875),
    (48000, 24000, 14 / 24),
]
SOXR_PAIRS = [(44100, 16000, 13.625), (16000, 44100, 14.989), (44100, 48000, 5.438), (44100, 8000, 30.0)]
PAIRS = FIR_PAIRS + SOXR_PAIRS
EVERY_PAIR = pytest.mark.parametrize(("rate_in", "rate_out", "delay_ms"), PAIRS)
EVERY_FIR_PAIR = pytest.mark.parametrize(("rate_in", "rate_out", "delay_ms"), FIR_PAIRS)
LEVEL = 16000.0


def tone(frequency: float, rate: int, seconds: float = 0.6) -> Samples:
    samples = LEVEL * np.sin(2 * np.pi * frequency * np.arange(int(rate * seconds)) / rate)
    return samples.round().astype(np.int16)


def noise(count: int, seed: int = 1) -> Samples:
    return np.random.default_rng(seed).normal(0, 8000, count).clip(-32768, 32767).astype(np.int16)


def spectrum_db(samples: Samples, rate: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Frequencies, and levels relative to a sine of amplitude `LEVEL`, of 0.2 s from the middle of 0.6 s."""
    window = np.blackman(rate // 5)
    part = samples[rate // 5 : rate // 5 * 2] * window
    levels: NDArray[np.float64] = np.abs(np.fft.rfft(part)) / (window.sum() / 2 * LEVEL)
    decibels: NDArray[np.float64] = 20 * np.log10(levels + 1e-9)
    frequencies = np.fft.rfftfreq(len(part), 1 / rate).astype(np.float64)
    return frequencies, decibels


def level_db(samples: Samples, rate: int, frequency: float) -> float:
    frequencies, levels = spectrum_db(samples, rate)
    return float(levels[np.abs(frequencies - frequency) < 20].max())


def loudest_other_db(samples: Samples, rate: int, frequency: float) -> float:
    frequencies, levels = spectrum_db(samples, rate)
    return float(levels[np.abs(frequencies - frequency) > 50].max())


def run(chain: Resampler, samples: Samples, chunk: int) -> Samples:
    return np.concatenate([chain.push(samples[at : at + chunk]) for at in range(0, len(samples), chunk)])


@EVERY_FIR_PAIR
def test_small_ratios_use_the_filter_and_the_band_stays_level(rate_in: int, rate_out: int, delay_ms: float) -> None:
    """Up to 0.85 of the lower Nyquist frequency within 0.05 dB, everything else 58 dB down; within 1 dB to 0.93."""
    nyquist = min(rate_in, rate_out) / 2
    chain = resampler(rate_in, rate_out)
    assert isinstance(chain, PolyphaseFir)
    for part in (0.025, 0.25, 0.5, 0.75, 0.8, 0.85):
        chain.reset()
        out = run(chain, tone(part * nyquist, rate_in), rate_in // 50)

        assert abs(level_db(out, rate_out, part * nyquist)) < 0.05
        assert loudest_other_db(out, rate_out, part * nyquist) < -58
    chain.reset()
    out = run(chain, tone(0.93 * nyquist, rate_in), rate_in // 50)
    assert abs(level_db(out, rate_out, 0.93 * nyquist)) < 1


@pytest.mark.parametrize(("rate_in", "rate_out"), [pair[:2] for pair in PAIRS if pair[0] > pair[1]])
def test_what_the_lower_rate_cannot_carry_is_removed(rate_in: int, rate_out: int) -> None:
    """Aliases: tones from 1.15 of the lower Nyquist frequency on are 58 dB down, wherever they fold to."""
    chain = resampler(rate_in, rate_out)
    nyquist = rate_out / 2
    for frequency in (1.15 * nyquist, 1.3 * nyquist, 1.6 * nyquist, 0.9 * rate_in / 2):
        if not 1.15 * nyquist <= frequency < rate_in / 2:
            continue
        chain.reset()
        out = run(chain, tone(frequency, rate_in), rate_in // 50)

        assert spectrum_db(out, rate_out)[1].max() < -58


def test_wideband_from_48_khz_is_flat_to_7_khz_and_keeps_aliases_out_of_it() -> None:
    for frequency in (6000, 6500, 7000):
        out = run(resampler(48000, 16000), tone(frequency, 48000), 960)
        assert abs(level_db(out, 16000, frequency)) < 1
    for frequency in (9000, 10000, 12000, 15000, 20000):
        out = run(resampler(48000, 16000), tone(frequency, 48000), 960)
        assert spectrum_db(out, 16000)[1].max() < -50


@pytest.mark.parametrize("frequency", [60, 200, 300, 700, 1000, 1500, 2000, 2500, 3000, 3200, 3400])
def test_a_tone_through_8_16_8_khz_keeps_its_level_and_gets_no_images(frequency: int) -> None:
    """The whole telephone band: within 0.1 dB through both, images at 16 kHz and residue at 8 kHz 58 dB down."""
    raised = run(resampler(8000, 16000), tone(frequency, 8000), 160)
    lowered = run(resampler(16000, 8000), raised, 320)

    assert abs(level_db(lowered, 8000, frequency)) < 0.1
    assert loudest_other_db(raised, 16000, frequency) < -58
    assert loudest_other_db(lowered, 8000, frequency) < -58


def test_a_constant_stays_a_constant() -> None:
    for rate_in, rate_out, _ in FIR_PAIRS:
        out = run(resampler(rate_in, rate_out), np.full(rate_in // 10, 10000, np.int16), 100)
        assert set(out[rate_out // 50 :].tolist()) == {10000}


@EVERY_PAIR
def test_the_delay_is_the_stated_one(rate_in: int, rate_out: int, delay_ms: float) -> None:
    """A pulse comes out `delay_ms` later, by the count of samples; no 20 ms push ever gives more than 20 ms."""
    chain = resampler(rate_in, rate_out)
    assert chain.delay_ms == pytest.approx(delay_ms)
    frame = rate_in // 50
    pulse = np.zeros(frame * 10, np.int16)
    at = frame * 4
    pulse[at - rate_in // 8000 : at + rate_in // 8000 + 1] = 20000  # 0.25 ms wide, so that every rate resolves it

    tolerance_ms = 2200 / min(rate_in, rate_out) if isinstance(chain, SoxrStream) else 0.02
    held = round(delay_ms * rate_out / 1000) if isinstance(chain, SoxrStream) else 0  # the FIR starts with zeros
    first = chain.push(pulse[:frame])
    rest = [chain.push(pulse[start : start + frame]) for start in range(frame, len(pulse), frame)]
    out = np.concatenate([np.zeros(held, np.int16), first, *rest]).astype(np.float64)

    assert abs(len(first) + sum(map(len, rest)) + held - 10 * rate_out // 50) <= 1
    assert max(map(len, rest)) == rate_out // 50
    window = out * (np.abs(out) > 2000)
    centre_ms = (window**2 * np.arange(len(out))).sum() / (window**2).sum() * 1000 / rate_out
    assert centre_ms - at * 1000 / rate_in == pytest.approx(delay_ms, abs=tolerance_ms)


@EVERY_FIR_PAIR
def test_20_ms_in_are_20_ms_out_from_the_first_push(rate_in: int, rate_out: int, delay_ms: float) -> None:
    chain = resampler(rate_in, rate_out)

    assert {len(chain.push(noise(rate_in // 50))) for _ in range(10)} == {rate_out // 50}


def test_an_impulse_is_delayed_by_exactly_28_samples_at_16_khz() -> None:
    impulse = np.zeros(320, np.int16)
    impulse[100] = 10000

    out = resampler(8000, 16000).push(impulse)

    assert int(np.abs(out).argmax()) == 200 + 28
    assert out[228 - 27 : 228].tolist() == out[229 : 229 + 27][::-1].tolist()


@given(
    st.sampled_from(FIR_PAIRS + SOXR_PAIRS[:2]),
    st.lists(st.integers(0, 700), max_size=8),
    st.integers(0, 2**16),
)
def test_any_chunking_gives_the_same_samples(pair: tuple[int, int, float], cuts: list[int], seed: int) -> None:
    rate_in, rate_out, _ = pair
    samples = noise(sum(cuts) + 50, seed)
    whole = resampler(rate_in, rate_out).push(samples)
    chain = resampler(rate_in, rate_out)
    parts = np.split(samples, np.cumsum(cuts))

    out = np.concatenate([chain.push(part) for part in parts])

    if isinstance(chain, PolyphaseFir):
        assert out.tolist() == whole.tolist()
        divisor = int(np.gcd(rate_in, rate_out))
        assert len(out) == len(samples) // (rate_in // divisor) * (rate_out // divisor)
    else:  # float32 sums: the rounding of the last bit may differ
        assert len(out) == len(whole)
        assert np.abs(out.astype(int) - whole.astype(int)).max(initial=0) <= 1


@EVERY_PAIR
def test_after_reset_silence_is_zeros(rate_in: int, rate_out: int, delay_ms: float) -> None:
    """No tail of old audio: a tone, a reset, then silence, must be silent from the first sample."""
    chain = resampler(rate_in, rate_out)
    before = chain.push(tone(1000, rate_in, 0.1))
    chain.reset()

    out = chain.push(np.zeros(rate_in // 10, np.int16))

    assert np.abs(before).max() > 10000
    assert len(out) > 0
    assert not out.any()


@EVERY_PAIR
def test_after_reset_it_is_as_new(rate_in: int, rate_out: int, delay_ms: float) -> None:
    chain = resampler(rate_in, rate_out)
    chain.push(noise(777))
    chain.reset()

    assert chain.push(noise(5000, 2)).tolist() == resampler(rate_in, rate_out).push(noise(5000, 2)).tolist()


@EVERY_PAIR
def test_full_scale_saturates_and_does_not_wrap(rate_in: int, rate_out: int, delay_ms: float) -> None:
    """A square wave of full scale overshoots; each half wave must keep its sign."""
    half = rate_in // 200
    square = np.tile(np.repeat(np.array([32767, -32768], np.int16), half), 20)
    half_out = rate_out / 200
    shift = 0.0 if isinstance(resampler(rate_in, rate_out), SoxrStream) else delay_ms * rate_out / 1000

    out = resampler(rate_in, rate_out).push(square)

    assert out.max() == 32767
    assert out.min() == -32768
    middles = [round((index + 0.5) * half_out + shift) for index in range(4, 20)]
    assert [int(out[at]) > 25000 for at in middles] == [index % 2 == 0 for index in range(4, 20)]
    assert [int(out[at]) < -25000 for at in middles] == [index % 2 == 1 for index in range(4, 20)]


def test_noise_in_the_telephone_band_survives_8_16_8_khz() -> None:
    """Fidelity: what comes back, shifted by the two delays, differs by rounding only."""
    shape = np.fft.rfft(noise(16000).astype(np.float64))
    shape[np.fft.rfftfreq(16000, 1 / 8000) > 3400] = 0
    samples = np.fft.irfft(shape).clip(-32768, 32767).astype(np.int16)

    back = resampler(16000, 8000).push(resampler(8000, 16000).push(samples))

    error = back[28 + 100 :].astype(float) - samples[100:-28]
    assert 20 * np.log10(np.std(error) / np.std(samples)) < -50


def test_equal_rates_give_the_same_array() -> None:
    samples = noise(10)

    assert resampler(16000, 16000).push(samples) is samples
    assert resampler(16000, 16000).delay_ms == 0
    assert isinstance(resampler(16000, 16000), NoResampling)


def test_a_long_push_is_not_kept() -> None:
    made = resampler(8000, 16000)
    tracemalloc.start()
    try:
        made.push(np.zeros(80_000, np.int16))
        kept_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert kept_bytes < 20_000, "it was of 160,000"


def test_pushes_of_many_lengths_share_their_room() -> None:
    made = resampler(8000, 16000)
    made.push(np.zeros(160, np.int16))
    tracemalloc.start()
    try:
        for samples in range(800, 1920, 40):
            made.push(np.zeros(samples, np.int16))
        kept_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert kept_bytes < 100_000, "each of them takes 37,000 to 100,000 by itself"


def test_the_filter_refuses_a_ratio_that_is_not_small() -> None:
    with pytest.raises(ValueError, match="44100 to 16000"):
        PolyphaseFir(44100, 16000)
