"""A call went well when it ended in order, had a stream, and the relay broke no rule."""

import json
from dataclasses import replace
from typing import Any

import pytest

from relay.standin.phone.result import PhoneResult

GOOD = PhoneResult(
    call_sid="CA1",
    end="caller_hangup",
    duration_s=3.5,
    steps=[],
    dialled=[],
    streams=1,
    said_ms=3000.0,
    heard_ms=0.0,
    clears=[],
    marks_returned=0,
    marks_cleared=0,
    underruns=[{"at_s": 1.0, "gap_ms": 20.0}],
    warnings=[],
)


@pytest.mark.parametrize(
    ("changes", "ok"),
    [
        ({}, True),
        ({"end": "twiml_hangup"}, True),
        ({"end": "twiml_completed"}, True),
        ({"end": "rejected"}, False),
        ({"end": "webhook_failed"}, False),
        ({"end": "twiml_error"}, False),
        ({"end": "in-progress"}, False),
        ({"streams": 0}, False),
        ({"warnings": ["31951: not JSON"]}, False),
    ],
)
def test_what_is_a_good_call(changes: dict[str, Any], ok: bool) -> None:
    assert replace(GOOD, **changes).ok is ok


def test_the_json_says_first_whether_it_was_good() -> None:
    shown = GOOD.as_json()

    assert next(iter(shown.items())) == ("ok", True)
    assert json.loads(json.dumps(shown))["underruns"] == [{"at_s": 1.0, "gap_ms": 20.0}]
