"""The screen shows the performance: live in a terminal, as plain lines elsewhere, or not at all."""

import os
import sys
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from relay.demo.event import Tone, Who
from relay.demo.journal import JournalLine, in_plain
from relay.demo.picture import picture
from relay.demo.scene import DemoScene
from relay.demo.verdict import DemoVerdict
from relay.marks import marks

_WHO_STYLES: dict[Who, str] = {"caller": "cyan", "phone": "blue", "relay": "bold", "assistant": "green"}
_TONE_STYLES: dict[Tone, str] = {"plain": "", "speech": "yellow", "stop": "bold red", "trouble": "bold magenta"}
_VERDICT_STYLES = {True: "bold green", False: "bold red", None: "bold yellow"}


class Screen:
    """Shows nothing: for `--json`, and the interface of those that do.

    It is entered before the performance, and left before the verdict is shown.
    """

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def show(self, line: JournalLine) -> None:
        """Show the next line of the event log."""

    def draw(self, scene: DemoScene) -> None:
        """Show the present moment; called ten times a second."""

    def say(self, text: str) -> None:
        """Show a line of text."""

    def judge(self, verdict: DemoVerdict) -> None:
        """Show all promises, each with its figure."""


class Lines(Screen):
    """Plain lines without control codes."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._marks = marks(out.encoding)

    def show(self, line: JournalLine) -> None:
        self.say(in_plain(line))

    def say(self, text: str) -> None:
        encoding = self._out.encoding or "utf-8"
        # What the encoding does not have becomes "?": a demo must not end with an error over a quotation mark.
        self._out.write(text.encode(encoding, "replace").decode(encoding) + "\n")
        self._out.flush()

    def judge(self, verdict: DemoVerdict) -> None:
        width = max(len(promise.name) for promise in verdict.promises)
        for promise in verdict.promises:
            self.say(f" {self._marks[promise.kept]} {promise.name:<{width}}  {promise.figure}")


class LiveScreen(Screen):
    """The event log scrolls as lines do; under it stands the picture of the moment."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._ascii_only = console.options.ascii_only
        self._marks = marks(console.encoding)
        self._live = Live(console=console, auto_refresh=False, transient=True, redirect_stderr=False)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def show(self, line: JournalLine) -> None:
        text = coloured(line)
        text.truncate(self._console.width, overflow="crop" if self._ascii_only else "ellipsis")
        self._console.print(text, soft_wrap=True)

    def draw(self, scene: DemoScene) -> None:
        self._live.update(picture(scene, self._console.width, ascii_only=self._ascii_only), refresh=True)

    def say(self, text: str) -> None:
        self._console.print(Text(text), soft_wrap=True)

    def judge(self, verdict: DemoVerdict) -> None:
        table = Table.grid(padding=(0, 2, 0, 0))
        for promise in verdict.promises:
            style = _VERDICT_STYLES[promise.kept]
            mark, name = Text(" " + self._marks[promise.kept], style), Text(promise.name, no_wrap=True)
            table.add_row(mark, name, Text(promise.figure, "dim" if promise.kept else style))
        self._console.print(table)


def coloured(line: JournalLine) -> Text:
    """The same text as `in_plain`, in colours."""
    event, plain = line.event, in_plain(line)
    text = Text(plain, _TONE_STYLES[event.tone])
    text.stylize("dim", 0, plain.index(" ms") + 3)
    who = plain.index(event.who)
    text.stylize(_WHO_STYLES[event.who], who, who + len(event.who))
    return text


def open_screen(*, as_json: bool) -> Screen:
    """The one that suits standard output."""
    if as_json:
        return Screen()
    if sys.stdout.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown"):
        return LiveScreen(Console(highlight=False))
    return Lines(sys.stdout)
