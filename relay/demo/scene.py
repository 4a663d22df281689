"""The scene is what can be seen of the call at this moment, and of the seconds before it."""

from collections import deque
from dataclasses import dataclass, field

HISTORY = 240
"""Moments, of a tenth of a second: more than a terminal is wide."""
SILENT_DBFS = -100.0


@dataclass(slots=True)
class SceneMoment:
    """A tenth of a second: the loudest 20 ms of each side, the relay's buffer, whether a `clear` fell into it."""

    caller_dbfs: float = SILENT_DBFS
    heard_dbfs: float = SILENT_DBFS
    buffer_ms: float = 0.0
    cleared: bool = False


@dataclass(slots=True)
class DemoScene:
    """Filled by the demo's tasks, drawn by the screen. The last of `moments` is the present one."""

    elapsed_s: float = 0.0
    turn: int = 0
    caller_says: str = ""
    assistant_says: str = ""
    flushed: str = "nothing yet"
    buffer_ms: float = 0.0
    moments: deque[SceneMoment] = field(default_factory=lambda: deque([SceneMoment()], maxlen=HISTORY))

    @property
    def now(self) -> SceneMoment:
        """The present moment."""
        return self.moments[-1]

    def sound(self, caller_dbfs: float, heard_dbfs: float) -> None:
        """Add how loud both sides were for 20 ms."""
        self.now.caller_dbfs = max(self.now.caller_dbfs, caller_dbfs)
        self.now.heard_dbfs = max(self.now.heard_dbfs, heard_dbfs)
        self.now.buffer_ms = self.buffer_ms
