"""The table of what relies on the insides of libraries: what it names exists, and is bounded and locked as it says."""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest
from packaging.requirements import Requirement

REPOSITORY = Path(__file__).resolve().parent.parent
DOCUMENT = REPOSITORY / "docs" / "architecture.md"
HEADING = "What relies on the insides of libraries"
COLUMNS = 6


@dataclass(frozen=True)
class Row:
    library: str
    version: str
    places: list[str]
    tests: list[str]


def rows() -> list[Row]:
    section = re.search(rf"^#+ {HEADING}\n(.*?)(?=^#|\Z)", read(DOCUMENT), re.DOTALL | re.MULTILINE)
    assert section is not None
    lines = [line for line in section[1].splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[1:]]
    assert {len(row) for row in cells} == {COLUMNS}
    return [Row(row[0], row[1], quoted(row[2]), quoted(row[5])) for row in cells]


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def required() -> dict[str, Requirement]:
    project = tomllib.loads(read(REPOSITORY / "pyproject.toml"))["project"]
    extras = [wanted for extra in project["optional-dependencies"].values() for wanted in extra]
    return {one.name: one for one in map(Requirement, [*project["dependencies"], *extras])}


def locked() -> dict[str, set[str]]:
    """Each library with its versions, of which there are several where they depend on the version of Python."""
    versions: dict[str, set[str]] = {}
    for name, version in re.findall(
        r"^([^=\s]+)==(\S+)", read(REPOSITORY / "requirements" / "extras.txt"), re.MULTILINE
    ):
        versions.setdefault(name, set()).add(version)
    return versions


@pytest.mark.parametrize("row", rows(), ids=lambda row: f"{row.library} in {row.places[0]}")
def test_a_row_names_places_and_tests_that_exist_and_a_version_that_is_locked(row: Row) -> None:
    assert row.tests
    for test in row.tests:
        path, _, function = test.partition("::")
        assert f"def {function}(" in read(REPOSITORY / path), test
    assert [place for place in row.places if not (REPOSITORY / place).is_file()] == []
    assert locked()[row.library] == {row.version}  # one, or other versions of Python would have what was not tried


def test_every_file_that_uses_a_private_attribute_of_a_library_has_a_row() -> None:
    found = {path for path in (REPOSITORY / "relay").rglob("*.py") if "noqa: SLF001" in read(path)}
    assert {path.relative_to(REPOSITORY).as_posix() for path in found} <= {
        place for row in rows() for place in row.places
    }


@pytest.mark.parametrize("library", sorted({row.library for row in rows()} | {"msgspec"}))
def test_what_is_relied_on_is_bounded_above(library: str) -> None:
    assert [one for one in required()[library].specifier if one.operator == "<"]


def test_the_lock_keeps_to_the_bounds() -> None:
    outside = [
        f"{name} {version}"
        for name, requirement in required().items()
        for version in locked()[name]
        if version not in requirement.specifier
    ]
    assert outside == []
