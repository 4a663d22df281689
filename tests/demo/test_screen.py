"""The screen suits where it goes: colours and a moving picture in a terminal, plain lines elsewhere."""

import io
import sys

import pytest
from rich.console import Console

from relay.demo.event import DemoEvent
from relay.demo.journal import Journal, JournalLine
from relay.demo.promise import Promise
from relay.demo.scene import DemoScene
from relay.demo.screen import Lines, LiveScreen, Screen, coloured, open_screen
from relay.demo.verdict import DemoVerdict

PROMISES = [
    Promise("silent at once", True, "96 ms"),
    Promise("no stale audio", False, "3 frames"),
    Promise("no frame lost", None, "9 invented"),
]
VERDICT = DemoVerdict(PROMISES, {})


def line(text: str = "stopped", at_s: float = 12.3) -> JournalLine:
    journal = Journal(0.0)
    journal.add(DemoEvent(at_s, "relay", text, "stop"))
    return journal.lines()[0]


def test_plain_lines_hold_no_control_codes() -> None:
    out = io.StringIO()
    with Lines(out) as screen:
        screen.show(line())
        screen.draw(DemoScene())
        screen.judge(VERDICT)

    text = out.getvalue()
    assert "stopped" in text
    assert not any(ord(c) < 32 and c != "\n" for c in text)
    assert [row.split()[0] for row in text.splitlines()[1:]] == ["ok", "NO", "??"]


def test_a_poor_encoding_gets_what_it_has() -> None:
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding="ascii")
    with Lines(out) as screen:
        screen.show(line("says “stop”"))
        screen.judge(VERDICT)

    assert b"says ?stop?" in raw.getvalue()


def test_a_terminal_gets_the_same_words_in_colours() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=80, height=24, color_system="standard", legacy_windows=False)
    with LiveScreen(console) as screen:
        screen.show(line())
        screen.draw(DemoScene(flushed="300 ms"))
    screen.judge(VERDICT)

    text = out.getvalue()
    assert "\x1b[1;31m" in text
    assert "stopped" in text
    assert "flushed" in text
    assert "3 frames" in text


def test_no_line_is_longer_than_the_terminal_is_wide() -> None:
    out = io.StringIO()
    with LiveScreen(Console(file=out, force_terminal=True, width=40, color_system=None)) as screen:
        screen.show(line("a " * 100))

    shown = next(row for row in out.getvalue().splitlines() if "relay" in row)
    assert len(shown.removeprefix("\x1b[?25l")) <= 40


def test_colours_change_no_word() -> None:
    assert coloured(line()).plain == " 12.300     +0 ms  relay     stopped"


@pytest.mark.parametrize(
    ("terminal", "term", "kind"), [(True, "xterm", LiveScreen), (True, "dumb", Lines), (False, "xterm", Lines)]
)
def test_the_screen_suits_standard_output(
    terminal: bool, term: str, kind: type[Screen], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal, raising=False)
    monkeypatch.setenv("TERM", term)

    assert type(open_screen(as_json=False)) is kind
    assert type(open_screen(as_json=True)) is Screen
