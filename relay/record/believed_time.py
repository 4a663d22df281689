"""Says whether the machine's time can be believed, so that a clock that jumps by years removes no recording."""

import time

CHECK_S = 60.0
"""A clock that is off by less since the last look was corrected, and has not jumped."""
AFTER_START_S = 3600.0
"""A machine that has just begun may have a wrong clock until it has asked another."""
AFTER_JUMP_S = 86400.0
"""So much time has an operator to set it right."""


class BelievedTime:
    """Compares the machine's time with a clock that nobody sets, from the moment it is made."""

    def __init__(self) -> None:
        self._time, self._monotonic = time.time(), time.monotonic()
        self._from = self._monotonic + AFTER_START_S

    @property
    def is_believed(self) -> bool:
        """It has gone evenly for long enough, at the last look."""
        return self._monotonic >= self._from

    def look(self) -> float:
        """Compare them again. Returns by how many seconds the time has jumped since the last look, 0 if it has not."""
        now, monotonic = time.time(), time.monotonic()
        jumped_s = (now - self._time) - (monotonic - self._monotonic)
        self._time, self._monotonic = now, monotonic
        if abs(jumped_s) < CHECK_S:
            return 0.0
        self._from = monotonic + AFTER_JUMP_S
        return jumped_s
