"""The documents lead a reader to what is there."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]


def links(document: Path) -> Iterator[str]:
    """The targets of a document's links within this repository."""
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
        if "://" not in target:
            yield target


def anchors(document: Path) -> set[str]:
    """The names that the headings of a document have in links: as GitHub makes them."""
    text = re.sub(r"^```.*?^```", "", document.read_text(), flags=re.DOTALL | re.MULTILINE)
    found: list[str] = []
    for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE):
        name = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        found.append(f"{name}-{found.count(name)}" if name in found else name)
    return set(found)


def leads_somewhere(document: Path, target: str) -> bool:
    path, _, anchor = target.partition("#")
    file = (document.parent / path).resolve() if path else document
    return file.exists() and (not anchor or anchor in anchors(file))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_leads_somewhere(document: Path) -> None:
    assert [target for target in links(document) if not leads_somewhere(document, target)] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_file_that_is_named_is_there(document: Path) -> None:
    named = re.findall(r"`((?:relay|tests|docs|deploy|scripts|requirements)/[\w./-]+)`", document.read_text())

    assert [path for path in named if not (ROOT / path).exists()] == []


def test_the_tree_in_the_readme_has_every_folder_of_the_program() -> None:
    tree = re.search(r"^relay/\n((?:  .+\n)+)", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert tree
    shown, parent = set(), ""
    for indent, folder in re.findall(r"^( +)(\w+)/", tree[1], re.MULTILINE):
        parent = folder if len(indent) == 2 else parent
        shown.add(folder if len(indent) == 2 else f"{parent}/{folder}")

    folders = {path.parent.relative_to(ROOT / "relay").as_posix() for path in (ROOT / "relay").rglob("__init__.py")}
    wings = {folder for folder in folders if folder.partition("/")[0] in {"call", "logic"} or "/" not in folder}

    assert shown == wings - {"."}
