"""Tables: every figure that was found, in the columns of a terminal."""

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from relay.vad.benchmark import Evaluation, collect, evaluate_decisions
from relay.vad.decisions import CaseDecisions, Decisions
from relay.vad.tables import tables
from tests.support.labelled import joined, labelled, phrase, silence


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    """Of a detector that declares a start 1.1 s into everything."""
    words = joined(silence(1.0), phrase("stop"), silence(1.0))
    end_s = len(words) / 16000
    folder = labelled(
        tmp_path_factory.mktemp("labelled"),
        {
            "a_recording_with_a_long_name": (words, {"kind": "speech", "speech": [[1.0, end_s - 1]]}),
            "another_recording_with_a_long_name": (words, {"kind": "speech", "speech": [[1.0, end_s - 1]]}),
            "coughs": (silence(4.0), {"clips": [[0, 2], [2, 4]]}),
        },
    )
    collection = collect([folder], echo=True)
    said = {case.name: CaseDecisions([case.from_s + 1.1]) for case in collection.cases}
    return evaluate_decisions(collection, Decisions("mine", said))


def shown(evaluation: Evaluation, columns: int) -> str:
    console = Console(file=StringIO(), width=columns)
    for table in tables(evaluation):
        console.print(table)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("columns", [80, 120])
def test_no_figure_is_cut_off(evaluation: Evaluation, columns: int) -> None:
    text = shown(evaluation, columns)

    assert max(map(len, text.splitlines())) <= columns
    assert "…" not in text
    words = text.split()
    assert "100/100/100" in words
    assert "(34-100)" in words


def test_each_table_has_its_rows(evaluation: Evaluation) -> None:
    text = shown(evaluation, 120)

    for title in ("minutes without speech", "clips without speech", "outside speech", "onsets never cut"):
        assert title in text
    for row in ("  a_recording_with_a_long_name", "coughs", "made_up", "no echo", "15 dB, delay jumps"):
        assert row in text


def test_what_there_is_nothing_of_has_no_table(tmp_path: Path) -> None:
    collection = collect([labelled(tmp_path, {"music": (silence(1.0), {})})], ["music"])
    said = {case.name: CaseDecisions([]) for case in collection.cases}
    text = shown(evaluate_decisions(collection, Decisions("mine", said)), 80)

    assert "clips without speech" not in text
    assert "echo" not in text
    assert "outside speech" in text
