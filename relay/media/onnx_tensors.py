"""Reads the tensors of an ONNX file that are constants of one branch, and nothing else of it.

The field numbers are those of `onnx/onnx.proto3` (onnx/onnx), the encoding is that of Protocol Buffers.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FLOAT = 1
# Of ModelProto, GraphProto, NodeProto, AttributeProto and TensorProto, in this order.
_GRAPH = 7
_NODE = 1
_OPERATOR, _ATTRIBUTE = 4, 5
_ATTRIBUTE_NAME, _TENSOR, _SUBGRAPH = 1, 5, 6
_DIMENSION, _TYPE, _TENSOR_NAME, _RAW_DATA = 1, 2, 8, 9


def branch_tensors(file: bytes, branch: str) -> dict[str, NDArray[np.float32]]:
    """Return the named float32 tensors in the nodes "Constant" of one branch of the file's first node "If", by name.

    `branch` is "then_branch" or "else_branch". The arrays are views of the file, not to be written to. Raises
    `ValueError` if the file is none of ONNX, is cut short, or has no such branch.
    """
    try:
        graph = _bytes(memoryview(file), _GRAPH)[0]
        condition = next(node for node in _bytes(graph, _NODE) if _text(node, _OPERATOR) == "If")
        taken = next(it for it in _bytes(condition, _ATTRIBUTE) if _text(it, _ATTRIBUTE_NAME) == branch)
        nodes = _bytes(_bytes(taken, _SUBGRAPH)[0], _NODE)
        constants = [node for node in nodes if _text(node, _OPERATOR) == "Constant"]
        return dict(named for node in constants for named in _tensors(node))
    except (IndexError, KeyError, StopIteration, UnicodeDecodeError) as error:
        raise ValueError(f"no ONNX file with a {branch}, or a damaged one") from error


def _tensors(node: memoryview) -> Iterator[tuple[str, NDArray[np.float32]]]:
    for attribute in _bytes(node, _ATTRIBUTE):
        for tensor in _bytes(attribute, _TENSOR):
            if _numbers(tensor, _TYPE) == [_FLOAT] and _bytes(tensor, _TENSOR_NAME):
                values = np.frombuffer(_bytes(tensor, _RAW_DATA)[0], "<f4")
                yield _text(tensor, _TENSOR_NAME), values.reshape(_numbers(tensor, _DIMENSION))


def _bytes(message: memoryview, field: int) -> list[memoryview]:
    return [value for number, value in _fields(message) if number == field and isinstance(value, memoryview)]


def _text(message: memoryview, field: int) -> str:
    return bytes(_bytes(message, field)[0]).decode()


def _numbers(message: memoryview, field: int) -> list[int]:
    return [value for number, value in _fields(message) if number == field and isinstance(value, int)]


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Return number and value of each field. Raises `IndexError` for a message cut short, `KeyError` for a group."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, at = _varint(message, at)
            yield number, value
            continue
        if kind == _BYTES:
            size, at = _varint(message, at)
        else:
            size = {_FIXED64: 8, _FIXED32: 4}[kind]
        if at + size > len(message):
            raise IndexError(at)
        yield number, message[at : at + size]
        at += size


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """Return the number that begins there, and where it ends."""
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at += 1
        shift += 7
        if byte < 0x80:
            return value, at
