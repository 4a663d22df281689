"""A recorded call as it is read: the entries of all its files, in the order in which they happened."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from msgspec.structs import replace

from relay.errors import NotARecording
from relay.media.frames import AudioFormat, Encoding
from relay.record.entries import Recorded, RecordingEnd, RecordingHeader, Timed, Told
from relay.record.file_format import Room, read, read_after_end
from relay.record.keys import RecordKey

CALL_MAX_S = 2 * 86_400.0
"""No call is so long: session.max_duration_s is half a day at most, and others may have it behind that."""
BEGAN_MAX_S = 1e11
"""Unix time of the year 5138."""
RATE_MAX_HZ = 48_000


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
        NotARecording: a file is none, has a time or a format that no call has, or unpacks to far more than its size, or
            they are not of one call; one line that names it, or the calls.
        OSError: a file cannot be read.
    """
    room = Room(sum(path.stat().st_size for path in files))
    parts = sorted((_read_part(path, keys, room) for path in files), key=lambda part: part.header.began_at)
    first = parts[0].header
    if others := [part.header.call_id for part in parts if part.header.call_id != first.call_id]:
        raise NotARecording(f"recordings of different calls: {first.call_id} and {others[0]}")
    entries: list[Timed] = []
    after_end: list[Told] = []
    for part in parts:
        later_s = part.header.began_at - first.began_at
        if later_s > CALL_MAX_S:
            raise NotARecording(f"recordings of {first.call_id} that began {later_s:.0f} s apart: was a clock set?")
        entries += (replace(entry, at_s=entry.at_s + later_s) for entry in part.entries) if later_s else part.entries
        after_end += (replace(event, at_s=event.at_s + later_s) for event in part.after_end)
    entries.sort(key=lambda entry: entry.at_s)
    after_end.sort(key=lambda event: event.at_s)
    return RecordedCall(first, entries, all(part.complete for part in parts), after_end)


def read_file(path: Path, keys: Sequence[RecordKey] = ()) -> RecordedCall:
    """One file of a call, its entries in the order in which they were taken down. Raises as `read_call`."""
    return _read_part(path, keys, Room(path.stat().st_size))


def _read_part(path: Path, keys: Sequence[RecordKey], room: Room) -> RecordedCall:
    try:
        data = path.read_bytes()
        header, rest = read(data, keys, room)
        _check_header(header)
        entries: list[Recorded] = list(rest)
        timed = [entry for entry in entries if not isinstance(entry, RecordingHeader | RecordingEnd)]
        later = read_after_end(data, keys, header.call_id, room)
        after_end = [Told(told.told_at - header.began_at, told.name, told.values) for told in later]
        _check_times([*timed, *after_end])
    except NotARecording as error:
        raise NotARecording(f"{path}: {error}") from None
    last = entries[-1] if entries else None
    complete = isinstance(last, RecordingEnd) and last.why == "ended"
    return RecordedCall(header, timed, complete, after_end)


def _check_header(header: RecordingHeader) -> None:
    """Raises NotARecording for what nobody can place or play."""
    encodings = {header.caller_encoding, header.assistant_encoding}
    rates_hz = (header.caller_rate_hz, header.assistant_rate_hz)
    is_known = encodings <= set(Encoding) and all(0 < rate_hz <= RATE_MAX_HZ for rate_hz in rates_hz)
    if not (is_known and 0 <= header.began_at <= BEGAN_MAX_S):
        raise NotARecording("a recording with a header that no call has")


def _check_times(entries: Iterable[Timed]) -> None:
    """Raises NotARecording: what is made of a call grows with its length."""
    if not all(-CALL_MAX_S <= entry.at_s <= CALL_MAX_S for entry in entries):  # which NaN is not either
        raise NotARecording("a recording with an entry at a time that no call has")
