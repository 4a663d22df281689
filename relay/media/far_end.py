"""Remembers what was sent to a caller, and says what was played while a piece of the caller's audio was recorded.

All is measured here, on one clock: a frame is taken for played when it was sent, or as soon as the frames before it
are; the caller's audio for recorded just before it came. Both networks, and what the caller's side holds back, are the
same for a whole sentence: to an echo they are a part of its delay. A `clear` that was sent takes the same way as the
audio, so at the same point of this time it ends what is played.

The caller's audio keeps its own pace, whatever the jitter with which it comes: each piece was recorded behind the one
before, and behind those that are missing. Only if all of a second came later than that did more time pass.
"""

from collections import deque
from dataclasses import dataclass

from relay.media.frames import AudioFormat

KEPT_S = 0.25
"""What was played longer ago than the caller's last piece was recorded is forgotten: that moves back by jitter only."""
UNASKED_S = 60.0
"""So much is kept for a caller of whom nothing comes."""
SLACK_S = 0.02
WATCHED_S = 1.0


@dataclass(slots=True)
class _Run:
    """Sound that is played without a break, from a sample instant on."""

    start: int
    sound: bytearray


class FarEnd:
    """One per call, in the caller's format, of which a sample instant is the unit of time here. Times are seconds."""

    __slots__ = (
        "_block_bytes",
        "_end",
        "_format",
        "_kept",
        "_least_late",
        "_on_time_at",
        "_rate_hz",
        "_recorded",
        "_runs",
        "_slack",
        "_unasked",
    )

    def __init__(self, form: AudioFormat) -> None:
        self._format = form
        self._rate_hz, self._block_bytes = form.rate_hz, form.block_bytes
        self._runs: deque[_Run] = deque()
        """What was sent. A piece that goes on with the one before is joined to it: so there is hardly ever a search."""
        self._end = 0
        self._recorded: int | None = None
        self._on_time_at: float | None = None
        """When a piece of the caller's came last that was not late, or the first of all."""
        self._least_late: int | None = None
        """Of those that came since."""
        self._slack, self._kept, self._unasked = self._at(SLACK_S), self._at(KEPT_S), self._at(UNASKED_S)

    def sent(self, data: bytes, at: float) -> None:
        """This was written to the caller's socket: whole samples."""
        start = max(self._at(at), self._end)
        if self._runs and start == self._end:
            self._runs[-1].sound += data
        else:
            self._runs.append(_Run(start, bytearray(data)))
        self._end = start + len(data) // self._block_bytes
        if self._runs[0].start < start - self._unasked:
            self._forget(start - self._unasked)

    def cleared(self, at: float) -> None:
        """The caller's side plays nothing more of what was sent."""
        now = self._at(at)
        while self._runs and self._runs[-1].start >= now:
            self._runs.pop()
        if self._runs:
            last = self._runs[-1]
            del last.sound[(now - last.start) * self._block_bytes :]
        self._end = min(self._end, now)

    def new_stream(self) -> None:
        """What is recorded next has nothing to do with what was recorded before."""
        self._recorded = self._on_time_at = self._least_late = None

    def played(self, n_bytes: int, arrived_at: float) -> bytes | None:
        """What was played while the caller's next `n_bytes` were recorded, in as many; None for silence alone.

        They came at this time; some at their beginning may have been lost.
        """
        samples, now = n_bytes // self._block_bytes, self._at(arrived_at)
        start = now - samples if self._recorded is None else self._recorded
        start = self._not_too_late(start, now - samples, arrived_at)
        self._recorded = start + samples
        if self._runs and self._runs[0].start < start - 2 * self._kept:
            self._forget(start - self._kept)
        return self._between(start, start + samples)

    def _not_too_late(self, start: int, latest: int, arrived_at: float) -> int:
        start = min(start, latest)
        late = latest - start
        if late <= self._slack or self._on_time_at is None:  # as nearly always
            self._on_time_at, self._least_late = arrived_at, None
            return start
        self._least_late = late if self._least_late is None else min(late, self._least_late)
        if arrived_at < self._on_time_at + WATCHED_S:
            return start
        start += self._least_late
        self._on_time_at = self._least_late = None
        return start

    def _between(self, start: int, end: int) -> bytes | None:
        found, behind, block_bytes = b"", start, self._block_bytes
        for run in self._runs:
            until = run.start + len(run.sound) // block_bytes
            if until <= behind:
                continue
            if run.start >= end:
                break
            if run.start > behind:
                found += self._silence(run.start - behind)
                behind = run.start
            found += run.sound[(behind - run.start) * block_bytes : (end - run.start) * block_bytes]
            if until >= end:
                return found
            behind = until
        return found + self._silence(end - behind) if found else None

    def _forget(self, before: int) -> None:
        while self._runs and self._runs[0].start < before:
            first = self._runs[0]
            gone = (before - first.start) * self._block_bytes
            if gone < len(first.sound):
                del first.sound[:gone]
                first.start = before
                return
            self._runs.popleft()

    def _at(self, seconds: float) -> int:
        return round(seconds * self._rate_hz)

    def _silence(self, samples: int) -> bytes:
        return self._format.silence(samples * self._block_bytes)
