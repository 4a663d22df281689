"""The arithmetic in numpy against onnxruntime, which runs the model file itself."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.media.resample import Samples
from relay.media.silero import SileroModel
from relay.media.silero_numpy import BATCH_MAX, NumpyNetwork
from relay.media.sound import Sound
from relay.vad.sound import read_sound, windows
from tests.media.test_silero import babble, hiss

RATES = [8000, 16000]
EXACT = 1e-5
"""Of the probabilities. A number of the state may be out by ten times as much: by so much
onnxruntime itself is out against the same arithmetic in double precision."""
MODELS = {rate: (SileroModel.load(rate, "numpy"), SileroModel.load(rate, "onnxruntime")) for rate in RATES}


def assert_equal(rate: int, streams: Sequence[Samples]) -> None:
    """Numpy and onnxruntime give the same probabilities and states for streams side by side.

    A cell state is a sum over the whole past, and may be far from 1: its error is one of its last digits.
    """
    size = MODELS[rate][0].window_samples
    states = [[model.new_state() for _ in streams] for model in MODELS[rate]]
    errors = []
    for start in range(0, max(map(len, streams)) - size + 1, size):
        running = [number for number, stream in enumerate(streams) if len(stream) >= start + size]
        windows = [streams[number][start : start + size] for number in running]
        found = []
        for model, all_states in zip(MODELS[rate], states, strict=True):
            theirs = [all_states[number] for number in running]
            found.append((np.array(model.run(windows, theirs)), np.array([state.rnn for state in theirs])))
        (probabilities, state), (true_probabilities, true_state) = found
        assert np.abs(probabilities - true_probabilities).max() < EXACT
        errors.append(np.abs(state - true_state) / np.maximum(1, np.abs(true_state)))
    all_errors = np.concatenate(errors)
    assert all_errors.max() < 10 * EXACT
    assert np.sqrt(np.mean(all_errors**2)) < EXACT


@pytest.mark.parametrize("rate", RATES)
def test_made_up_sounds_get_the_same_probabilities_and_states(rate: int) -> None:
    loud_noise = np.random.default_rng(1).integers(-32768, 32767, rate * 2, np.int16, endpoint=True)
    square = np.where(np.arange(rate * 2) % 40 < 20, 32767, -32768).astype(np.int16)
    click = np.zeros(rate * 2, np.int16)
    click[rate] = -32768
    quiet = np.zeros(rate * 2, np.int16)

    assert_equal(rate, [babble(rate, 2), hiss(rate, 2), loud_noise, square, click, quiet])


@settings(deadline=None, max_examples=10)
@given(
    rate=st.sampled_from(RATES),
    streams=st.integers(1, BATCH_MAX + 3),
    seed=st.integers(0, 2**32 - 1),
    level=st.sampled_from([0, 1, 100, 5000, 32767]),
)
def test_any_number_of_streams_of_any_loudness_gets_the_same(rate: int, streams: int, seed: int, level: int) -> None:
    noise = np.random.default_rng(seed)
    assert_equal(rate, list(noise.integers(-level, level, (streams, rate // 4), np.int16, endpoint=True)))


@pytest.mark.parametrize("rate", RATES)
def test_every_recording_gets_the_same(rate: int, recordings: Path, interruptions: Path) -> None:
    """The first 15 s of each."""
    model = MODELS[rate][0]
    found = sorted(path for folder in (recordings, interruptions) for path in folder.rglob("*.wav"))
    assert found
    sounds = [read_sound(path) for path in found]
    beginnings = [Sound(sound.samples[: 15 * sound.rate_hz], sound.rate_hz) for sound in sounds]

    assert_equal(rate, [windows(sound, model).ravel() for sound in beginnings])


@pytest.mark.parametrize("rate", RATES)
def test_a_batch_of_another_size_leaves_no_trace_of_the_one_before(rate: int) -> None:
    """All sizes share their buffers: what pads them must be what it was."""
    model = MODELS[rate][0]
    window = babble(rate, 0.2)[: model.window_samples]
    first = model.run([window], [model.new_state()])
    for size in (BATCH_MAX, 1, 2, 7):
        assert model.run([window] * size, [model.new_state() for _ in range(size)]) == pytest.approx(
            first * size, abs=EXACT
        )


def test_a_file_without_the_weights_is_refused() -> None:
    with pytest.raises(ValueError, match="then_branch"):
        NumpyNetwork.load(b"not a model", 16000)


CODE = """
import os
import relay
from relay.media.sound import Sound
from relay.media.silero import SileroModel
import numpy as np
model = SileroModel.load(16000)
model.run([np.zeros(512, np.int16)] * 32, [model.new_state() for _ in range(32)])
np.ones((1000, 1000), np.float32) @ np.ones((1000, 1000), np.float32)
import relay.daemon.daemon, sys
print(len(os.listdir("/proc/self/task")), "onnxruntime" in sys.modules)
"""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="counts threads by /proc")
def test_it_needs_neither_threads_nor_the_other_engine() -> None:
    environ = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    done = subprocess.run([sys.executable, "-c", CODE], env=environ, check=True, timeout=60, stdout=subprocess.PIPE)

    assert done.stdout.split() == [b"1", b"False"]
