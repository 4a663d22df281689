"""Runs an operator's own model, which says how probable it is that the caller interrupts, in onnxruntime.

| name          | shape and type        | what it is                                                                 |
|---------------|-----------------------|----------------------------------------------------------------------------|
| `audio`       | float32 [1, 32000]    | input: the caller's last 2 s, mono, 16 kHz, full scale +-1, oldest first;  |
|               |                       | zeros stand in front of a call that is shorter                             |
| `assistant`   | float32 [1, 3]        | input: seconds of its present turn that the caller has heard; seconds of   |
|               |                       | audio that wait to be played; 1 during its first message, else 0           |
| any           | float32, one number   | output: the probability of an interruption                                 |

A dimension that the file leaves open fits.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from relay.errors import ConfigError
from relay.extras import extra
from relay.media.resample import Samples, resampler

RATE_HZ = 16000
AUDIO_S = 2
SHAPES: Mapping[str, tuple[int, ...]] = {"audio": (1, AUDIO_S * RATE_HZ), "assistant": (1, 3)}


class AssistantActivity(NamedTuple):
    """What the assistant was doing when the caller began to speak: see above."""

    heard_s: float
    left_s: float
    first_message: bool


class InterruptionModel:
    """One ONNX session on one thread. `probability` blocks for as long as the model takes."""

    def __init__(self, session: Any) -> None:
        self._session = session

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the model and run it once, on silence.

        Raises `ConfigError` if it cannot be loaded, or has other inputs or outputs than the table above, or if
        onnxruntime is not installed.
        """
        with extra("onnx", "barge_in.classifier"):
            import onnxruntime  # noqa: PLC0415 - 20 MB that only its users need

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # fatal only: what is wrong with the file is told below
        try:
            model = cls(onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"]))
            model.check()
            model.probability(np.zeros(0, np.int16), RATE_HZ, AssistantActivity(0.0, 0.0, first_message=True))
        except Exception as error:  # onnxruntime raises a dozen classes of its own, with no common base
            wanted = "an ONNX model with the inputs audio [1, 32000] and assistant [1, 3] and one probability"
            reason = " ".join(str(error).split())
            raise ConfigError(f"barge_in.classifier is {str(path)!r}, must be {wanted}: {reason}") from error
        return model

    def check(self) -> None:
        """Raise `ValueError` if the inputs are not those of the table."""
        found = {given.name: given for given in self._session.get_inputs()}
        if found.keys() != SHAPES.keys():
            raise ValueError(f"its inputs are {', '.join(sorted(found)) or 'none'}")
        for name, shape in SHAPES.items():
            given = found[name]
            fits = len(given.shape) == len(shape) and all(
                dimension == size or not isinstance(dimension, int)
                for dimension, size in zip(given.shape, shape, strict=True)
            )
            if given.type != "tensor(float)" or not fits:
                raise ValueError(f"its input {name} is {given.type} {given.shape}")
        if len(self._session.get_outputs()) != 1:
            raise ValueError(f"it has {len(self._session.get_outputs())} outputs")

    def probability(self, samples: Samples, rate_hz: int, activity: AssistantActivity) -> float:
        """The probability that this is an interruption. `samples` are the newest of the caller, of any length.

        Raises `ValueError` for an answer that is no probability, and whatever onnxruntime raises.
        """
        inputs = {"audio": _last_2_s(samples, rate_hz), "assistant": np.array([activity], np.float32)}
        answer = np.asarray(self._session.run(None, inputs)[0])
        if answer.size != 1 or not 0 <= float(answer.item()) <= 1:
            raise ValueError(f"it answers {np.array2string(answer, threshold=8)}, which is no probability")
        return float(answer.item())


def _last_2_s(samples: Samples, rate_hz: int) -> NDArray[np.float32]:
    at_rate = resampler(rate_hz, RATE_HZ).push(samples)[-AUDIO_S * RATE_HZ :]
    audio = np.zeros((1, AUDIO_S * RATE_HZ), np.float32)
    if len(at_rate):
        audio[0, -len(at_rate) :] = at_rate * np.float32(1 / 32768)
    return audio
