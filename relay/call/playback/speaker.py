"""Sends the frames that are due to the outbox of whichever socket is the caller's now, with marks in between.

No frame of a turn that was cut may be written behind its `clear`. That is proved here, where what was written is known,
and not by the fence that sees to it.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import trio

from relay.call.caller.leg import CallerLeg, CallerOutbox
from relay.call.report.interruption_events import PlayoutHole
from relay.call.report.report import Report
from relay.config import JitterConfig
from relay.errors import LegLost
from relay.logic.playback.frame import PlayFrame
from relay.logic.playback.playout import Playout, Taken
from relay.media.far_end import FarEnd
from relay.media.frames import FRAME_MS
from relay.net.outbox import Entry
from relay.record.call_recording import CallRecording
from relay.wakeup import Alarm, Signal, current_time

MARK_EVERY_MS = 200
"""How fine the heard position is known; a mark per frame would double the messages. The last frame of a run has one."""
AHEAD_S = 0.025
"""So early a message may leave with a frame that comes. One comes every 20 ms, as long as audio flows, and with many
calls is read some ms later, or rests until it is wanted (see `relay.net.link.shared_reader`). With 20 ms, a call whose
frames come just when they are due would be woken for every message."""
FRAMES_PER_MESSAGE = 5
"""With many calls. Each more saves less, and is 20 ms more that a pause cannot hold back."""
ENTRIES_PER_MESSAGE = 2
"""A message of audio, and perhaps a mark."""


@dataclass(slots=True)
class Burden:
    """What the process carries, as far as a call has to know. One for all of them."""

    many_calls: bool = False
    """A message costs so much now that frames of a turn are to share one, where the leg can do that, and that no task
    is to be woken to send it."""


class Speaker:
    """One per call: the queue of what is to be played, `playout`, and the only way out of it.

    Only `run` waits; whatever it is sending, `stop` ends that at once. `changed` is to be fired when there may be
    something to do earlier than was planned. With many calls, what is nearly due is sent by who adds a frame.
    """

    def __init__(
        self, jitter: JitterConfig, report: Report, *, before_ms: int = 0, burden: Burden | None = None
    ) -> None:
        """`before_ms`: how much of what was heard a cut gives back beside what was not."""
        self.playout = Playout(
            target_ms=jitter.target_ms, lead_ms=jitter.lead_ms, max_ms=jitter.max_queue_ms, before_ms=before_ms
        )
        self.changed = Signal()
        self.far_end: FarEnd | None = None
        """To be told what was sent and when, if anybody looks for echoes."""
        self._report = report
        self._burden = burden or Burden()
        self._counts = report.counts
        self._recording = report.recording
        self._cleared_before = 0
        self._leg: CallerLeg | None = None
        self._sending = trio.CancelScope()
        self._alarm = Alarm("speaker")
        """For `run`, when something is due."""
        self._marked_ms = 0.0
        self._sent_turn = 0
        self._taken_back_ms = 0.0
        self.last_audible_at = current_time()
        """When sound was last queued for the caller, or sent."""

    def add(self, frames: Sequence[PlayFrame], now: float) -> None:
        """Queue frames behind all others."""
        was_empty, planned_at = self.playout.queued_ms == 0, self.playout.next_send_at()
        for frame in frames:
            if cause := self.playout.add(frame, now):
                self._counts.dropped(cause)
            elif frame.audible:
                self.last_audible_at = now
        goes_on_at, send_at = self.playout.goes_on_at, self.playout.next_send_at()
        is_earlier = send_at is not None and planned_at is not None and send_at < planned_at
        is_nearly_due = goes_on_at is not None and goes_on_at - AHEAD_S <= now
        if self._leg is not None and is_nearly_due and self._joins(self._leg):
            self._send_ahead(self._leg)
        elif frames and (was_empty or is_earlier):
            self._alarm.move(self._due_at)

    def wanted_at(self) -> float:
        """When more frames are of use, while what is sent next is here already; in the past: as they come.

        With many calls, frames that come sooner are of no use: each message is sent by who adds frames when it is due.
        """
        goes_on_at = self.playout.goes_on_at
        if self._leg is None or goes_on_at is None or not (self._burden.many_calls and self._leg.joins_frames):
            return -math.inf
        return goes_on_at - AHEAD_S

    def attach(self, leg: CallerLeg) -> None:
        """Play to this socket from now on."""
        self._leg = leg
        self.playout.attach(current_time())
        self.changed.fire()

    def detach(self, leg: CallerLeg) -> float:
        """This socket is gone, with what the caller's side had not played: that comes first on the next.

        Returns how many ms that is, as far as is known.
        """
        if self._leg is leg:
            self._leg = None
            self.stop()
            now = current_time()
            self._taken_back_ms = self.playout.detach(now)
            self._note_cleared(now)
        return self._taken_back_ms

    def stop(self) -> None:
        """The frame that waits for room in the outbox will not be sent."""
        self._sending.cancel()

    def clear(self, turn: int, position_ms: int, cleared: Callable[[float], None]) -> None:
        """Empty the outbox and tell the caller's side to forget what it holds, then to send a mark back.

        `turn` is the one that follows, `cleared` is told when that was written. Whether we think that the caller's side
        holds anything plays no part.
        """
        if self._leg is not None:

            def written(at: float) -> None:
                self._cleared_before = turn
                if self._recording is not None:
                    self._recording.clear_sent(at)
                self._note_cleared(at)
                cleared(at)

            mark = self._mark(self._leg, turn, position_ms)
            self._leg.outbox.flush_and_put([Entry(self._leg.clear(), on_sent=written), mark])

    async def run(self) -> None:
        """Send what is due, when it is due, until cancelled."""
        while True:
            await self._alarm.wait(self.changed, self._due_at)
            await self._send_due()

    async def _send_due(self) -> None:
        """Send what is due now, waiting for room in the outbox, until there is no more or it was cut."""
        leg = self._leg
        while leg is not None and (entries := self._due_entries(leg)):
            try:
                for entry in entries:
                    if not (leg.outbox.put_now(entry) or await self._put(leg.outbox, entry)):
                        return
            except LegLost:
                self._give_up(leg)
                return

    def _due_entries(self, leg: CallerLeg) -> Iterable[Entry]:
        """What is to be sent now; nothing, which is false: not yet."""
        if due := self._take_due(join=self._joins(leg)):
            return self._entries(leg, due)
        if self._last_mark_at is None or self._last_mark_at > current_time():
            return ()
        self._marked_ms = self.playout.sent_ms
        return (self._mark(leg, self._sent_turn, int(self._marked_ms)),)

    @property
    def _last_mark_at(self) -> float | None:
        """When the last frame that was sent gets its mark, as by then none has followed it."""
        if self.playout.queued_ms or self.playout.sent_ms <= self._marked_ms:
            return None
        return -math.inf if self.playout.was_outlasted else self.playout.goes_on_at

    def _send_ahead(self, leg: CallerLeg) -> None:
        """Send the message that is due within `AHEAD_S`, if there is one, and let `run` wait for the next."""
        if not self._alarm.waits:
            return
        if leg.outbox.room >= ENTRIES_PER_MESSAGE and (due := self._take_due(join=True, ahead_s=AHEAD_S)):
            try:
                leg.outbox.put_now(*self._entries(leg, due))
            except LegLost:
                self._give_up(leg)
        self._alarm.move(self._due_at)

    def _give_up(self, leg: CallerLeg) -> None:
        if self._recording is not None:
            self._recording.caller_outbox_gone()
        self.detach(leg)

    @property
    def _due_at(self) -> float:
        if self._leg is None:
            return math.inf
        due_at = self.playout.next_send_at() if self.playout.queued_ms else self._last_mark_at
        return math.inf if due_at is None else due_at

    def _joins(self, leg: CallerLeg) -> bool:
        if self._recording is not None:
            self._recording.many_calls(many=self._burden.many_calls)
        return self._burden.many_calls and leg.joins_frames

    def _take_due(self, *, join: bool, ahead_s: float = 0.0) -> list[Taken]:
        """The frame that is to be sent now, or within `ahead_s`, if there is one; and the next ones that `join` it.

        These are early, so that the caller's side never has less ahead of time than it has without.
        """
        due: list[Taken] = []
        now = current_time()
        taken = self.playout.take(now, ahead_s=ahead_s)
        while taken is not None:
            due.append(taken)
            if taken.frame.audible:
                self.last_audible_at = now
            if taken.trimmed:
                self._counts.dropped("trimmed", taken.trimmed)
            if taken.hole_ms is not None:
                self._report.tell(PlayoutHole(round(taken.hole_ms, 1)))
            if not join or len(due) == FRAMES_PER_MESSAGE:
                break
            taken = self.playout.take_along(taken.frame)
        return due

    async def _put(self, outbox: CallerOutbox, entry: Entry) -> bool:
        """Wait for room. False: nothing more is to be sent of what was due."""
        with trio.CancelScope() as self._sending:
            await outbox.put(entry)
        return not self._sending.cancel_called

    def _entries(self, leg: CallerLeg, due: Sequence[Taken]) -> Iterator[Entry]:
        """The message with these frames, and the mark behind it if it is time for one."""
        turn = self._sent_turn = due[0].frame.turn
        data = due[0].frame.data if len(due) == 1 else b"".join([taken.frame.data for taken in due])
        yield Entry(leg.audio(data), turn=turn, on_sent=partial(self._sent, data, due, self.playout.sent_ms))
        position_ms = self.playout.sent_ms
        if position_ms - self._marked_ms >= MARK_EVERY_MS:
            self._marked_ms = position_ms
            yield self._mark(leg, turn, int(position_ms))

    def _mark(self, leg: CallerLeg, turn: int, position_ms: int) -> Entry:
        sent = None if self._recording is None else partial(self._recording.mark_sent, turn, position_ms)
        return Entry(leg.mark(turn, position_ms), turn=turn, on_sent=sent)

    def _note_cleared(self, at: float) -> None:
        if self.far_end is not None:
            self.far_end.cleared(at)

    def _sent(self, data: bytes, due: Sequence[Taken], end_ms: float, sent_at: float) -> None:
        if self.far_end is not None:
            self.far_end.sent(data, sent_at)
        if self._recording is not None:
            self._record(self._recording, due, end_ms, sent_at)
        self._counts.frame("caller", "down", len(due))
        self._counts.frame_delays("down", [max(0.0, sent_at - taken.since) for taken in due])
        if due[0].frame.turn < self._cleared_before:  # a message has frames of one turn
            self._counts.stale_sent(len(due))

    def _record(self, recording: CallRecording, due: Sequence[Taken], end_ms: float, sent_at: float) -> None:
        recording.buffer_target(sent_at, round(self.playout.target_ms))
        for number, frame in enumerate((taken.frame for taken in due), 1):
            position_ms = int(end_ms) - (len(due) - number) * FRAME_MS
            waiting_ms = self.playout.queued_ms
            recording.to_caller(
                sent_at, frame.turn, position_ms, frame.data, audible=frame.audible, queued_ms=waiting_ms
            )
