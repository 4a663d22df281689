"""Writes small ONNX models, so that no test needs the onnx package: ONNX IR version 8, operator set 13.

The field numbers are those of onnx/onnx.proto3.
"""

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FLOAT = 1
INT64 = 7
DOUBLE = 11


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes | str) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return _varint(field << 3 | 2) + _varint(len(data)) + data


def value_info(name: str, shape: Sequence[int | str], kind: int = FLOAT) -> bytes:
    """A ValueInfoProto; a text in the shape names a dimension that is left open."""
    dimensions = b"".join(_bytes(1, _number(1, size) if isinstance(size, int) else _bytes(2, size)) for size in shape)
    return _bytes(1, name) + _bytes(2, _bytes(1, _number(1, kind) + _bytes(2, dimensions)))


def node(operator: str, inputs: Sequence[str], output: str, attributes: Sequence[bytes] = ()) -> bytes:
    """A NodeProto."""
    head = b"".join(_bytes(1, name) for name in inputs) + _bytes(2, output) + _bytes(4, operator)
    return head + b"".join(_bytes(5, it) for it in attributes)


def subgraph(name: str, nodes: Sequence[bytes]) -> bytes:
    """An AttributeProto that holds a GraphProto, such as a branch of an If."""
    return _bytes(1, name) + _bytes(6, b"".join(_bytes(1, it) for it in nodes)) + _number(20, 5)


def constant_node(value: bytes) -> bytes:
    """A NodeProto of the operator Constant, which holds a TensorProto."""
    return node("Constant", [], "value", [_bytes(1, "value") + _bytes(5, value) + _number(20, 4)])


def tensor(name: str, values: NDArray[np.float32] | NDArray[np.int64]) -> bytes:
    """A TensorProto, nameless if the name is empty."""
    shape = b"".join(_number(1, size) for size in values.shape)
    kind = _number(2, FLOAT if values.dtype == np.float32 else INT64)
    return shape + kind + (_bytes(8, name) if name else b"") + _bytes(9, values.tobytes())


def constant(name: str, value: float) -> bytes:
    """A TensorProto of shape [1, 1]."""
    shape = _number(1, 1) + _number(1, 1)
    return shape + _number(2, FLOAT) + _bytes(8, name) + _bytes(9, struct.pack("<f", value))


def model(
    nodes: Sequence[bytes], inputs: Sequence[bytes], outputs: Sequence[bytes], constants: Sequence[bytes] = ()
) -> bytes:
    """A ModelProto."""
    graph = b"".join(_bytes(1, it) for it in nodes) + _bytes(2, "graph")
    graph += b"".join(_bytes(5, it) for it in constants)
    graph += b"".join(_bytes(11, it) for it in inputs) + b"".join(_bytes(12, it) for it in outputs)
    return _number(1, 8) + _bytes(7, graph) + _bytes(8, _bytes(1, "") + _number(2, 13))


INPUTS = (value_info("audio", (1, 32000)), value_info("assistant", (1, 3)))
OUTPUT = value_info("probability", (1, 1))


def write_classifier(path: Path, *, of: str = "audio", open_shape: bool = False) -> Path:
    """A classifier to which the largest number of one of its inputs, at most 1, is the probability."""
    nodes = [
        node("Abs", [of], "magnitude"),
        node("ReduceMax", ["magnitude"], "largest"),
        node("Min", ["largest", "one"], "probability"),
    ]
    inputs = (value_info("audio", ("n", 32000)), value_info("assistant", ("n", "values"))) if open_shape else INPUTS
    path.write_bytes(model(nodes, inputs, [OUTPUT], [constant("one", 1.0)]))
    return path
