"""The audit of the locked packages: what pip-audit's answer comes to."""

import json
from typing import Any

import pytest

from scripts.audit import GOOD, KNOWN, NOT_COMPARED, verdict

CLEAN = {"name": "trio", "version": "0.35.0", "vulns": []}
SKIPPED = {"name": "soxr", "skip_reason": "Dependency not found"}
FOUND: dict[str, Any] = {"id": "PYSEC-2030-1", "fix_versions": ["3.1.5", "3.2"], "aliases": [], "description": "..."}
BAD = {"name": "jinja2", "version": "3.1.4", "vulns": [FOUND, {**FOUND, "id": "PYSEC-2030-2", "fix_versions": []}]}


def of(*packages: dict[str, Any]) -> tuple[int, list[str]]:
    return verdict(json.dumps({"dependencies": packages, "fixes": []}))


def test_nothing_known_against_any_is_good() -> None:
    assert of(CLEAN, CLEAN) == (GOOD, ["audit: nothing is known against the 2 locked packages"])


def test_each_advisory_is_a_line_with_the_version_that_mends_it() -> None:
    assert of(CLEAN, BAD) == (
        KNOWN,
        [
            "audit: jinja2 3.1.4: PYSEC-2030-1, mended in 3.1.5, 3.2",
            "audit: jinja2 3.1.4: PYSEC-2030-2, not mended yet",
        ],
    )


def test_what_could_not_be_compared_is_not_called_good() -> None:
    assert of(CLEAN, SKIPPED) == (NOT_COMPARED, ["audit: 1 of 2 packages could not be compared: soxr"])
    assert of(BAD, *[SKIPPED] * 4)[0] == KNOWN
    assert of(BAD, *[SKIPPED] * 4)[1][-1].endswith("4 of 5 packages could not be compared: soxr, soxr, soxr and others")


@pytest.mark.parametrize("output", ["", "{", "{}", "[]", '{"dependencies": []}'])
def test_an_audit_that_gave_up_is_not_called_good(output: str) -> None:
    status, lines = verdict(output)

    assert (status, len(lines)) == (NOT_COMPARED, 1)
