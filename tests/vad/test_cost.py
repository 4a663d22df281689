"""The measurement of what the detector costs: it measures, and says so. Nothing is said of how much."""

import json
import math
from io import StringIO

import pytest
from click.testing import CliRunner
from rich.console import Console

from relay.cli import main
from relay.vad.cost import VadCost, vad_cost


@pytest.fixture(scope="module")
def cost() -> VadCost:
    return vad_cost(1.0, calls=(1, 3))


def test_each_number_of_calls_has_its_row(cost: VadCost) -> None:
    assert [row.calls for row in cost.rows] == [1, 3]


def test_the_model_ran_in_the_lane_and_in_place(cost: VadCost) -> None:
    for row in cost.rows:
        assert row.lane_cpu_ms_per_call_second > 0
        assert row.onnxruntime_cpu_ms_per_call_second > 0
        assert row.inline_cpu_ms_per_call_second > 0
        assert math.isclose(
            row.lane_to_inline, row.lane_cpu_ms_per_call_second / row.inline_cpu_ms_per_call_second, rel_tol=0.05
        )
        assert 0 < row.answer_ms["p50"] <= row.answer_ms["p99"]


def test_the_result_is_json_and_a_table(cost: VadCost) -> None:
    console = Console(file=StringIO(), width=120)
    console.print(cost.table())

    assert json.loads(json.dumps(cost.as_json()))["rows"][1]["calls"] == 3
    assert isinstance(console.file, StringIO)
    assert f"{cost.rows[1].lane_to_inline:.2f}" in console.file.getvalue()


def test_a_limit_is_of_calls_not_of_the_detector() -> None:
    done = CliRunner().invoke(main, ["bench", "--vad-cost", "--find-limit"])

    assert done.exit_code == 2
    assert "--vad-cost" in done.stderr
