"""A recorded call as it is read: the entries of all its files, in the order in which they happened."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from msgspec.structs import replace

from relay.errors import NotARecording
from relay.media.frames import AudioFormat, Encoding
from relay.record.entries import Recorded, RecordingEnd, RecordingHeader, Timed, Told
from relay.record.file_format import read, read_after_end
from relay.record.keys import RecordKey


@dataclass(frozen=True)
class RecordedCall:
    """`entries` have seconds since the first file began. `complete`: no file was cut short. `after_end`: what
    came when the files were closed already."""

    header: RecordingHeader
    entries: list[Timed] = field(repr=False)
    complete: bool
    after_end: list[Told] = field(default_factory=list, repr=False)

    @property
    def caller_format(self) -> AudioFormat:
        return AudioFormat(Encoding(self.header.caller_encoding), self.header.caller_rate_hz)

    @cached_property
    def events(self) -> list[Told]:
        return [entry for entry in self.entries if isinstance(entry, Told)]

    @cached_property
    def start_s(self) -> float:
        """When the caller's first stream was there; where none came, when the recording began."""
        return next((event.at_s for event in self.events if event.name == "caller.attached"), 0.0)

    @property
    def end_s(self) -> float:
        """When the call ended, as far as is known."""
        return self.entries[-1].at_s if self.entries else 0.0


def read_call(files: Sequence[Path], keys: Sequence[RecordKey] = ()) -> RecordedCall:
    """Read all files of one call, in any order. `keys`: those that they may be sealed with.

    Raises:
        NotARecording: a file is none, or they are of different calls; one line that names it.
        OSError: a file cannot be read.
    """
    parts = sorted((read_file(path, keys) for path in files), key=lambda part: part.header.began_at)
    first = parts[0].header
    if others := [part.header.call_id for part in parts if part.header.call_id != first.call_id]:
        raise NotARecording(f"recordings of different calls: {first.call_id} and {others[0]}")
    entries: list[Timed] = []
    after_end: list[Told] = []
    for part in parts:
        later_s = part.header.began_at - first.began_at
        entries += (replace(entry, at_s=entry.at_s + later_s) for entry in part.entries) if later_s else part.entries
        after_end += (replace(event, at_s=event.at_s + later_s) for event in part.after_end)
    entries.sort(key=lambda entry: entry.at_s)
    after_end.sort(key=lambda event: event.at_s)
    return RecordedCall(first, entries, all(part.complete for part in parts), after_end)


def read_file(path: Path, keys: Sequence[RecordKey] = ()) -> RecordedCall:
    """One file of a call, its entries in the order in which they were taken down. Raises as `read_call`."""
    try:
        data = path.read_bytes()
        header, rest = read(data, keys)
        entries: list[Recorded] = list(rest)
        later = list(read_after_end(data, keys, header.call_id))
    except NotARecording as error:
        raise NotARecording(f"{path}: {error}") from None
    last = entries[-1] if entries else None
    complete = isinstance(last, RecordingEnd) and last.why == "ended"
    timed = [entry for entry in entries if not isinstance(entry, RecordingHeader | RecordingEnd)]
    after_end = [Told(told.told_at - header.began_at, told.name, told.values) for told in later]
    return RecordedCall(header, timed, complete, after_end)
