"""Writes the recordings of all calls of the daemon, twice a second, from a worker thread.

No call waits for it. A disk that is full, broken or too slow costs a recording, with a line in the log.
"""

import os
import time
from collections.abc import AsyncIterator, Mapping, Sequence
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
from relay.record.call_recording import CallRecording
from relay.record.entries import Recorded, RecordingEnd, RecordingHeader
from relay.record.file_format import HEAD, BlockEncoder
from relay.record.folder import RecordingFile, folder_of, prune
from relay.redaction import Redactor

WRITE_EVERY_S = 0.5
"""So much is lost at most when the process is killed."""
PRUNE_EVERY_S = 60.0
CLOSE_S = 2.0
"""At the end of the process, for what is not written yet."""
SETTINGS = ("audio", "vad", "barge_in", "jitter", "reconnect", "session")
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
    kept: list[tuple[CallRecording, RecordingFile]] = field(default_factory=list)
    removed: int = 0
    """Old files."""


class Recorder:
    """One per daemon. `begin` is for each call; what it gives is written until it is over."""

    def __init__(self, config: Config, redactor: Redactor, folder: Path) -> None:
        self._config = config.record
        self._settings = recorded_settings(config)
        self._redactor = redactor
        self._live: list[CallRecording] = []
        self._one_thread = trio.CapacityLimiter(1)
        self._writer = _Writer(
            folder,
            call_max_bytes=config.record.max_call_mb * MEGABYTE,
            max_bytes=config.record.max_total_mb * MEGABYTE,
            keep_s=config.record.keep_days * DAY_S,
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
        )
        recording = CallRecording(header, self._redactor, now)
        self._live.append(recording)
        return recording

    async def run(self) -> None:
        """The task that writes, until cancelled."""
        while True:
            await trio.sleep(WRITE_EVERY_S)
            await self.write()

    async def write(self) -> None:
        """Write what there is. Cancelled, it may be written all the same, by a thread that nobody waits for."""
        batches = [self._batch(recording) for recording in self._live]
        self._live = [batch.recording for batch in batches if not batch.is_over]
        work = partial(self._writer.work, batches)
        try:
            outcome = await trio.to_thread.run_sync(work, abandon_on_cancel=True, limiter=self._one_thread)
        except Exception as error:  # noqa: BLE001 - no thread, or a fault of ours: calls go on without their recordings
            outcome = _Outcome(failed=[(batch.recording, _told(error)) for batch in batches])
            self._live += [batch.recording for batch in batches if batch.is_over]  # their files are still open
        for recording, why in outcome.failed:
            recording.give_up(why)
        for recording, file in outcome.kept:
            values = {"file": file.path.name, "bytes": file.n_bytes, "troubles": recording.troubles.found}
            log.info("record.kept", call_id=recording.call_id, **values)
        if outcome.removed:
            log.info("record.removed", files=outcome.removed)

    def _batch(self, recording: CallRecording) -> _Batch:
        keep = self._config.mode == "all" or bool(recording.troubles.found)
        return _Batch(recording, recording.take(), recording.is_over, keep)


class _Writer:
    """Has the files. It is used by one thread at a time."""

    def __init__(self, folder: Path, *, call_max_bytes: int, max_bytes: int, keep_s: float) -> None:
        self._folder = folder
        self._call_max_bytes = call_max_bytes
        self._max_bytes = max_bytes
        self._keep_s = keep_s
        self._encoder = BlockEncoder()
        self._files: dict[CallRecording, RecordingFile] = {}
        self._lost: set[CallRecording] = set()
        self._prune_at = 0.0

    def work(self, batches: Sequence[_Batch]) -> _Outcome:
        """Write the batches, close the files of calls that are over, and now and then remove old ones."""
        outcome = _Outcome()
        for batch in batches:
            try:
                self._append(batch.recording, batch.entries)
            except Exception as error:  # noqa: BLE001 - whatever it is, it costs this recording and nothing else
                self._lost.add(batch.recording)
                outcome.failed.append((batch.recording, _told(error)))
            if batch.is_over:
                self._finish(batch, outcome)
        outcome.removed = self._prune()
        return outcome

    def _append(self, recording: CallRecording, entries: Sequence[Recorded]) -> None:
        if not entries or recording in self._lost:
            return
        file = self._files.get(recording)
        if file is None:
            file = self._files[recording] = RecordingFile(self._folder, recording.call_id)
            file.append(HEAD)
        block = self._encoder.block(entries)
        if file.n_bytes + len(block) > self._call_max_bytes:
            file.append(self._encoder.block([RecordingEnd(_time_of(entries[0]), "full")]))
            raise _Full
        file.append(block)

    def _finish(self, batch: _Batch, outcome: _Outcome) -> None:
        self._lost.discard(batch.recording)
        file = self._files.pop(batch.recording, None)
        if file is None:
            return
        try:
            file.close(keep=batch.keep)
        except OSError as error:
            outcome.failed.append((batch.recording, _told(error)))
        else:
            outcome.kept += [(batch.recording, file)] * batch.keep

    def _prune(self) -> int:
        if time.monotonic() < self._prune_at:
            return 0
        self._prune_at = time.monotonic() + PRUNE_EVERY_S
        spare = {file.path for file in self._files.values()}
        try:
            return prune(self._folder, max_bytes=self._max_bytes, keep_s=self._keep_s, spare=spare)
        except OSError:
            return 0  # the next recording finds out what is wrong with the folder


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
    config: Config, redactor: Redactor, environ: Mapping[str, str] = os.environ
) -> AsyncIterator[Recorder | None]:
    """The recorder of the daemon, which writes while the context is open; None where nothing is recorded.

    On leaving, what was taken down is written, in `CLOSE_S` at most.
    """
    if config.record.mode == "off":
        yield None
        return
    recorder = Recorder(config, redactor, folder_of(config.record.dir, environ))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(recorder.run)
        try:
            yield recorder
        finally:
            with trio.move_on_after(CLOSE_S, shield=True):
                await recorder.write()
            nursery.cancel_scope.cancel()
