"""The documents, read as the tests need it."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
REFERENCE, BROWSER = DOCS / "reference.md", DOCS / "browser.md"
FIRST_CALL, SCENARIOS = DOCS / "first-call.md", DOCS / "scenarios.md"


def section(title: str, document: Path = REFERENCE) -> str:
    """The text under a heading, up to the next one that is not below it."""
    text = document.read_text()
    heading = re.search(rf"^(#+) {re.escape(title)}\n", text, re.MULTILINE)
    assert heading, f"no heading {title!r}"
    return re.split(rf"^#{{1,{len(heading[1])}}} ", text[heading.end() :], maxsplit=1, flags=re.MULTILINE)[0]


def first_cells(title: str, document: Path = REFERENCE) -> set[str]:
    """What stands as code in the first column of the tables under a heading."""
    rows = re.findall(r"^\| (.*?) \|", section(title, document), re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row)}
