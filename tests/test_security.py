"""The threat model names tests for all that it says, and they are there."""

import ast
import re

from tests.support.reference import ROOT, section

SECURITY = ROOT / "SECURITY.md"
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def rows() -> list[list[str]]:
    """The cells of the table, row by row, without its heading."""
    text = section("Who could gain what, and what stops them", SECURITY)
    lines = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith("| who |")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_every_threat_says_who_where_what_for_what_stops_it_and_which_tests_show_that() -> None:
    assert len(rows()) > 10
    for row in rows():
        assert len(row) == 5, row[0]
        assert all(row), row[0]
        assert TEST.findall(row[-1]), row[0]
        assert TEST.sub("", row[-1]).strip(", ") == "", row[0]


def test_every_test_that_is_named_is_there() -> None:
    named = set(TEST.findall(SECURITY.read_text()))
    there = set()
    for path in {path for path, _ in named}:
        tree = ast.parse((ROOT / path).read_text())
        functions = (ast.FunctionDef, ast.AsyncFunctionDef)
        there |= {(path, node.name) for node in tree.body if isinstance(node, functions)}

    assert named - there == set()
