"""Runs the network of Silero VAD in onnxruntime: the model file itself, whatever is in it."""

from typing import Any, Self

import numpy as np
import onnxruntime
from numpy.typing import NDArray

CELLS = 128


class OnnxruntimeNetwork:
    """One ONNX session on one thread. Keeps nothing between runs."""

    def __init__(self, session: Any, rate_hz: int, samples: int) -> None:
        self._session = session
        self._rate = np.array(rate_hz, np.int64)
        self._samples = samples

    @classmethod
    def load(cls, file: bytes, rate_hz: int, samples: int) -> Self:
        """Take the content of the model file, for inputs of so many samples. Raises whatever onnxruntime does."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors only: warnings would go to standard error by themselves
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        return cls(session, rate_hz, samples)

    def batch(self, size: int) -> "OnnxruntimeBatch":
        """Return new buffers for so many windows."""
        return OnnxruntimeBatch(self._session, self._rate, size, self._samples)


class OnnxruntimeBatch:
    """The buffers for n windows: `audio` `[n, samples]`, and in `memory` their RNN states, `[n, 2, 1, 128]`.

    Both are written by the user before a run; after it `memory` is the state behind the window.
    """

    def __init__(self, session: Any, rate: NDArray[np.int64], size: int, samples: int) -> None:
        self._session = session
        self._rate = rate
        self.audio = np.empty((size, samples), np.float32)
        self._state = np.empty((2, size, CELLS), np.float32)
        self.memory = self._state.transpose(1, 0, 2)[:, :, None]

    def run(self) -> list[float]:
        """Return the probability of speech in each window."""
        inputs = {"input": self.audio, "state": self._state, "sr": self._rate}
        probabilities, self._state[:] = self._session.run(None, inputs)
        return [float(probability) for probability in probabilities[:, 0]]
