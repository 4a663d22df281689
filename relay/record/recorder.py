"""Writes the recordings of all calls of the daemon, twice a second, from a worker thread.

No call waits for it. A disk that is full, broken or too slow costs a recording, with a line in the log.
"""

import os
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import structlog
import trio

from relay import __version__
from relay.config import Config
from relay.media.frames import AudioFormat
from relay.record.after_end import Added, AfterEnd, add
from relay.record.backlog import Backlog
from relay.record.believed_time import BelievedTime
from relay.record.call_recording import CallRecording
from relay.record.entries import Recorded, RecordingEnd, RecordingHeader, ToldAfterEnd
from relay.record.file_format import FRAMING_BYTES, BlockEncoder, Blocks
from relay.record.folder import Pruned, RecordingFile, folder_of, prune
from relay.record.keys import RecordKey, parse_key
from relay.redaction import Redactor

WRITE_EVERY_S = 0.5
"""So much is lost at most when the process is killed."""
PRUNE_EVERY_S = 60.0
CLOSE_S = 2.0
"""At the end of the process, for what is not written yet."""
SETTINGS = ("audio", "vad", "barge_in", "jitter", "reconnect", "session", "transfer")
"""The tables of the configuration that decide about audio; no key of theirs is a secret."""
DEADLINES = ("token_ttl_s", "media_start_timeout_s")
"""Of the table [twilio], which has secrets too."""
ASSISTANT_KEYS = ("name", "audio_format", "sample_rate_hz", "max_call_s")
MEGABYTE = 1_000_000
DAY_S = 86400.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Batch:
    """What is to be written of one call. `keep`: its file stays when it is over."""

    recording: CallRecording
    entries: Sequence[Recorded]
    is_over: bool
    keep: bool


@dataclass(slots=True)
class _Outcome:
    """What came of the batches: recordings that are lost, each with the reason, and those that are over and kept."""

    failed: list[tuple[CallRecording, str]] = field(default_factory=list)
    kept: list[tuple[CallRecording, "_OpenFile"]] = field(default_factory=list)
    added: list[Added] = field(default_factory=list)
    """To recordings of calls that were over already."""
    pruned: Pruned | None = None
    """Old files, where they were looked for."""
    clock_jumped_s: float = 0.0


class Recorder:
    """One per daemon. `begin` is for each call; what it gives is written until it is over, and `after_end` later."""

    def __init__(self, config: Config, redactor: Redactor, folder: Path, failed: Callable[[], None]) -> None:
        self._redactor = redactor
        self._failed = failed
        self._live: list[CallRecording] = []
        """Those whose end is not written yet."""
        self.after_end = AfterEnd(redactor)
        self._backlog = Backlog()
        self._one_thread = trio.CapacityLimiter(1)
        self._not_removed: str | None = None
        self._writer = _Writer(folder)
        self.renew(config, generation=1)

    def renew(self, config: Config, generation: int) -> None:
        """Have another configuration, but for `record.dir`. A recording that has begun keeps its mode, and its key."""
        self._mode, self._generation = config.record.mode, generation
        self._settings = recorded_settings(config)
        keys = config.secrets.record_keys
        self._writer.bounds = _Bounds(
            call_max_bytes=config.record.max_call_mb * MEGABYTE,
            max_bytes=config.record.max_total_mb * MEGABYTE,
            keep_s=config.record.keep_days * DAY_S,
            key=parse_key(keys[-1]) if keys else None,
        )

    def begin(
        self, call_id: str, call_sid: str, caller: AudioFormat, assistant: AudioFormat, *, goes_on: bool = False
    ) -> CallRecording:
        """Record a call from now on. `assistant` is the format that is asked for. `goes_on`: another process had it."""
        now = trio.current_time()
        header = RecordingHeader(
            program_version=__version__,
            call_id=call_id,
            call_sid=call_sid,
            began_at=time.time(),
            caller_encoding=caller.encoding,
            caller_rate_hz=caller.rate_hz,
            assistant_encoding=assistant.encoding,
            assistant_rate_hz=assistant.rate_hz,
            settings=self._settings,
            clock_s=now,
            goes_on=goes_on,
            generation=self._generation,
        )
        recording = CallRecording(header, self._redactor, now, self._backlog, self._failed)
        recording.kept_anyway = self._mode == "all"
        self._live.append(recording)
        return recording

    async def run(self) -> None:
        """The task that writes, until cancelled; where nothing is recorded, it removes what is too old by now."""
        while True:
            await trio.sleep(WRITE_EVERY_S)
            await self.write()

    async def write(self) -> None:
        """Write what there is. Cancelled, it may be written all the same, by a thread that nobody waits for."""
        if not (self._live or self.after_end or self._writer.prune_is_due):
            return
        await trio.lowlevel.checkpoint_if_cancelled()  # before anything is taken that no thread would write then
        batches = [self._batch(recording) for recording in self._live]
        after_end = self.after_end.take()
        work = partial(self._writer.work, batches, after_end)
        try:
            outcome = await trio.to_thread.run_sync(work, abandon_on_cancel=True, limiter=self._one_thread)
        except Exception as error:  # noqa: BLE001 - no thread, or a fault of ours: calls go on without their recordings
            outcome = _Outcome(failed=[(batch.recording, _told(error)) for batch in batches])
            outcome.added = [Added(told, failed=_told(error)) for told in after_end]
        else:
            over = {batch.recording for batch in batches if batch.is_over}
            self._live = [recording for recording in self._live if recording not in over]
        self._backlog.written()
        self._tell(outcome)

    def give_up(self, why: str) -> None:
        """Write no more of any call."""
        for recording in self._live:
            recording.give_up(why)

    def _tell(self, outcome: _Outcome) -> None:
        for recording, why in outcome.failed:
            recording.give_up(why)
        for recording, opened in outcome.kept:
            file, key_id = opened.file, opened.key_id
            values = {"file": file.path.name, "bytes": file.n_bytes, "troubles": recording.troubles.found}
            log.info("record.kept", call_id=recording.call_id, key_id=key_id, **values)
        for added in outcome.added:
            added.tell()
        if outcome.clock_jumped_s:
            log.warning("record.clock_jumped", by_s=round(outcome.clock_jumped_s))
        if (pruned := outcome.pruned) is None:
            return
        if pruned.removed:
            log.info("record.removed", files=pruned.removed)
        if pruned.failed not in {None, self._not_removed}:
            log.warning("record.not_removed", error=pruned.failed)
        self._not_removed = pruned.failed

    def _batch(self, recording: CallRecording) -> _Batch:
        keep = recording.kept_anyway or bool(recording.troubles.found)
        return _Batch(recording, recording.take(), recording.is_over, keep)


@dataclass(frozen=True, slots=True)
class _OpenFile:
    """A file that is being written, and what makes its bytes. `key_id` names the key that seals it, if one does."""

    file: RecordingFile
    blocks: Blocks
    key_id: str | None

    def append(self, payload: bytes) -> None:
        self.file.append(self.blocks.next(payload))


@dataclass(frozen=True, slots=True)
class _Bounds:
    """How much is kept, and for how long; `key` seals the files that are opened."""

    call_max_bytes: int
    max_bytes: int
    keep_s: float
    key: RecordKey | None


class _Writer:
    """Has the files. It is used by one thread at a time; `bounds` may be replaced at any time."""

    bounds: _Bounds

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._encoder = BlockEncoder()
        self._files: dict[CallRecording, _OpenFile] = {}
        self._lost: set[CallRecording] = set()
        self._time = BelievedTime()
        self._prune_at = 0.0

    @property
    def prune_is_due(self) -> bool:
        return time.monotonic() >= self._prune_at

    def work(self, batches: Sequence[_Batch], after_end: Sequence[ToldAfterEnd]) -> _Outcome:
        """Write the batches, close the files of calls that are over, add what came later, at times remove old ones."""
        outcome = _Outcome()
        for batch in batches:
            try:
                self._append(batch.recording, batch.entries)
            except Exception as error:  # noqa: BLE001 - whatever it is, it costs this recording and nothing else
                self._lost.add(batch.recording)
                outcome.failed.append((batch.recording, _told(error)))
        for batch in batches:  # afterwards, because to close a file can take long: it waits for the disk
            if batch.is_over:
                self._finish(batch, outcome)
        outcome.added += filter(None, map(self._add, after_end))
        if self.prune_is_due:
            self._prune_at = time.monotonic() + PRUNE_EVERY_S
            outcome.clock_jumped_s = self._time.look()
            outcome.pruned = self._prune()
        return outcome

    def _append(self, recording: CallRecording, entries: Sequence[Recorded]) -> None:
        if not entries or recording in self._lost:
            return
        opened = self._files.get(recording)
        if opened is None:
            key = self.bounds.key
            blocks, key_id = Blocks(key), None if key is None else key.id.hex()
            opened = self._files[recording] = _OpenFile(RecordingFile(self._folder, recording.call_id), blocks, key_id)
            opened.file.append(blocks.head)
        payload = self._encoder.payload(entries)
        if opened.file.n_bytes + len(payload) + FRAMING_BYTES > self.bounds.call_max_bytes:
            opened.append(self._encoder.payload([RecordingEnd(_time_of(entries[0]), "full")]))
            raise _Full
        opened.append(payload)

    def _finish(self, batch: _Batch, outcome: _Outcome) -> None:
        self._lost.discard(batch.recording)
        opened = self._files.pop(batch.recording, None)
        if opened is None:
            return
        try:
            opened.file.close(keep=batch.keep)
        except Exception as error:  # noqa: BLE001 - as above
            outcome.failed.append((batch.recording, _told(error)))
        else:
            outcome.kept += [(batch.recording, opened)] * batch.keep

    def _add(self, told: ToldAfterEnd) -> Added | None:
        try:
            return add(told, self._folder, self.bounds.key, self.bounds.call_max_bytes)
        except Exception as error:  # noqa: BLE001 - as above
            return Added(told, failed=_told(error))

    def _prune(self) -> Pruned:
        spare = {opened.file.path for opened in self._files.values()}
        bounds = self.bounds
        keep_s = bounds.keep_s if self._time.is_believed else None
        try:
            return prune(self._folder, max_bytes=bounds.max_bytes, keep_s=keep_s, spare=spare)
        except OSError as error:
            return Pruned(failed=_told(error))


def recorded_settings(config: Config) -> dict[str, Any]:
    """What of the configuration stands in a recording."""
    assistants = [{key: getattr(it, key) for key in ASSISTANT_KEYS} for it in config.assistants]
    deadlines = {key: getattr(config.twilio, key) for key in DEADLINES}
    tables = {name: msgspec.to_builtins(getattr(config, name)) for name in SETTINGS}
    return {**tables, "twilio": deadlines, "assistants": assistants}


class _Full(Exception):
    """A recording has its greatest size."""


def _told(error: Exception) -> str:
    if isinstance(error, _Full):
        return "it has the size of record.max_call_mb"
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error) or repr(error)


def _time_of(entry: Recorded) -> float:
    return 0.0 if isinstance(entry, RecordingHeader) else entry.at_s


@asynccontextmanager
async def open_recorder(
    config: Config,
    redactor: Redactor,
    failed: Callable[[], None] = lambda: None,
    environ: Mapping[str, str] = os.environ,
) -> AsyncIterator[Recorder]:
    """The recorder of the daemon, which writes while the context is open. What was recorded before goes by its age also
    where nothing is recorded. `failed` is called for each recording that is given up.

    On leaving, what was taken down is written, in `CLOSE_S` at most.
    """
    recorder = Recorder(config, redactor, folder_of(config.record.dir, environ), failed)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(recorder.run)
        try:
            yield recorder
        finally:
            with trio.move_on_after(CLOSE_S, shield=True) as scope:
                await recorder.write()
            if scope.cancelled_caught:
                recorder.give_up("the disk was too slow at the end of the process")
            nursery.cancel_scope.cancel()
