"""Keeps the record of a call, with which another process can go on when this one is gone.

It is noted at once when words are final, when a turn begins and when a token is given out or used; in between as far as
the caller has heard, every `HEARD_EVERY_S`. Nothing is noted when nothing has changed.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import trio

from relay.call.assistant.forwarder import Forwarder
from relay.call.caller_line import CallerLine
from relay.call.playback.playback import Playback
from relay.call.report.events import CallEvent, Said
from relay.call.report.report import Report
from relay.config import Config
from relay.logic.caller.reattach import ReattachRules
from relay.logic.end_reason import EndReason
from relay.state.record import CallRecord, KeptToken

HEARD_EVERY_S = 1.0
ENDED_KEPT_S = 60.0
"""For what Twilio asks about a call that is over."""

Note = Callable[[CallRecord], None]


@dataclass(frozen=True, slots=True)
class CallIdentity:
    """What never changes about a call. `started_at` is wall-clock time, as `wall` tells it."""

    call_sid: str
    call_id: str
    started_at: float
    wall: Callable[[], float]


class Checkpoint:
    """One per call. `note` never waits; None: nobody could go on with this call."""

    def __init__(
        self,
        identity: CallIdentity,
        config: Config,
        note: Note | None,
        *,
        forwarder: Forwarder,
        playback: Playback,
        line: CallerLine,
    ) -> None:
        self._identity = identity
        longest_s = config.session.max_duration_s + config.reconnect.reattach_grace_s
        self._expires_at = identity.started_at + longest_s
        reconnect = config.reconnect
        self._policy = ReattachRules(
            reconnect.reattach_attempts, reconnect.reattach_window_s, reconnect.reattach_grace_s
        )
        self._tokens: tuple[KeptToken, ...] = ()
        self._note = note
        self.stopped = False
        """Another process has the call now."""
        self._forwarder = forwarder
        self._playback = playback
        self._line = line
        self._noted: CallRecord | None = None
        self._news = trio.Event()

    async def run(self, report: Report) -> None:
        """Note what changes, until cancelled."""
        with report.listening(self._listen):
            while self._note is not None:
                self.note()
                self._news = trio.Event()
                with trio.move_on_after(HEARD_EVERY_S):
                    await self._news.wait()

    def keep_tokens(self, tokens: Iterable[KeptToken]) -> None:
        """These, and no others, open the call: note that."""
        self._tokens = tuple(tokens)
        self.note()

    def note(self) -> None:
        """Note how the call stands now."""
        record = self._record(self._expires_at, None)
        if self._note is not None and record != self._noted:
            self._noted = record
            self._note(record)

    def note_end(self, reason: EndReason) -> None:
        """The call is over: nobody is to go on with it."""
        self._tokens = ()
        if self._note is not None:
            self._note(self._record(self._identity.wall() + ENDED_KEPT_S, reason))

    def stop(self) -> None:
        """Another process has the call now: note nothing more."""
        self._note, self.stopped = None, True

    def _listen(self, event: CallEvent) -> None:
        if not isinstance(event, Said) or event.final:
            self._news.set()

    def _record(self, expires_at: float, end_reason: str | None) -> CallRecord:
        return CallRecord(
            call_sid=self._identity.call_sid,
            call_id=self._identity.call_id,
            assistant=self._forwarder.assistant,
            started_at=self._identity.started_at,
            expires_at=expires_at,
            assistant_call_id=self._forwarder.assistant_call_id,
            conversation=self._playback.turns(),
            policy=self._policy,
            reattached_at=tuple(round(self._identity.wall() - age_s, 1) for age_s in self._line.attempt_ages_s()),
            tokens=self._tokens,
            end_reason=end_reason,
        )
