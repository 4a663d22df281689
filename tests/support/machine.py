"""Whether this machine kept up with a test in real time, which others may load too."""

import pytest
import trio

WORDS_S = 0.4
"""A process may stand still for so long and no word is lost, nor has silence put into it."""
TIMES_S = 0.25
"""Later than this, and a simulated telephone says so late what it has heard that times tell nothing of the relay."""


class Machine:
    """`run` measures how late this process wakes up; `judge` fails the test, or skips it where that explains it."""

    def __init__(self) -> None:
        self.latest_s = 0.0

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            due = trio.current_time() + 0.05
            await trio.sleep_until(due)
            self.latest_s = max(self.latest_s, trio.current_time() - due)

    def judge(self, problems: list[str], promised_s: float, windows_skipped: int = 0) -> None:
        """`promised_s`: how late the machine may be. `windows_skipped`: what the daemon's detector did not get to hear,
        because it was over a second behind."""
        if problems and (self.latest_s > promised_s or windows_skipped):
            late = f"{self.latest_s * 1000:.0f} ms late, {windows_skipped} windows not judged"
            pytest.skip(f"this machine is too busy for real time ({late}): {problems[:3]}")
        assert problems == [], problems
