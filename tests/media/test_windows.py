"""Windows for the model, whatever the chunks."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from relay.media.windows import WindowCutter


@given(st.lists(st.integers(0, 1500), max_size=8))
def test_any_chunking_gives_the_windows_of_the_whole(sizes: list[int]) -> None:
    samples = np.arange(sum(sizes)).astype(np.int16)
    cutter = WindowCutter(512, 16000)

    windows = [window for part in np.split(samples, np.cumsum(sizes)) for window in cutter.push(part)]

    assert len(windows) == len(samples) // 512
    assert [window.samples.tolist() for window in windows] == [
        samples[at : at + 512].tolist() for at in range(0, len(samples) - 511, 512)
    ]
    assert [window.end_ms for window in windows] == [32.0 * (index + 1) for index in range(len(windows))]


def test_telephone_windows_have_256_samples_for_the_same_time() -> None:
    windows = WindowCutter(256, 8000).push(np.zeros(600, np.int16))

    assert [(len(window.samples), window.end_ms) for window in windows] == [(256, 32.0), (256, 64.0)]
