"""Each has the log line that operators rely on; see test_events.py."""

from typing import Any

import pytest

from relay.call.report.events import CallEvent
from relay.call.report.interruption_events import Interrupted, InterruptionSettled, PlayoutHole
from tests.call.report.test_events import logged


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (
            Interrupted(2, "caller", 110.5, 0.2, 820.0, 140.0),
            {
                "event": "bargein.flushed",
                "turn": 2,
                "by": "caller",
                "onset_to_clear_ms": 110.5,
                "decide_to_clear_ms": 0.2,
                "flushed_ms": 820.0,
                "heard_ms": 140.0,
            },
        ),
        (InterruptionSettled(2, "new_turn", 820.0), {"event": "bargein.settled", "turn": 2, "by": "new_turn"}),
        (PlayoutHole(60.0), {"event": "playout.hole", "hole_ms": 60.0}),
    ],
    ids=lambda value: value["event"] if isinstance(value, dict) else "",
)
def test_its_line_has_these_values_and_no_others(event: CallEvent, line: dict[str, Any]) -> None:
    assert logged(event) == [{**line, "log_level": "info"}]
