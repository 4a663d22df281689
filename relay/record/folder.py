"""The folder of the recordings: a file for each process that had a call, made, bounded and erased here.

It is used in worker threads, and by commands; only its user can read what is in it.
"""

import errno
import fcntl
import os
import re
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

SUFFIX = ".relay"
PROCESSES_MAX = 99
"""So many processes may have a call one after the other, and record it."""

_FILE_MODE = 0o600
_FOLDER_MODE = 0o700
_ID = r"[A-Za-z0-9]{1,64}(?:\.[A-Za-z0-9]{1,64})?"
_CALL_ID = re.compile(_ID)
_DAY_S = 86400.0
_FILE_NAME = re.compile(rf"({_ID})(-\d+)?{re.escape(SUFFIX)}")


def folder_of(configured: str, environ: Mapping[str, str]) -> Path:
    """The folder that `record.dir` names. Without a name it is in the directory that systemd gives the service for its
    state (systemd.exec, "StateDirectory="), or in ./state."""
    if configured:
        return Path(configured)
    return Path(environ.get("STATE_DIRECTORY", "").partition(":")[0] or "state", "calls")


class RecordingFile:
    """One file that is appended to. Raises OSError where the disk does."""

    def __init__(self, folder: Path, call_id: str) -> None:
        """Make the file, and the folder if there is none. A further process of a call gets `CALL_ID-2` and so on."""
        if not _CALL_ID.fullmatch(call_id):
            raise ValueError("a call id that is no name of a file")
        folder.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
        self.path, self._descriptor = _made(folder, call_id)
        with suppress(OSError):  # over some networks there are no locks
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self.n_bytes = 0

    def append(self, data: bytes) -> None:
        """Write all of it. A process that is killed afterwards has written it; a machine without power may have not."""
        self._check_named()
        while data:
            written = os.write(self._descriptor, data)
            self.n_bytes += written
            data = data[written:]

    def close(self, *, keep: bool) -> None:
        """No more is written. With `keep` it has reached the disk by then; without, the file is removed."""
        try:
            if keep:
                self._check_named()
                os.fsync(self._descriptor)
                _sync_names(self.path.parent)
            elif self._has_name():
                self.path.unlink(missing_ok=True)
        finally:
            os.close(self._descriptor)

    def _check_named(self) -> None:
        """A file that was erased, or whose folder was, takes room until it is closed, and nobody can read it."""
        if not self._has_name():
            raise FileNotFoundError(errno.ENOENT, "its file was removed")

    def _has_name(self) -> bool:
        """Without one, another file may have its name by now."""
        return os.fstat(self._descriptor).st_nlink > 0


def _sync_names(folder: Path) -> None:
    """Have the names of a folder's files reach the disk. Where that cannot be asked for, as over some networks, what is
    in the files is there all the same."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _made(folder: Path, call_id: str) -> tuple[Path, int]:
    for path in _possible(folder, call_id):
        try:
            return path, os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, _FILE_MODE)
        except FileExistsError:
            continue
    raise FileExistsError(None, f"the call has {PROCESSES_MAX} recordings already")


def _possible(folder: Path, call_id: str) -> Iterator[Path]:
    for number in range(1, PROCESSES_MAX + 1):
        yield folder / f"{call_id}{f'-{number}' if number > 1 else ''}{SUFFIX}"


def last_file(folder: Path, call_id: str) -> Path | None:
    """The recording of the last process that had the call; None if there is none, or if that is no call's id."""
    if not _CALL_ID.fullmatch(call_id):
        return None
    return next((path for path in reversed(list(_possible(folder, call_id))) if path.is_file()), None)


def append_part(path: Path, part: bytes, *, max_bytes: int) -> bool:
    """Append this to a file that is closed, and have it reach the disk. False: a process still writes it.

    Raises OSError: the disk fails, or the file would have more than `max_bytes`. Then it is as it was.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _append_or_nothing(descriptor, part, max_bytes)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def _append_or_nothing(descriptor: int, part: bytes, max_bytes: int) -> None:
    before = os.fstat(descriptor).st_size
    if before + len(part) > max_bytes:
        raise OSError(errno.EFBIG, "it has the size of record.max_call_mb")
    written = 0
    try:
        written = os.write(descriptor, part)
        os.fsync(descriptor)
    finally:
        if written < len(part):
            os.ftruncate(descriptor, before)
    if written < len(part):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@dataclass(frozen=True, slots=True)
class _Kept:
    changed_at: float
    n_bytes: int
    path: Path


@dataclass(slots=True)
class Pruned:
    """How many files were removed; and of the first that could not be, its name and why."""

    removed: int = 0
    failed: str | None = None


def prune(folder: Path, *, max_bytes: int, keep_s: float | None, spare: Collection[Path]) -> Pruned:
    """Remove the recordings that are older than `keep_s`, then the oldest until all together have at most `max_bytes`.

    Those in `spare`, which are being written, are counted and stay. `keep_s` is None while the time cannot be believed:
    then nothing is removed for its age. A file from the future was written while the clock was wrong; it gets today's
    date, or it would stay for so long.
    """
    pruned = Pruned()
    kept = sorted(_recordings(folder), key=lambda it: it.changed_at)
    total = sum(it.n_bytes for it in kept)
    now = time.time()
    for it in kept:
        is_old = keep_s is not None and it.changed_at < now - keep_s
        is_to_come = keep_s is not None and it.changed_at > now + _DAY_S
        if it.path in spare:
            continue
        try:
            if is_old or total > max_bytes:
                it.path.unlink(missing_ok=True)
                total -= it.n_bytes
                pruned.removed += 1
            elif is_to_come:
                os.utime(it.path, (now, now))
        except OSError as error:
            pruned.failed = pruned.failed or f"{it.path.name}: {error.strerror}"
    return pruned


def files_of(folder: Path, call_id: str) -> list[Path]:
    """Every recording of a call: one for each process that had it. Raises OSError."""
    return sorted(it.path for it in _recordings(folder) if _FILE_NAME.fullmatch(it.path.name)[1] == call_id)  # type: ignore[index]


def erase(folder: Path, call_id: str) -> list[Path]:
    """Remove every recording of a call, and return what was removed. Of a live call nothing more is kept by then."""
    files = files_of(folder, call_id)
    for path in files:
        path.unlink(missing_ok=True)
    return files


def _recordings(folder: Path) -> Iterator[_Kept]:
    """The files there that have the name of a recording. Raises OSError."""
    try:
        entries = list(os.scandir(folder))
    except FileNotFoundError:
        return
    for entry in entries:
        if _FILE_NAME.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:  # another thread or process has removed it since
                continue
            yield _Kept(status.st_mtime, status.st_size, Path(entry.path))


def recorded_calls(folder: Path) -> dict[str, float]:
    """The ids of the calls that have a recording, each with when that was last written to, in seconds since 1970."""
    found: dict[str, float] = {}
    for it in _recordings(folder):
        call_id = _FILE_NAME.fullmatch(it.path.name)[1]  # type: ignore[index]
        found[call_id] = max(it.changed_at, found.get(call_id, 0.0))
    return found
