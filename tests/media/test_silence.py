"""Silence by format: the same bound for both, and nothing over it is missed."""

import numpy as np
import pytest

from relay.errors import FormatMismatch
from relay.media import g711
from relay.media.frames import TELEPHONE, WIDEBAND, AudioFormat, Encoding
from relay.media.silence import silence_test


@pytest.mark.parametrize(
    ("peak", "silent"), [(0, True), (164, True), (-164, True), (165, False), (-165, False), (-32768, False)]
)
def test_one_loud_sample_is_enough(peak: int, silent: bool) -> None:
    samples = np.zeros(320, "<i2")
    samples[200] = peak

    assert silence_test(WIDEBAND)(samples.tobytes()) is silent


def test_the_telephone_keeps_its_own_test_and_nothing_is_silent() -> None:
    assert silence_test(TELEPHONE) is g711.is_silent
    assert silence_test(WIDEBAND)(b"")


def test_floating_point_is_for_no_caller() -> None:
    with pytest.raises(FormatMismatch):
        silence_test(AudioFormat(Encoding.PCM_F32LE, 48_000))
