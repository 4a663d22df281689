"""Mu-law against the table of the standard, and silence without decoding."""

import warnings
from bisect import bisect_right
from itertools import accumulate

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.media import g711

EVERY_SAMPLE = np.arange(-32768, 32768, dtype=np.int32).astype(np.int16)
EVERY_CODE = bytes(range(256))

# G.711 table 2a, in its own 14-bit units: decision values x0 .. x127 of the positive half, and the decoder's output
# values y0 .. y127. Segment 0 has one interval of 1 and fifteen of 2; segment s has sixteen intervals of 2 ** (s + 1).
STEPS = [1] + [2] * 15 + [2 ** (segment + 1) for segment in range(1, 8) for _ in range(16)]
DECISIONS = [0, *accumulate(STEPS)][:128]
OUTPUTS = [0] + [low + step // 2 for low, step in zip(DECISIONS[1:], STEPS[1:], strict=True)]


def test_the_reference_agrees_with_the_values_printed_in_the_standard() -> None:
    """Guards the guard: values of table 2a at the ends of segments."""
    assert (DECISIONS[1], DECISIONS[16], DECISIONS[32], DECISIONS[112], DECISIONS[127]) == (1, 31, 95, 4063, 7903)
    assert (OUTPUTS[0], OUTPUTS[1], OUTPUTS[16], OUTPUTS[127]) == (0, 2, 33, 8031)


def test_decoding_is_the_standards_table() -> None:
    positive = [OUTPUTS[127 - (code & 0x7F)] * 4 for code in range(128)]

    assert g711.decode(EVERY_CODE).tolist() == [-value for value in positive] + positive


def test_encoding_is_the_standards_table_for_every_sample() -> None:
    expected = []
    for sample in EVERY_SAMPLE.tolist():
        interval = bisect_right(DECISIONS, abs(sample) // 4) - 1
        expected.append((127 - interval) | (0 if sample < 0 else 0x80))

    assert list(g711.encode(EVERY_SAMPLE)) == expected


def test_every_code_but_the_negative_zero_survives_decode_and_encode() -> None:
    again = g711.encode(g711.decode(EVERY_CODE))

    assert again == EVERY_CODE[:0x7F] + b"\xff" + EVERY_CODE[0x80:]


def test_agrees_with_audioop_where_python_has_it() -> None:
    """audioop shifts negative samples towards minus infinity first, so only its positive half is comparable."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        audioop = pytest.importorskip("audioop")
    positive = EVERY_SAMPLE[32768:]

    assert g711.decode(EVERY_CODE).tobytes() == audioop.ulaw2lin(EVERY_CODE, 2)
    assert g711.encode(positive) == audioop.lin2ulaw(positive.tobytes(), 2)


def test_encoding_reads_arrays_that_are_not_contiguous() -> None:
    assert g711.encode(EVERY_SAMPLE[::-7]) == g711.encode(EVERY_SAMPLE)[::-7]


@given(st.binary(max_size=320))
def test_silent_means_that_no_sample_is_over_the_peak(mulaw: bytes) -> None:
    loudest = max((abs(sample) for sample in g711.decode(mulaw).tolist()), default=0)

    assert g711.is_silent(mulaw) == (loudest <= g711.SILENCE_PEAK)


def test_one_loud_sample_breaks_silence() -> None:
    comfort_noise = g711.encode(np.array([-100, 0, 100, 164] * 40, np.int16))

    assert g711.is_silent(comfort_noise)
    assert not g711.is_silent(comfort_noise[:-1] + g711.encode(np.array([-400], np.int16)))
