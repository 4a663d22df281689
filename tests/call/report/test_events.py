"""Each event has the log line that operators rely on: its name, its level, its values."""

from typing import Any

import pytest
from structlog.testing import capture_logs

from relay.call.report import assistant_events, events, interruption_events
from relay.call.report.assistant_events import Said
from relay.call.report.events import (
    BadAssistantMessage,
    BadCallerMessage,
    CallEnded,
    CallerPaused,
    CallerSpoke,
    CallEvent,
    CallStarted,
    KeyWasPressed,
    StateChanged,
)
from relay.call.report.report import Report
from relay.metrics import Metrics

MODULES = (events, assistant_events, interruption_events)
KINDS = {
    kind
    for module in MODULES
    for kind in vars(module).values()
    if isinstance(kind, type) and issubclass(kind, CallEvent)
}


def logged(event: CallEvent) -> list[dict[str, Any]]:
    with capture_logs() as logs:
        Report("c", Metrics()).tell(event)
    return [{key: value for key, value in line.items() if key != "call_id"} for line in logs]


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (CallStarted("CA1", 2), {"event": "call.started", "call_sid": "CA1", "generation": 2}),
        (
            CallEnded("idle", 1.5, "CA1", None, {"frames_stale": 0}),
            {
                "event": "call.ended",
                "reason": "idle",
                "duration_s": 1.5,
                "call_sid": "CA1",
                "assistant_call_id": None,
                "frames_stale": 0,
            },
        ),
        (KeyWasPressed(), {"event": "caller.key_pressed"}),
        (
            CallerSpoke(onset_ms=20, likely_ms=40, decided_ms=60, level_dbfs=-30.0, over_floor_db=20.0),
            {
                "event": "speech.started",
                "onset_ms": 20,
                "likely_ms": 40,
                "decided_ms": 60,
                "level_dbfs": -30.0,
                "over_floor_db": 20.0,
            },
        ),
        (CallerPaused(at_ms=300, decided_ms=560), {"event": "speech.ended", "at_ms": 300, "decided_ms": 560}),
        (
            BadCallerMessage("caller", "NOT_JSON", "no"),
            {"event": "caller.bad_message", "code": "NOT_JSON", "error": "no"},
        ),
        (
            BadAssistantMessage("assistant", "NOT_JSON", "no"),
            {"event": "assistant.bad_message", "code": "NOT_JSON", "error": "no"},
        ),
    ],
    ids=lambda value: value["event"] if isinstance(value, dict) else "",
)
def test_its_line_has_these_values_and_no_others(event: CallEvent, line: dict[str, Any]) -> None:
    level = "warning" if "bad_message" in line["event"] else "info"

    assert logged(event) == [{**line, "log_level": level}]


def test_how_the_call_stands_has_no_line() -> None:
    assert logged(StateChanged("live", "assistant ready")) == []


def test_names_are_a_noun_and_a_verb() -> None:
    names = [kind.log_name for kind in KINDS if kind.log_name is not None]

    assert len(names) > 20
    assert all(name.replace("_", "").replace(".", "", 1).isalpha() for name in names)


def test_every_event_has_a_name_of_its_own_meaning_in_a_recording() -> None:
    nameless = {kind for kind in KINDS if not (kind.log_name or kind.unlogged_name)}

    assert nameless == {CallEvent, Said}
