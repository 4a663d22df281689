"""Whether this machine kept up with a test in real time, which others may load too."""

import pytest
import trio

PROMISED_S = 0.25
"""Later than this, and a simulated telephone tells the relay so late what it has heard, or says so late what it says,
that nothing can be concluded from what the relay did."""


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

    def judge(self, problems: list[str], windows_skipped: int = 0) -> None:
        """`windows_skipped`: what the daemon's detector did not get to hear, because it was a second behind."""
        if problems and (self.latest_s > PROMISED_S or windows_skipped):
            late = f"{self.latest_s * 1000:.0f} ms late, {windows_skipped} windows not judged"
            pytest.skip(f"this machine is too busy for real time ({late}): {problems[:3]}")
        assert problems == [], problems
