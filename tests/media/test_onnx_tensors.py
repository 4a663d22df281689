"""Reading tensors out of an ONNX file."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from relay.media.onnx_tensors import branch_tensors
from relay.media.silero import MODEL_FILE
from tests.support import onnx_files


def branches(**content: dict[str, NDArray[np.float32]]) -> bytes:
    """A model whose one node chooses between branches that hold constants."""
    attributes = [
        onnx_files.subgraph(branch, [onnx_files.constant_node(onnx_files.tensor(*named)) for named in tensors.items()])
        for branch, tensors in content.items()
    ]
    return onnx_files.model([onnx_files.node("If", ["condition"], "chosen", attributes)], [], [])


ONE = np.arange(6, dtype=np.float32).reshape(2, 1, 3)
OTHER = np.array([0.5], np.float32)


def test_each_branch_gives_its_own_tensors_by_name() -> None:
    file = branches(then_branch={"weight": ONE, "bias": OTHER}, else_branch={"weight": OTHER})

    assert {name: tensor.tolist() for name, tensor in branch_tensors(file, "then_branch").items()} == {
        "weight": ONE.tolist(),
        "bias": OTHER.tolist(),
    }
    assert {name: tensor.tolist() for name, tensor in branch_tensors(file, "else_branch").items()} == {
        "weight": OTHER.tolist()
    }


def test_tensors_of_integers_and_without_a_name_are_left_out() -> None:
    integers = onnx_files.tensor("axes", np.array([1], np.int64))
    nameless = onnx_files.tensor("", OTHER)
    nodes: Sequence[bytes] = [onnx_files.constant_node(it) for it in (integers, nameless)]
    attribute = onnx_files.subgraph("then_branch", nodes)

    assert (
        branch_tensors(onnx_files.model([onnx_files.node("If", [], "out", [attribute])], [], []), "then_branch") == {}
    )


@pytest.mark.parametrize("file", [b"", b"not a model", branches(), branches(else_branch={"weight": ONE})])
def test_a_file_without_the_branch_is_refused(file: bytes) -> None:
    with pytest.raises(ValueError, match="then_branch"):
        branch_tensors(file, "then_branch")


WHOLE = branches(then_branch={"weight": ONE})


@given(st.integers(0, len(WHOLE) - 1))
def test_a_file_that_was_cut_short_is_refused(size: int) -> None:
    try:
        found = branch_tensors(WHOLE[:size], "then_branch")
    except ValueError:
        return
    assert found["weight"].tolist() == ONE.tolist()  # only what follows the branch is missing


def test_the_model_of_the_package_has_both_branches() -> None:
    file = MODEL_FILE.read_bytes()
    shapes = [
        {name: tensor.shape for name, tensor in branch_tensors(file, branch).items()}
        for branch in ("then_branch", "else_branch")
    ]

    assert [len(each) for each in shapes] == [15, 15]
    assert [each["stft.forward_basis_buffer"] for each in shapes] == [(258, 1, 256), (130, 1, 128)]
