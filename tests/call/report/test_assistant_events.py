"""Each has the log line that operators rely on, and of words only what may be told; see test_events.py."""

from typing import Any

import pytest

from relay.call.report.assistant_events import AssistantGivenUp, AssistantLost, DialFailed, Said
from relay.call.report.events import CallEvent
from tests.call.report.test_events import logged


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (
            DialFailed("VAPI_UNREACHABLE", "no answer"),
            {"event": "assistant.unavailable", "code": "VAPI_UNREACHABLE", "error": "no answer"},
        ),
        (AssistantLost("gone", close_code=1006), {"event": "assistant.lost", "error": "gone", "close_code": 1006}),
        (AssistantGivenUp(3), {"event": "assistant.given_up", "attempts": 3}),
    ],
    ids=lambda value: value["event"] if isinstance(value, dict) else "",
)
def test_its_line_has_these_values_and_no_others(event: CallEvent, line: dict[str, Any]) -> None:
    assert logged(event) == [{**line, "log_level": "warning"}]


def test_words_so_far_have_no_line() -> None:
    assert logged(Said("user", "hel", final=False)) == []


def test_words_are_logged_at_debug_only_once_they_are_final() -> None:
    length, text = logged(Said("user", "hello", final=True))

    assert length == {"event": "transcript.final", "log_level": "info", "role": "user", "characters": 5}
    assert text == {"event": "transcript.text", "log_level": "debug", "role": "user", "text": "hello"}


@pytest.mark.parametrize("text", ["hello", ""])
def test_what_was_said_is_not_in_a_repr(text: str) -> None:
    assert "hello" not in repr(Said("user", text, final=True))


@pytest.mark.parametrize(("final", "name"), [(True, "transcript.final"), (False, "transcript.partial")])
def test_a_recording_has_the_words_that_the_log_has_not(final: bool, name: str) -> None:
    said = Said("user", "my number is 12", final=final)

    assert said.recorded() == (name, {"role": "user", "text": "my number is 12"})
    assert "12" not in str([line for line in logged(said) if line["log_level"] != "debug"])
