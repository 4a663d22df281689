"""Each event has the log line that operators rely on: its name, its level, its values."""

from typing import Any

import pytest
from structlog.testing import capture_logs

from relay.call.report import events
from relay.call.report.events import (
    AssistantGivenUp,
    AssistantLost,
    BadAssistantMessage,
    BadCallerMessage,
    CallEnded,
    CallerPaused,
    CallerSpoke,
    CallEvent,
    CallStarted,
    DialFailed,
    Interrupted,
    InterruptionSettled,
    KeyWasPressed,
    PlayoutHole,
    Said,
    StateChanged,
)
from relay.call.report.report import Report
from relay.metrics import Metrics


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
        (
            DialFailed("VAPI_UNREACHABLE", "no answer"),
            {"event": "assistant.unavailable", "code": "VAPI_UNREACHABLE", "error": "no answer"},
        ),
        (AssistantLost("gone", close_code=1006), {"event": "assistant.lost", "error": "gone", "close_code": 1006}),
        (AssistantGivenUp(3), {"event": "assistant.given_up", "attempts": 3}),
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
    warning = ("assistant.unavailable", "assistant.lost", "assistant.given_up")
    level = "warning" if line["event"] in warning or "bad_message" in line["event"] else "info"

    assert logged(event) == [{**line, "log_level": level}]


def test_some_events_have_no_line() -> None:
    assert logged(StateChanged("live", "assistant ready")) == []
    assert logged(Said("user", "hel", final=False)) == []


def test_words_are_logged_at_debug_only_once_they_are_final() -> None:
    length, text = logged(Said("user", "hello", final=True))

    assert length == {"event": "transcript.final", "log_level": "info", "role": "user", "characters": 5}
    assert text == {"event": "transcript.text", "log_level": "debug", "role": "user", "text": "hello"}


@pytest.mark.parametrize("text", ["hello", ""])
def test_what_was_said_is_not_in_a_repr(text: str) -> None:
    assert "hello" not in repr(Said("user", text, final=True))


def test_names_are_a_noun_and_a_verb() -> None:
    kinds = [kind for kind in vars(events).values() if isinstance(kind, type) and issubclass(kind, CallEvent)]
    names = [kind.log_name for kind in kinds if kind.log_name is not None]

    assert len(names) > 20
    assert all(name.replace("_", "").replace(".", "", 1).isalpha() for name in names)


def test_every_event_has_a_name_of_its_own_meaning_in_a_recording() -> None:
    kinds = [kind for kind in vars(events).values() if isinstance(kind, type) and issubclass(kind, CallEvent)]
    nameless = {kind for kind in kinds if not (kind.log_name or kind.unlogged_name)}

    assert nameless == {CallEvent, Said}


@pytest.mark.parametrize(("final", "name"), [(True, "transcript.final"), (False, "transcript.partial")])
def test_a_recording_has_the_words_that_the_log_has_not(final: bool, name: str) -> None:
    said = Said("user", "my number is 12", final=final)

    assert said.recorded() == (name, {"role": "user", "text": "my number is 12"})
    assert "12" not in str([line for line in logged(said) if line["log_level"] != "debug"])
