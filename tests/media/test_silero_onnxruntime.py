"""The engine that runs the model file itself."""

import numpy as np
import pytest

from relay.media.silero import MODEL_FILE
from relay.media.silero_onnxruntime import OnnxruntimeNetwork


@pytest.mark.parametrize(("rate_hz", "samples"), [(8000, 288), (16000, 576)])
def test_a_run_moves_the_memory_of_each_row_on(rate_hz: int, samples: int) -> None:
    batch = OnnxruntimeNetwork.load(MODEL_FILE.read_bytes(), rate_hz, samples).batch(2)
    batch.audio[:] = np.random.default_rng(0).normal(0, 0.1, (2, samples))
    for memory in batch.memory:
        memory[:] = 0

    probabilities = batch.run()

    assert all(0 < probability < 1 for probability in probabilities)
    assert all(memory.any() and memory.shape == (2, 1, 128) for memory in batch.memory)


def test_a_file_that_is_no_model_cannot_be_loaded() -> None:
    with pytest.raises(Exception, match="model"):
        OnnxruntimeNetwork.load(b"not a model", 16000, 576)
