"""Runs the model Silero VAD v6 (snakers4/silero-vad) in onnxruntime: one session for all streams, windows in batches.

The model file comes from the package `silero_vad`, which is never imported, because it imports torch. As in the
package's own ONNX wrapper the end of the window before stands in front of each window: without it the model gives bad
probabilities and no error.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from relay.errors import ConfigError

PACKAGE = "silero_vad"
MODEL_FILE = "silero_vad.onnx"
WINDOW_SAMPLES = {8000: 256, 16000: 512}
"""32 ms at either rate: the only lengths the model takes."""
_CONTEXT_PART = 8  # the context is an eighth of the window
STATE_SIZE = 128
"""Of each half of the RNN state."""


@dataclass(slots=True)
class SileroState:
    """The memory of one stream: the model's RNN state `[2, 1, 128]`, hidden half first, and the end of the last window.

    The probability is the logistic function of a weighted sum of the hidden half, its negative values taken as 0.
    """

    rnn: NDArray[np.float32]
    context: NDArray[np.float32]


class SileroModel:
    """One ONNX session on one thread. `run` blocks for about 50 to 110 us a window and keeps nothing between calls."""

    def __init__(self, session: Any, rate_hz: int) -> None:
        self._session = session
        self._rate = np.array(rate_hz, np.int64)
        self.rate_hz = rate_hz
        self.window_samples = WINDOW_SAMPLES[rate_hz]
        self._context_samples = self.window_samples // _CONTEXT_PART

    @classmethod
    def load(cls, rate_hz: int) -> Self:
        """Read the model. Raises `ConfigError` if it takes no such rate, or if its file is missing or damaged."""
        if rate_hz not in WINDOW_SAMPLES:
            raise ConfigError(f"the voice activity model takes 8000 or 16000 Hz, not {rate_hz}")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors only: warnings would go to standard error by themselves
        path = model_path()
        try:
            session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises a dozen classes of its own, with no common base
            raise ConfigError(f"the voice activity model {path} cannot be loaded: {error}") from error
        return cls(session, rate_hz)

    def new_state(self) -> SileroState:
        """Return the state of a stream that begins."""
        return SileroState(np.zeros((2, 1, STATE_SIZE), np.float32), np.zeros(self._context_samples, np.float32))

    def run(
        self, windows: Sequence[NDArray[np.int16] | NDArray[np.float32]], states: Sequence[SileroState]
    ) -> list[float]:
        """Return the probability of speech in each window, by one run of the model; `states` move on.

        Window i belongs to the stream of state i; a stream may appear once. Each window has `window_samples` samples,
        int16, or float32 with full scale +-1. Raises `ValueError` for another length or count, with no state touched.
        """
        if not windows:
            return []
        context = self._context_samples
        batch = np.empty((len(windows), context + self.window_samples), np.float32)
        for row, window, state in zip(batch, windows, states, strict=True):
            if len(window) != self.window_samples:
                raise ValueError(f"a window has {self.window_samples} samples, not {len(window)}")
            row[:context] = state.context
            row[context:] = window
            if window.dtype == np.int16:
                row[context:] *= np.float32(1 / 32768)
        rnn = np.concatenate([state.rnn for state in states], axis=1)
        probabilities, rnn = self._session.run(None, {"input": batch, "state": rnn, "sr": self._rate})
        for index, state in enumerate(states):
            state.rnn = rnn[:, index : index + 1].copy()
            state.context = batch[index, -context:].copy()
        return [float(probability) for probability in probabilities[:, 0]]


def model_path() -> Path:
    """Return where the model file is installed. Raises `ConfigError` if it is not."""
    spec = find_spec(PACKAGE)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / "data" / MODEL_FILE
        if path.is_file():
            return path
    raise ConfigError(f"{MODEL_FILE} is missing: install the package {PACKAGE.replace('_', '-')} (pip --no-deps)")
