"""Adds to the recording of a call what is told of it when its file is closed already, as what it has cost.

A file that a process still writes is locked, and left alone: that process is told by the call.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import time
from typing import Any

import structlog

from relay.record.entries import ToldAfterEnd
from relay.record.file_format import is_sealed, part_after_end
from relay.record.folder import append_part, last_file
from relay.record.keys import RecordKey
from relay.redaction import Redactor

WAITING_MAX = 1000
"""The oldest make room."""
ROOM_BYTES = 65_536
"""For this, beyond the greatest size of a recording: some hundred reports."""

log = structlog.get_logger(__name__)


class AfterEnd:
    """What waits to be added. One for the daemon."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._waiting: deque[ToldAfterEnd] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def note(self, call_id: str, name: str, values: Mapping[str, Any]) -> None:
        """Take down an event of a call that may be over, and may have a recording. Never waits."""
        self._waiting.append(ToldAfterEnd(time(), call_id, name, self._redactor.clean_event(values)))
        if len(self._waiting) > WAITING_MAX:
            Added(self._waiting.popleft(), failed="too much waits for the disk").tell()

    def take(self) -> Sequence[ToldAfterEnd]:
        """What waits, which the caller has to add."""
        taken, self._waiting = self._waiting, deque()
        return taken


@dataclass(frozen=True, slots=True)
class Added:
    """What came of one: the name of the file that has it, or why none has."""

    told: ToldAfterEnd
    file: str = ""
    failed: str | None = None

    def tell(self) -> None:
        """Write the line of the log."""
        call_id, kind = self.told.call_id, self.told.values.get("type")
        if self.failed is None:
            log.info("record.told_after_end", call_id=call_id, type=kind, file=self.file)
        else:
            log.warning("record.not_told", call_id=call_id, type=kind, error=self.failed)


def add(told: ToldAfterEnd, folder: Path, key: RecordKey | None, call_max_bytes: int) -> Added | None:
    """Append it to the last file of its call; None if there is none, or a process still writes it.

    It reads and writes the disk, and raises what that raises.
    """
    path = last_file(folder, told.call_id)
    if path is None:
        return None
    if key is None and is_sealed(path):
        return Added(told, failed="the recording is sealed, and there is no key any more")
    is_added = append_part(path, part_after_end(told, key), max_bytes=call_max_bytes + ROOM_BYTES)
    return Added(told, path.name) if is_added else None
