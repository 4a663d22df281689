"""Runs the model Silero VAD v6 (snakers4/silero-vad): one copy for all streams, windows in batches.

The model file is part of this package; `silero_vad/README.md` says where it comes from. As in its makers' own ONNX
wrapper the end of the window before stands in front of each window: without it the model gives bad probabilities and no
error. One of two engines does the arithmetic: numpy, or onnxruntime, by which numpy is judged.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from relay.errors import ConfigError
from relay.extras import extra
from relay.media.silero_numpy import BATCH_MAX, NumpyNetwork

Engine = Literal["numpy", "onnxruntime"]

MODEL_FILE = Path(__file__).parent / "silero_vad" / "silero_vad.onnx"
MODEL_SHA256 = "1a153a22f4509e292a94e67d6f9b85e8deb25b4988682b7e174c65279d8788e3"
"""Of the file that the arithmetic in numpy was written from, and that the cough probe was trained with."""
WINDOW_SAMPLES = {8000: 256, 16000: 512}
"""32 ms at either rate: the only lengths the model takes."""
_CONTEXT_PART = 8  # the context is an eighth of the window
STATE_SIZE = 128
"""Of each half of the RNN state."""
_FULL_SCALE = 32768


@dataclass(slots=True)
class SileroState:
    """The memory of one stream: the model's RNN state `[2, 1, 128]`, hidden half first, and the end of the last window.

    The probability is the logistic function of a weighted sum of the hidden half, its negative values taken as 0. A run
    puts new arrays in the place of both: rows of those of its batch.
    """

    rnn: NDArray[np.float32]
    context: NDArray[np.float32]


class Batch(Protocol):
    """The inputs of an engine for n windows: `audio` `[n, samples]`, and the RNN states `memory` `[n, 2, 1, 128]`."""

    @property
    def audio(self) -> NDArray[np.float32]: ...

    @property
    def memory(self) -> NDArray[np.float32]: ...

    def run(self) -> list[float]:
        """Return the probabilities; `memory` moves on."""


class Network(Protocol):
    """The arithmetic of the model at one rate."""

    def batch(self, size: int) -> Batch: ...


class SileroModel:
    """The model at one rate. `run` blocks for about 20 to 50 us a window in numpy, 60 to 140 in onnxruntime.

    It keeps nothing of a stream between calls, and may not be called while it runs in another thread.
    """

    def __init__(self, network: Network, rate_hz: int, engine: Engine) -> None:
        self._network = network
        self.engine = engine
        self.rate_hz = rate_hz
        self.window_samples = WINDOW_SAMPLES[rate_hz]
        self._context_samples = self.window_samples // _CONTEXT_PART

    @classmethod
    def load(cls, rate_hz: int, engine: Engine = "numpy") -> Self:
        """Read the model.

        Raises `ConfigError` if it takes no such rate, if its file is missing, damaged or of another version, or if
        onnxruntime is not installed.
        """
        if rate_hz not in WINDOW_SAMPLES:
            raise ConfigError(f"the voice activity model takes 8000 or 16000 Hz, not {rate_hz}")
        try:
            file = MODEL_FILE.read_bytes()
        except OSError as error:
            raise ConfigError(f"{MODEL_FILE}: cannot be read: {error.strerror}: install relay again") from error
        if sha256(file).hexdigest() != MODEL_SHA256:
            raise ConfigError(f"{MODEL_FILE}: is damaged, or of another version: install relay again")
        return cls(_network(file, rate_hz, engine), rate_hz, engine)

    def new_state(self) -> SileroState:
        """Return the state of a stream that begins."""
        return SileroState(np.zeros((2, 1, STATE_SIZE), np.float32), np.zeros(self._context_samples, np.float32))

    def run(
        self,
        windows: Sequence[NDArray[np.int16]] | Sequence[NDArray[np.float32]],
        states: Sequence[SileroState],
        gain_db: float = 0.0,
    ) -> list[float]:
        """Return the probability of speech in each window; `states` move on.

        Window i belongs to the stream of state i; a stream may appear once. Each window has `window_samples` samples,
        all int16, or all float32 with full scale +-1; it is heard amplified, and clipped to that range. Raises
        `ValueError` for another length or count, with no state touched.
        """
        if len(windows) != len(states):
            raise ValueError(f"{len(windows)} windows, {len(states)} states")
        for length in set(map(len, windows)) - {self.window_samples}:
            raise ValueError(f"a window has {self.window_samples} samples, not {length}")
        probabilities: list[float] = []
        for first in range(0, len(windows), BATCH_MAX):
            some = slice(first, first + BATCH_MAX)
            probabilities += self._run_batch(windows[some], states[some], gain_db)
        return probabilities

    def _run_batch(
        self,
        windows: Sequence[NDArray[np.int16]] | Sequence[NDArray[np.float32]],
        states: Sequence[SileroState],
        gain_db: float,
    ) -> list[float]:
        batch, context = self._network.batch(len(states)), self._context_samples
        audio, memory = batch.audio, batch.memory
        memory[:] = np.concatenate([state.rnn for state in states]).reshape(memory.shape)
        audio[:, :context] = np.concatenate([state.context for state in states]).reshape(-1, context)
        samples: NDArray[Any] = np.concatenate(windows).reshape(len(windows), -1)
        full_scale = _FULL_SCALE if samples.dtype == np.int16 else 1
        heard = samples * np.float32(10 ** (gain_db / 20) / full_scale)
        heard.clip(-1, 1, out=audio[:, context:])
        probabilities = batch.run()
        for state, rnn, end in zip(states, memory.copy(), audio[:, -context:].copy(), strict=True):
            state.rnn, state.context = rnn, end
        return probabilities


def _network(file: bytes, rate_hz: int, engine: Engine) -> Network:
    if engine == "numpy":
        return NumpyNetwork.load(file, rate_hz)
    with extra("onnx", 'the engine "onnxruntime"'):
        from relay.media.silero_onnxruntime import OnnxruntimeNetwork  # noqa: PLC0415 - 20 MB that only its users need

    samples = WINDOW_SAMPLES[rate_hz] * (_CONTEXT_PART + 1) // _CONTEXT_PART
    return OnnxruntimeNetwork.load(file, rate_hz, samples)
