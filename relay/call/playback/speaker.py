"""The way out: frames that are due go to the outbox of whichever socket is the caller's now, with marks in between."""

from collections.abc import Callable, Sequence
from functools import partial

import trio

from relay.call.caller.leg import CallerLeg
from relay.call.report.events import PlayoutHole
from relay.call.report.report import Report
from relay.errors import LegLost
from relay.logic.playback.frame import PlayFrame
from relay.logic.playback.playout import Cut, Playout, Taken
from relay.net.outbox import Entry

MARK_EVERY_MS = 200
"""How fine the heard position is known; a mark per frame would double the messages."""


class Speaker:
    """One per call. Only `send_due` waits; whatever it is doing, `cut` stops it at once.

    `frame_sent` is told the turn of every frame of audio that was written.
    """

    def __init__(self, playout: Playout, report: Report, *, frame_sent: Callable[[int], None]) -> None:
        self._playout = playout
        self._report = report
        self._counts = report.counts
        self._frame_sent = frame_sent
        self._leg: CallerLeg | None = None
        self._turn_scope = trio.CancelScope()
        self._marked_ms = 0.0
        self._taken_back_ms = 0.0
        self.last_audible_at = trio.current_time()

    def attach(self, leg: CallerLeg) -> None:
        """Play to this socket from now on."""
        self._leg = leg
        self._playout.attach(trio.current_time())

    def detach(self, leg: CallerLeg) -> float:
        """This socket is gone, with what the caller's side had not played: that comes first on the next.

        Returns how many ms that is, as far as is known.
        """
        if self._leg is leg:
            self._leg = None
            self._turn_scope.cancel()
            self._taken_back_ms = self._playout.detach(trio.current_time())
        return self._taken_back_ms

    def next_send_at(self) -> float | None:
        """When there is something to do for `send_due`; None while there is nothing, or nobody to hear it."""
        return None if self._leg is None else self._playout.next_send_at()

    def cut(self, turn: int, now: float) -> Cut:
        """Nothing that was queued until now will be sent."""
        self._turn_scope.cancel()
        return self._playout.cut(turn, now)

    def clear(self, turn: int, position_ms: int, cleared: Callable[[float], None]) -> None:
        """Empty the outbox and tell the caller's side to forget what it holds, then to send a mark back.

        `cleared` is told when that was written. Whether we think that the caller's side holds anything plays no part.
        """
        if self._leg is not None:
            mark = Entry(self._leg.mark(turn, position_ms), turn=turn)
            self._leg.outbox.flush_and_put([Entry(self._leg.clear(), on_sent=cleared), mark])

    async def send_due(self) -> None:
        """Send what is due now, waiting for room in the outbox, until there is no more or it was cut."""
        with trio.CancelScope() as self._turn_scope:
            leg = self._leg
            while leg is not None and (due_at := self._playout.next_send_at()) is not None:
                taken = self._playout.take(trio.current_time())
                if taken is None:
                    return
                self._note(taken)
                try:
                    await self._put(leg, taken.frame, max(due_at, taken.frame.arrived_at))
                except LegLost:
                    self.detach(leg)
                    return

    def add(self, frames: Sequence[PlayFrame], now: float) -> None:
        """Queue frames behind all others."""
        for frame in frames:
            if cause := self._playout.add(frame, now):
                self._counts.dropped(cause)

    async def _put(self, leg: CallerLeg, frame: PlayFrame, due_at: float) -> None:
        sent = partial(self._sent, frame.turn, due_at)
        await leg.outbox.put(Entry(leg.audio(frame.data), turn=frame.turn, on_sent=sent))
        position_ms = self._playout.sent_ms
        if position_ms - self._marked_ms >= MARK_EVERY_MS or self._playout.queued_ms == 0:
            self._marked_ms = position_ms
            await leg.outbox.put(Entry(leg.mark(frame.turn, int(position_ms)), turn=frame.turn))

    def _sent(self, turn: int, due_at: float, sent_at: float) -> None:
        self._counts.frame("caller", "down")
        self._counts.frame_delay("down", sent_at - due_at)
        self._frame_sent(turn)

    def _note(self, taken: Taken) -> None:
        if taken.frame.audible:
            self.last_audible_at = trio.current_time()
        self._counts.dropped("trimmed", taken.trimmed)
        if taken.hole is not None:
            self._report.tell(PlayoutHole(round(taken.hole.ms, 1)))
