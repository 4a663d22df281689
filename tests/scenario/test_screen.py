"""The screen shows a line for each step, within the width of the terminal, and the verdict."""

from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from relay.scenario.play import ScenarioResult, StepOutcome
from relay.scenario.screen import ConsoleScreen
from relay.standin.phone import PhoneResult

PASSED = StepOutcome(3, "expect silence within 400 ms", passed=True, measured_ms=173.2)
FAILED = StepOutcome(14, "expect rest of description within 700 ms", passed=False, measured_ms=1980.0, why="too late")
UNMEASURED = StepOutcome(2, "say " + "word " * 30, passed=True)


def called(end: str = "caller_hangup", warnings: tuple[str, ...] = ()) -> PhoneResult:
    return PhoneResult("CA1", end, 3.5, [], [], 1, 0.0, 0.0, [], 0, 0, [], list(warnings))


def shown(*outcomes: StepOutcome, call: PhoneResult | None = None, width: int = 80, terminal: bool = False) -> str:
    out = StringIO()
    screen = ConsoleScreen(Console(file=out, width=width, force_terminal=terminal, highlight=False, color_system=None))
    screen.open("a.scenario", "A title.")
    for outcome in outcomes:
        screen.begin(outcome.line, outcome.text)
        screen.end(outcome)
    screen.conclude(ScenarioResult(list(outcomes), call or called()))
    return out.getvalue()


def test_each_step_is_a_line_with_its_number_its_text_and_what_was_measured() -> None:
    lines = shown(PASSED, FAILED).splitlines()

    assert lines[:2] == ["a.scenario", "A title."]
    assert lines[2].split() == ["✓", "3", *PASSED.text.split(), "173", "ms"]
    assert lines[3].split() == ["✗", "14", *FAILED.text.split(), "1,980", "ms"]
    assert lines[4].strip() == "too late"
    assert lines[5] == "Failed: 1 of 2 steps."


@pytest.mark.parametrize("width", [40, 80, 200])
def test_every_line_fits_the_terminal(width: int) -> None:
    lines = shown(PASSED, FAILED, UNMEASURED, width=width).splitlines()

    assert [line for line in lines if len(line) > width] == []
    assert len({line.index(" ms", width - 4) for line in lines[2:4]}) == 1


def test_a_long_reason_stays_under_its_step() -> None:
    lines = shown(replace(FAILED, why="the call has ended: " + "word " * 30)).splitlines()

    assert len(lines) > 5
    assert all(line.startswith("       ") for line in lines[3:-1])
    assert not any(line.endswith(" ") for line in lines)


def test_what_goes_on_is_shown_on_a_terminal_and_taken_away_again() -> None:
    text = shown(PASSED, terminal=True)

    assert " ?   3  expect silence within 400 ms" in text
    assert "\x1b[2K" in text
    assert " ?" not in shown(PASSED)


@pytest.mark.parametrize(
    ("call", "verdict"),
    [
        (called(), "Passed: all 1 steps."),
        (called("twiml_error"), "Failed: the call ended with twiml_error"),
        (called(warnings=("31951: not JSON",)), "Failed: the call ended with caller_hangup; 31951: not JSON"),
    ],
)
def test_the_verdict_is_also_about_the_call(call: PhoneResult, verdict: str) -> None:
    assert shown(PASSED, call=call).splitlines()[-1] == verdict


def test_a_call_that_is_broken_off_gives_the_cursor_back() -> None:
    out = StringIO()
    screen = ConsoleScreen(Console(file=out, width=80, force_terminal=True, highlight=False))
    screen.begin(3, "wait 60 s")
    screen.close()
    screen.close()

    assert out.getvalue().count("\x1b[?25l") == out.getvalue().count("\x1b[?25h") == 1
