"""Runs the network of Silero VAD in numpy, at a third of what onnxruntime takes for such small products.

The network, as the model file describes it: the magnitudes of a short-time Fourier transform in four frames, four
convolutions of three taps over time that leave one column, an LSTM cell, and one neuron. Frames that a convolution
would pad with zeros are left out of its product. A column of ones in an input carries the bias, so that a layer is one
product and one rectifier.
"""

from collections.abc import Mapping
from math import exp
from typing import Any, Self

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from relay.media.onnx_tensors import branch_tensors

Floats = NDArray[np.float32]

BRANCHES = {16000: "then_branch", 8000: "else_branch"}
BATCH_MAX = 64
"""Windows in one run. Of 64 one costs 7.4 us, of 32 8.5, of 16 10.8, where the weights are not in the processor's cache
any more."""
_FRAMES = 4


class NumpyNetwork:
    """The weights at one rate, as the products take them, and the buffers for a batch. One run at a time."""

    def __init__(self, tensors: Mapping[str, Floats]) -> None:
        basis = tensors["stft.forward_basis_buffer"][:, 0]
        window = basis[0]  # its frequency is 0, its cosine 1
        self.analysis_window = np.ascontiguousarray(window * len(window))  # see `NumpyBatch.run`
        taps = [np.moveaxis(tensors[f"encoder.{number}.reparam_conv.weight"], 2, 0) for number in range(_FRAMES)]
        biases = [tensors[f"encoder.{number}.reparam_conv.bias"] for number in range(_FRAMES)]
        first, second, third, fourth = ([np.transpose(tap) for tap in layer] for layer in taps)
        self.first = _rows(*first, biases[0])
        self.second_from_left = _rows(biases[1], *second[1:])
        self.second_from_right = _rows(*second, biases[1])
        self.third = _rows(*third[1:], biases[2])
        self.fourth = _rows(fourth[1], biases[3])
        self.cell = _cell(tensors)
        self.neuron = np.ascontiguousarray(tensors["decoder.decoder.2.weight"][0, :, 0])
        self.neuron_bias = float(tensors["decoder.decoder.2.bias"][0])
        buffers = _Buffers(self)
        self._batches = [NumpyBatch(self, buffers, size) for size in range(1, BATCH_MAX + 1)]

    @classmethod
    def load(cls, file: bytes, rate_hz: int) -> Self:
        """Read the weights from the content of the model file. Raises `ValueError` if they are not there."""
        return cls(branch_tensors(file, BRANCHES[rate_hz]))

    def batch(self, size: int) -> "NumpyBatch":
        """Return the buffers for so many windows, at most `BATCH_MAX`: the same ones each time."""
        return self._batches[size - 1]


class _Buffers:
    """The memory of the largest batch; a smaller one takes the first rows of each. What is not written keeps its value:
    the zeros around the spectra, and the ones of the biases."""

    def __init__(self, network: NumpyNetwork) -> None:
        frame = len(network.analysis_window)
        bins = frame // 2 + 1
        columns = network.first.shape[1]
        cells = network.cell.shape[1] // 4
        self.audio = np.zeros((BATCH_MAX, frame // 2 * (_FRAMES + 1)), np.float32)
        self.frames = np.empty((BATCH_MAX, _FRAMES, frame), np.float32)
        self.spectrum = np.empty((BATCH_MAX, _FRAMES, bins), np.complex64)
        self.magnitudes = np.zeros((BATCH_MAX, _FRAMES + 2, bins), np.float32)
        self.neighbours = np.ones((BATCH_MAX, _FRAMES, len(network.first)), np.float32)
        self.first = np.empty((BATCH_MAX, _FRAMES * columns), np.float32)
        self.second_input = np.ones((BATCH_MAX, 1 + _FRAMES * columns + 1), np.float32)
        self.third_input = np.ones((BATCH_MAX, len(network.third)), np.float32)
        self.fourth_input = np.ones((BATCH_MAX, len(network.fourth)), np.float32)
        self.cell = np.ones((BATCH_MAX, len(network.cell) + cells), np.float32)
        self.gates = np.empty((BATCH_MAX, 4 * cells), np.float32)
        self.scratch = np.empty((BATCH_MAX, cells), np.float32)


class NumpyBatch:
    """The buffers for n windows, as views that are made at the start: a good part of what a small product costs.

    `audio` is `[n, samples]`, each row the end of the window before and the window; `memory` is `[n, 2, 1, 128]`, the
    RNN state of each row. Both are written by the user before a run; after it `memory` is the state behind the window.
    """

    def __init__(self, network: NumpyNetwork, buffers: _Buffers, size: int) -> None:
        self._network = network
        frame = len(network.analysis_window)
        cells = buffers.scratch.shape[1]
        padded = buffers.audio[:size]
        self.audio = padded[:, : -frame // 4]
        self._padding = padded[:, -frame // 4 :]
        self._mirrored = self.audio[:, -2 : -frame // 4 - 2 : -1]
        row, sample = padded.strides
        self._overlapping = as_strided(padded, (size, _FRAMES, frame), (row, frame // 2 * sample, sample))
        self._frames = buffers.frames[:size]
        self._spectrum: Any = buffers.spectrum[:size]  # numpy's types know only of complex128
        magnitudes = buffers.magnitudes[:size]
        self._magnitudes = magnitudes[:, 1:-1]
        row, column, each = magnitudes.strides
        self._around = as_strided(magnitudes, (size, _FRAMES, 3 * magnitudes.shape[2]), (row, column, each))
        neighbours = buffers.neighbours[:size]
        self._neighbours = neighbours[:, :, :-1]
        self._first_input = neighbours.reshape(size * _FRAMES, -1)
        self._first = buffers.first[:size]
        self._first_output = self._first.reshape(size * _FRAMES, -1)
        second = buffers.second_input[:size]
        self._second = second[:, 1:-1]
        self._left = second[:, : len(network.second_from_left)]
        self._right = second[:, -len(network.second_from_right) :]
        self._third_input = buffers.third_input[:size]
        self._third_left, self._third_right = np.split(self._third_input[:, :-1], 2, axis=1)
        self._fourth_input = buffers.fourth_input[:size]
        self._fourth = self._fourth_input[:, :-1]
        cell = buffers.cell[:size]
        self._cell_input = cell[:, :-cells]
        self._x = cell[:, 1 : 1 + cells]
        self._hidden, self._cell = cell[:, -2 * cells : -cells], cell[:, -cells:]
        self._gates = buffers.gates[:size]
        self._sigmoid = self._gates[:, : 3 * cells]
        self._keep, self._let_in, self._let_out, self._candidate = np.split(self._gates, 4, axis=1)
        self._scratch = buffers.scratch[:size]
        self.memory = cell[:, -2 * cells :].reshape(size, 2, 1, cells)

    def run(self) -> list[float]:
        """Return the probability of speech in each window."""
        network = self._network
        self._padding[:] = self._mirrored
        np.multiply(self._overlapping, network.analysis_window, out=self._frames)
        # Scaled, as numpy 2.4 transforms float32 in double precision else, in copies that fill the processor's cache.
        np.fft.rfft(self._frames, norm="forward", out=self._spectrum)
        np.abs(self._spectrum, out=self._magnitudes)
        self._neighbours[:] = self._around
        np.matmul(self._first_input, network.first, out=self._first_output)
        np.maximum(self._first, 0, out=self._second)
        np.matmul(self._left, network.second_from_left, out=self._third_left)
        np.matmul(self._right, network.second_from_right, out=self._third_right)
        np.maximum(self._third_input, 0, out=self._third_input)
        np.matmul(self._third_input, network.third, out=self._fourth)
        np.maximum(self._fourth_input, 0, out=self._fourth_input)
        np.matmul(self._fourth_input, network.fourth, out=self._x)
        np.maximum(self._x, 0, out=self._x)
        return self._remember()

    def _remember(self) -> list[float]:
        network, cell, scratch = self._network, self._cell, self._scratch
        np.matmul(self._cell_input, network.cell, out=self._gates)
        with np.errstate(over="ignore"):  # a gate that is shut: 1 / infinity is 0
            np.exp(self._sigmoid, out=self._sigmoid)
        self._sigmoid += 1
        np.reciprocal(self._sigmoid, out=self._sigmoid)
        np.tanh(self._candidate, out=self._candidate)
        cell *= self._keep
        np.multiply(self._let_in, self._candidate, out=scratch)
        cell += scratch
        np.tanh(cell, out=scratch)
        np.multiply(self._let_out, scratch, out=self._hidden)
        np.maximum(self._hidden, 0, out=scratch)
        return [1 / (1 + exp(-each - network.neuron_bias)) for each in (scratch @ network.neuron).tolist()]


def _rows(*parts: Floats) -> Floats:
    """Return parts `[n, outputs]` or `[outputs]` below each other, as one matrix."""
    return np.ascontiguousarray(np.concatenate([np.atleast_2d(part) for part in parts]))


def _cell(tensors: Mapping[str, Floats]) -> Floats:
    """Return the weights of the LSTM cell, of bias, input and hidden state, for its gates: forget, in, out, candidate.

    Those of the gates are negated, as the logistic function of x is 1 / (1 + exp(-x)). Written as a hyperbolic tangent
    it would round worse, and the cell sums that up: probabilities three times as far from those in double precision.
    """
    bias = tensors["decoder.rnn.bias_ih"] + tensors["decoder.rnn.bias_hh"]
    weights = [tensors[f"decoder.rnn.weight_{part}"].T for part in ("ih", "hh")]
    let_in, keep, candidate, let_out = np.split(_rows(bias, *weights), 4, axis=1)
    return np.ascontiguousarray(np.concatenate((-keep, -let_in, -let_out, candidate), axis=1))
