"""Remembers what was sent to a caller, and says what was played while a piece of the caller's audio was recorded.

All is measured here, on one clock: a frame is taken for played when it was sent, or as soon as the frames before it
are; the caller's audio for recorded just before it came. Both networks, and what the caller's side holds back, are the
same for a whole sentence: to an echo they are a part of its delay. A `clear` that was sent takes the same way as the
audio, so at the same point of this time it ends what is played.

The caller's audio keeps its own pace, whatever the jitter with which it comes: each piece was recorded behind the one
before, and behind those that are missing. Only if all of a second came later than that did more time pass.
"""

from collections import deque

from relay.media.frames import AudioFormat

KEPT_S = 0.25
"""What was played longer ago than the caller's last piece was recorded is forgotten: that moves back by jitter only."""
UNASKED_S = 60.0
"""So much is kept for a caller of whom nothing comes."""
SLACK_S = 0.02
WATCHED_S = 1.0


class FarEnd:
    """One per call, in the caller's format, of which a sample instant is the unit of time here. Times are seconds."""

    def __init__(self, form: AudioFormat) -> None:
        self._format = form
        self._rate_hz, self._block_bytes = form.rate_hz, form.block_bytes
        self._pieces: deque[tuple[int, int, bytes]] = deque()
        """What was sent: when each piece begins and ends, and its sound."""
        self._end = 0
        self._recorded: int | None = None
        self._late: deque[tuple[float, int]] = deque()
        self._slack, self._kept, self._unasked = self._at(SLACK_S), self._at(KEPT_S), self._at(UNASKED_S)

    def sent(self, data: bytes, at: float) -> None:
        """This was written to the caller's socket: whole samples."""
        start = max(self._at(at), self._end)
        self._end = start + len(data) // self._block_bytes
        self._pieces.append((start, self._end, data))
        while self._pieces[0][0] < start - self._unasked:
            self._pieces.popleft()

    def cleared(self, at: float) -> None:
        """The caller's side plays nothing more of what was sent."""
        now = self._at(at)
        while self._pieces and self._pieces[-1][0] >= now:
            self._pieces.pop()
        if self._pieces and self._pieces[-1][1] > now:
            start, _, data = self._pieces.pop()
            self._pieces.append((start, now, data[: (now - start) * self._block_bytes]))
        self._end = min(self._end, now)

    def new_stream(self) -> None:
        """What is recorded next has nothing to do with what was recorded before."""
        self._recorded = None
        self._late.clear()

    def played(self, n_bytes: int, arrived_at: float) -> bytes | None:
        """What was played while the caller's next `n_bytes` were recorded, in as many; None for silence alone.

        They came at this time; some at their beginning may have been lost.
        """
        samples, now = n_bytes // self._block_bytes, self._at(arrived_at)
        start = now - samples if self._recorded is None else self._recorded
        start = self._not_too_late(start, now - samples, arrived_at)
        self._recorded = start + samples
        while self._pieces and self._pieces[0][1] < start - self._kept:
            self._pieces.popleft()
        return self._between(start, start + samples)

    def _not_too_late(self, start: int, latest: int, arrived_at: float) -> int:
        start = min(start, latest)
        self._late.append((arrived_at, latest - start))
        if self._late[0][0] > arrived_at - WATCHED_S:
            return start
        while self._late[0][0] <= arrived_at - WATCHED_S:
            self._late.popleft()
        if latest - start <= self._slack:  # as nearly always: so is the least of them
            return start
        passed = min(late for _, late in self._late)
        if passed <= self._slack:
            return start
        self._late.clear()
        return start + passed

    def _between(self, start: int, end: int) -> bytes | None:
        found, behind, block_bytes = b"", start, self._block_bytes
        for at, until, data in self._pieces:
            if until <= behind:
                continue
            if at >= end:
                break
            if at > behind:
                found += self._silence(at - behind)
                behind = at
            if until >= end:
                return found + data[(behind - at) * block_bytes : (end - at) * block_bytes]
            found += data[(behind - at) * block_bytes :]
            behind = until
        return found + self._silence(end - behind) if found else None

    def _at(self, seconds: float) -> int:
        return round(seconds * self._rate_hz)

    def _silence(self, samples: int) -> bytes:
        return self._format.silence(samples * self._block_bytes)
