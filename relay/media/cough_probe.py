"""Tells coughs, which the speech model takes for speech, from voices.

The model's state holds more than the one probability that is made of it. A probe (G. Alain and Y. Bengio,
"Understanding intermediate layers using linear classifier probes", 2016) reads the state behind each window: here a
logistic regression, with one small layer of hidden units beside it. Its weights, made by
`scripts/train_cough_probe.py`, belong to one version of the model's file.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Self

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from relay.errors import ConfigError
from relay.media.silero import MODEL_SHA256, STATE_SIZE, SileroState

WEIGHTS_FILE = Path(__file__).parent / "cough_probe.json"
INPUTS = 2 * STATE_SIZE
"""The RNN state, hidden half first."""
PerInput = Annotated[list[float], Meta(min_length=INPUTS, max_length=INPUTS)]


class Weights(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The weights of the probe at one rate of the model.

    The bound is `outward` . tanh(`inward` s + `offsets`) + `direct` . s + `bias`, where s is the state. `inward` has a
    row for each hidden unit, `offsets` and `outward` a number. There may be no unit.
    """

    inward: list[PerInput]
    offsets: list[float]
    outward: list[float]
    direct: PerInput
    bias: float

    def __post_init__(self) -> None:
        if not len(self.inward) == len(self.offsets) == len(self.outward):
            raise ValueError("inward, offsets and outward are not of one length")


class ProbeFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of `cough_probe.json`: the weights by the model's rate in Hz, and where they come from."""

    about: str
    formula: str
    script: str
    sources: list[str]
    model_sha256: str
    weights: dict[str, Weights]


class CoughProbe:
    """Bounds how sure the detector may be that a window holds a voice. Keeps nothing between windows."""

    def __init__(self, weights: Weights) -> None:
        self._inward = np.array(weights.inward, np.float32).reshape(-1, INPUTS).T
        self._offsets = np.array(weights.offsets, np.float32)
        self._outward = np.array(weights.outward, np.float32)
        self._direct = np.array(weights.direct, np.float32)
        self._bias = np.float32(weights.bias)

    @classmethod
    def load(cls, rate_hz: int) -> Self:
        """Read the weights for the model at this rate.

        Raises `ConfigError` if their file is missing or damaged, or if they belong to another model.
        """
        try:
            content = msgspec.json.decode(WEIGHTS_FILE.read_bytes(), type=ProbeFile)
            weights = content.weights[str(rate_hz)]
        except OSError as error:
            raise ConfigError(f"{WEIGHTS_FILE}: cannot be read: {error.strerror}") from error
        except msgspec.DecodeError as error:
            raise ConfigError(f"{WEIGHTS_FILE}: damaged: {error}") from error
        except KeyError as error:
            raise ConfigError(f"{WEIGHTS_FILE}: damaged: no weights for {rate_hz} Hz") from error
        if content.model_sha256 != MODEL_SHA256:
            raise ConfigError(
                f"{WEIGHTS_FILE}: was trained for another version of the speech model: install relay again, or set "
                "vad.ignore_coughs = false"
            )
        return cls(weights)

    def bounds(self, states: Sequence[SileroState]) -> list[float]:
        """Return the highest log-odds of a voice (natural) that the last window of each stream may have."""
        if not states:
            return []
        return self.bounds_of(np.concatenate([state.rnn for state in states]).reshape(len(states), INPUTS))

    def bounds_of(self, states: NDArray[np.float32]) -> list[float]:
        """Return the same for the RNN states of n windows, `[n, ...]`, each 256 numbers."""
        rows = states.reshape(len(states), INPUTS)
        units = np.tanh(rows @ self._inward + self._offsets)
        bounds: list[float] = (units @ self._outward + rows @ self._direct + self._bias).tolist()
        return bounds
