"""What the detector has heard last can be heard again, two seconds of it."""

import numpy as np
import pytest

from relay.call.caller.recent_audio import RecentAudio


@pytest.mark.parametrize("rate_hz", [8000, 16000])
def test_two_seconds_are_kept_in_order(rate_hz: int) -> None:
    recent, size = RecentAudio(rate_hz), rate_hz * 32 // 1000
    assert len(recent.samples()) == 0
    windows = [np.full(size, n, np.int16) for n in range(100)]
    for window in windows:
        recent.push(window)

    assert 2.0 <= len(recent.samples()) / rate_hz < 2.032
    assert np.array_equal(recent.samples(), np.concatenate(windows[-63:]))
