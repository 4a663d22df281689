"""The screen of a scenario: a line for each step as it ends, the one that goes on below them, and the verdict."""

import sys

from rich.console import Console
from rich.live import Live
from rich.text import Text

from relay.marks import marks
from relay.scenario.play import ScenarioResult, StepOutcome

_STYLES = {True: "green", False: "bold red"}
_INDENT = " " * 7
_FIGURE_WIDTH = 10


class ScenarioScreen:
    """Shows nothing: for `--json`, and the interface of the one that does."""

    def open(self, file: str, title: str) -> None:
        """Show what is played."""

    def begin(self, line: int, text: str) -> None:
        """This step goes on."""

    def end(self, outcome: StepOutcome) -> None:
        """This step is over."""

    def close(self) -> None:
        """Take away what is shown of a step that goes on, and give the cursor back."""

    def conclude(self, result: ScenarioResult) -> None:
        """Show the verdict."""


class ConsoleScreen(ScenarioScreen):
    """Lines that fit the console; what goes on is shown where the console can take it away again."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._marks = marks(console.encoding)
        self._live: Live | None = None

    def open(self, file: str, title: str) -> None:
        self._print(Text(file, "bold"))
        if title:
            self._console.print(Text(title))

    def begin(self, line: int, text: str) -> None:
        if self._console.is_terminal:
            now = Text(f" {self._marks[None]} {_number(line)}  {text}", "dim", no_wrap=True, overflow="ellipsis")
            self._live = Live(now, console=self._console, auto_refresh=False, transient=True)
            self._live.start(refresh=True)

    def end(self, outcome: StepOutcome) -> None:
        self.close()
        style = _STYLES[outcome.passed]
        line = Text.assemble((f" {self._marks[outcome.passed]}", style), f" {_number(outcome.line)}  {outcome.text}")
        figure = "" if outcome.measured_ms is None else f"{outcome.measured_ms:,.0f} ms"
        room = self._console.width - _FIGURE_WIDTH
        line.truncate(room, overflow="crop" if self._console.options.ascii_only else "ellipsis", pad=bool(figure))
        self._print(line.append(f"{figure:>{_FIGURE_WIDTH}}" if figure else ""))
        if outcome.why:
            for part in Text(outcome.why, style).wrap(self._console, self._console.width - len(_INDENT)):
                part.rstrip()
                self._print(Text(_INDENT).append_text(part))

    def close(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def conclude(self, result: ScenarioResult) -> None:
        failed = [outcome for outcome in result.outcomes if not outcome.passed]
        if failed:
            verdict = f"Failed: {len(failed)} of {len(result.outcomes)} steps."
        elif result.ok:
            verdict = f"Passed: all {len(result.outcomes)} steps."
        else:
            verdict = "; ".join([f"Failed: the call ended with {result.call.end}", *result.call.warnings])
        self._console.print(Text(verdict, f"bold {_STYLES[result.ok]}"))

    def _print(self, text: Text) -> None:
        self._console.print(text, soft_wrap=True)


def _number(line: int) -> str:
    return f"{line:>3}" if line else "   "


def open_screen(*, as_json: bool) -> ScenarioScreen:
    """The one that suits standard output."""
    return ScenarioScreen() if as_json else ConsoleScreen(Console(file=sys.stdout, highlight=False))
