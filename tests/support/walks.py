"""Which files of the relay something takes: seen by the lines that run."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from tests.support.reference import ROOT

PACKAGE = f"{ROOT / 'relay'}/"
FORMATS_AND_COUNTERS = ("media/", "wire/", "call/report/counts.py", "metrics.py", "tally.py")
"""What every step may use, and nobody needs to follow."""


@contextmanager
def walked() -> Iterator[list[str]]:
    """The files of which a line runs while the context is open, in order; stand-ins apart. For one task's sake only."""
    files: list[str] = []

    def on_line(frame: FrameType, event: str, _argument: Any) -> Any:
        if event == "line":
            name = frame.f_code.co_filename.removeprefix(PACKAGE)
            if name not in files:
                files.append(name)
        return on_line

    def on_call(frame: FrameType, _event: str, _argument: Any) -> Any:
        name = frame.f_code.co_filename
        return on_line if name.startswith(PACKAGE) and not name.startswith(f"{PACKAGE}standin/") else None

    before = sys.gettrace()
    sys.settrace(on_call)
    try:
        yield files
    finally:
        sys.settrace(before)


def steps(files: list[str]) -> list[str]:
    """Without formats and counters."""
    return [name for name in files if not name.startswith(FORMATS_AND_COUNTERS)]
