"""Keeps the record of each call, with which another process can go on when this one is gone.

A call's record is noted at once when words are final, when a turn begins and when a token is given out or used; in
between as far as the caller has heard, every `HEARD_EVERY_S`. Nothing is noted when nothing has changed.
"""

import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

import structlog
import trio

from relay.call.assistant.forwarder import Forwarder
from relay.call.caller_line import CallerLine
from relay.call.playback.playback import Playback
from relay.call.report.assistant_events import Said
from relay.call.report.events import CallEvent
from relay.call.report.report import Report
from relay.config import Config
from relay.logic.browser.kept_session import KeptSession
from relay.logic.caller.reattach import ReattachRules
from relay.logic.end_reason import REFUTABLE, EndReason
from relay.metrics import Metrics
from relay.state import CallRecord, KeptToken, OnTaken, StateStore, WriteBehind
from relay.wakeup import Signal
from relay.wire.owner import owned_name

HEARD_EVERY_S = 1.0
"""What the next process knows of the words that the caller has heard is at most so old."""
ENDED_KEPT_S = 60.0
"""For what Twilio asks about a call that is over."""

HAND_OVER_S = 3.0
"""For the last records to be written before the process ends; otherwise the next process has older ones."""
STORED_WAIT_S = 0.25
"""A caller does not wait longer for a store that does not answer."""

Note = Callable[[CallRecord], None]

log = structlog.get_logger(__name__)


def new_call_id(config: Config) -> str:
    """An id of ours, of 128 random bits, which begins with the name of this process."""
    return owned_name(secrets.token_hex(16), config.server.instance)


def new_record(
    call_sid: str,
    config: Config,
    assistant: str,
    now: float,
    *,
    call_id: str | None = None,
    variables: Mapping[str, str] | None = None,
) -> CallRecord:
    """The record of a call that begins now with this assistant, which is told `variables` of the caller."""
    reconnect = config.reconnect
    return CallRecord(
        call_sid=call_sid,
        call_id=call_id or new_call_id(config),
        assistant=assistant,
        variables=dict(variables or {}),
        started_at=now,
        expires_at=_expires_at(now, config),
        policy=ReattachRules(reconnect.reattach_attempts, reconnect.reattach_window_s, reconnect.reattach_grace_s),
    )


def revived(record: CallRecord, config: Config) -> CallRecord:
    """The record of a call that is not over after all."""
    expires_at = _expires_at(record.started_at, config)
    return replace(record, end_reason=None, ended_before=True, transfer_to=None, expires_at=expires_at)


def _expires_at(started_at: float, config: Config) -> float:
    return started_at + config.session.max_duration_s + config.reconnect.reattach_grace_s


class Checkpoint:
    """Makes the record of one call, which began as `record` says, and notes it when it has changed.

    `note` never waits; None: nobody could go on with this call.
    """

    def __init__(
        self,
        record: CallRecord,
        note: Note | None,
        *,
        forwarder: Forwarder,
        playback: Playback,
        line: CallerLine,
    ) -> None:
        self._began = record
        self._tokens: tuple[KeptToken, ...] = ()
        self._note = note
        self.stopped = False
        """Another process has the call now, or will: it does not learn of what happens here any more."""
        self.session: Callable[[], KeptSession] | None = None
        """Says how the browser's session stands; None: the caller is a telephone."""
        self.last: CallRecord | None = None
        """How the call stood when it ended; None: it has not."""
        self._forwarder = forwarder
        self._playback = playback
        self._line = line
        self._noted: CallRecord | None = None
        self._news = Signal()

    async def run(self, report: Report) -> None:
        """Note what changes, until cancelled."""
        with report.listeners.listening(self._listen):
            while self._note is not None:
                self.note()
                await self._news.wait(until=trio.current_time() + HEARD_EVERY_S)

    def keep_tokens(self, tokens: Iterable[KeptToken]) -> None:
        """These, and no others, open the call: note that."""
        self._tokens = tuple(tokens)
        self.note()

    def note(self) -> None:
        """Note how the call stands now."""
        record = self._record(self._began.expires_at, None)
        if self._note is not None and record != self._noted:
            self._noted = record
            self._note(record)

    def note_end(self, reason: EndReason, transfer_to: str | None = None, ringing_s: float = 0.0) -> None:
        """The call is over. What was said in it is kept only if it may turn out not to be over, see `REFUTABLE`: where
        the caller is connected to somebody else, as long as it may ring there."""
        self._tokens = ()
        kept_s = ENDED_KEPT_S + (0.0 if transfer_to is None else ringing_s)
        self.last = replace(self._record(trio.current_time() + kept_s, reason), transfer_to=transfer_to)
        if self._note is not None:
            self._note(self.last)

    def stop(self) -> None:
        """Another process has the call now, or will: note nothing more."""
        self._note, self.stopped = None, True

    def _listen(self, event: CallEvent) -> None:
        if not isinstance(event, Said) or event.final:
            self._news.fire()

    def _record(self, expires_at: float, end_reason: str | None) -> CallRecord:
        kept = end_reason is None or (end_reason in REFUTABLE and self.session is None)
        return CallRecord(
            call_sid=self._began.call_sid,
            call_id=self._began.call_id,
            assistant=self._forwarder.assistant,
            started_at=self._began.started_at,
            expires_at=expires_at,
            assistant_call_id=self._forwarder.assistant_call_id,
            handed_to=self._forwarder.handed_to,
            variables=self._forwarder.variables if kept else {},
            conversation=self._playback.turns() if kept else (),
            notes=self._forwarder.notes if kept else (),
            policy=self._began.policy,
            reattached_at=tuple(round(trio.current_time() - age_s, 1) for age_s in self._line.attempt_ages_s()),
            tokens=self._tokens,
            end_reason=end_reason,
            ended_before=self._began.ended_before,
            session=self.session() if self.session is not None and end_reason is None else None,
        )


class Checkpoints:
    """The way of all records to the store: one for the daemon. Without a store nothing is kept, and nothing waits.

    `taken` is told the CallSid of a call that another process has now, and the record that was stored last.
    """

    def __init__(self, store: StateStore | None, metrics: Metrics, *, taken: OnTaken) -> None:
        self._store = store
        self._behind = None if store is None else WriteBehind(store, metrics, on_taken=taken)
        self.handed_over = False
        """The calls are another process's now."""

    @property
    def note(self) -> Note | None:
        """Have a record written soon; None: there is nowhere to write it."""
        return None if self._behind is None else self._note

    @property
    def failing(self) -> bool:
        """Whether there is a store, and it does not do its work: calls go on, and end with this process."""
        return self._store is not None and self._store.failing

    async def run(self) -> None:
        """Write, until cancelled or handed over."""
        if self._behind is not None:
            await self._behind.run()

    async def stored(self, call_sid: str) -> None:
        """Wait until the store has what is known of this call, but not long."""
        if self._behind is not None and not self.failing:
            with trio.move_on_after(STORED_WAIT_S):
                await self._behind.written(call_sid)

    async def hand_over(self, live: Iterable[Checkpoint]) -> None:
        """Write how these calls stand and leave them to the next process: nothing is noted from then on, and all are
        `stopped`."""
        if self._behind is None:
            return
        calls = list(live)
        for checkpoint in calls:
            checkpoint.note()
            checkpoint.stop()
        self.handed_over = True
        complete = await self._behind.hand_over(HAND_OVER_S)
        if calls:
            log.info("calls.handed_over", calls=len(calls), complete=complete)

    def _note(self, record: CallRecord) -> None:
        if self._behind is not None and not self.handed_over:
            self._behind.note(record)
