"""A browser's session: one call, one leg, and whichever connection carries them now.

| state    | meaning                                     | leaves when                        | deadline               |
|----------|---------------------------------------------|------------------------------------|------------------------|
| attached | a connection takes what the call has to say | it goes, or another takes its      | none                   |
|          |                                             | place; polling: between two polls  |                        |
|          |                                             | -> away; the call ends -> over     |                        |
|          |                                             | another process has the call       |                        |
|          |                                             | -> over, and the client is not     |                        |
|          |                                             | told so: it comes back, to that one|                        |
| away     | nobody takes it; the call goes on           | a connection -> attached           | `resume_grace_s`: the  |
|          |                                             |                                    | call ends, caller_lost |
| over     | the call has ended, its last messages can   | the time is over                   | `LINGER_S`             |
|          | still be had                                |                                    |                        |
"""

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

import trio
from structlog.contextvars import bound_contextvars

from relay.call.browser.leg import BrowserLeg
from relay.call.browser.spoken import Spoken
from relay.call.call import Call
from relay.call.report.assistant_events import Said, TransferRefused
from relay.call.report.events import (
    BadAssistantMessage,
    BrowserGone,
    BrowserLost,
    BrowserReattached,
    CallerCutOff,
    CallerNotBack,
    CallEvent,
    NotesDropped,
    Speech,
    StateChanged,
    Trouble,
)
from relay.call.report.interruption_events import FalseAlarm
from relay.errors import RequestRefused
from relay.logic.browser.kept_session import KeptSession
from relay.logic.end_reason import EndReason
from relay.logic.tokens import fingerprint
from relay.weak import weakly
from relay.wire import browser_down

TOKEN_BYTES = 24
LINGER_S = 15.0
"""More than a poll may wait, so that the one after the end still finds the session."""
ENDING_S = 5.0
"""A call says why it ended when it gives its caller back, or soon after."""

FAILURES: Mapping[Literal["assistant", "relay"], str] = {
    "assistant": "the assistant failed: go on talking, what is said is kept while it is called again",
    "relay": "the relay failed on this call: begin a new one",
}
"""For the client. What exactly failed is for the operator: it may name hosts and accounts."""

Transport = Literal["websocket", "polling"]


class BrowserSession:
    """One client's session, which lives `grace_s` without a connection, and `idle_s` without a word of the client's.

    What the assistant says keeps no session alive: it would go on talking, and cost, in front of an empty page.

    `id` is how the client knows it: the id of the call, with the name of the process that has it now. `token` is good
    for every HTTP request of it, `declared` is the format that it sends, `over` says that the call has ended.
    """

    def __init__(
        self,
        call: Call,
        leg: BrowserLeg,
        kept: KeptSession,
        *,
        token: str | None = None,
        address: str,
        grace_s: float,
        idle_s: float,
    ) -> None:
        """`kept` is a new session, or as another process has left it; then `token` is what the client has shown."""
        self.id, self.call_id = kept.id, call.id
        self.token = token or secrets.token_urlsafe(TOKEN_BYTES)
        self.leg = leg
        self.declared = kept.declared
        self._moves = kept.moves
        self._resume_sha256 = kept.resume_sha256
        self.address = address
        self.over = False
        self.spoken = Spoken()
        self._call = call
        self.grace_s = grace_s
        self._idle_s = idle_s
        self._understood_at = trio.current_time()
        self._connections = 0
        self._transport: Transport | None = None
        self._fenced = trio.Event()
        self._ended = trio.Event()
        self._seen_at = trio.current_time()
        call.checkpoint.session = weakly(self.kept)

    @property
    def goes_on_elsewhere(self) -> bool:
        """Whether another process has the call, or will have it."""
        return self._call.checkpoint.stopped

    def kept(self) -> KeptSession:
        """How the session stands, for the process that follows this one."""
        return KeptSession(
            id=self.id,
            declared=self.declared,
            heard=self.leg.format,
            token_sha256=fingerprint(self.token),
            resume_sha256=self._resume_sha256,
            next_sequence=self.leg.uplink.next,
            moves=self._moves,
        )

    def keep_resume(self, token: str) -> None:
        """This token attaches the client again, and none before it: note that."""
        self._resume_sha256 = fingerprint(token)
        self._call.checkpoint.note()

    @contextmanager
    def attached(self, transport: Transport) -> Iterator[trio.Event]:
        """Be the connection that takes the messages. The event is set when another one is."""
        self._fenced.set()
        self.leg.outbox.wake()
        self._fenced = fenced = trio.Event()
        self._connections += 1
        self._note_attached(transport)
        try:
            yield fenced
        finally:
            self._connections -= 1
            if not (self._connections or self.over) and transport == "websocket":
                self._call.report.tell(BrowserLost(transport))
            self.seen()

    def _note_attached(self, transport: Transport) -> None:
        """Polls that follow each other are one connection."""
        if transport == "polling" and self._transport == transport:
            return
        if self._transport is not None:
            away_ms = round((trio.current_time() - self._seen_at) * 1000)
            self._call.report.tell(BrowserReattached(transport, self._transport, away_ms))
            self.leg.uplink.interrupted()
        self._transport = transport
        self._call.report.status.carried_by(transport)

    def seen(self) -> None:
        """The client has taken or sent something: the grace begins anew."""
        self._seen_at = trio.current_time()

    def end(self, reason: EndReason, told: RequestRefused | None = None) -> None:
        """End the call of the session; the client is told why, if there is more to say than the reason."""
        if told is not None:
            self.leg.outbox.tell(browser_down.error(told.code, str(told)))
        self._call.finish(reason)

    async def run(self) -> None:
        """The life of the session, from the start of the call until nothing of it is left to fetch."""
        try:
            await self._run()
        finally:
            kept = self.kept()
            self._call.checkpoint.session = lambda: kept
        await trio.sleep(LINGER_S)

    async def _run(self) -> None:
        with bound_contextvars(call_id=self.call_id), self._call.report.listeners.listening(self._tell):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch)
                nursery.start_soon(self._watch_speech)
                nursery.start_soon(self.spoken.run, self.leg)
                with self._call.lend(self.leg) as given_back:
                    await given_back.wait()
                with trio.move_on_after(ENDING_S):
                    await self._ended.wait()
                nursery.cancel_scope.cancel()
            self.over = True
            self.leg.close()

    async def _watch(self) -> None:
        while True:
            await trio.sleep_until(self._seen_at + self.grace_s)
            if self._connections:
                self.seen()
            elif trio.current_time() >= self._seen_at + self.grace_s:
                self._call.report.tell(BrowserGone(self.grace_s))
                if self._transport is not None:
                    self._call.report.tell(CallerNotBack())
                self._call.finish(EndReason.CALLER_LOST)
                return

    async def _watch_speech(self) -> None:
        while (idle_at := self._last_speech_at() + self._idle_s) > trio.current_time():  # noqa: ASYNC110 - it moves
            await trio.sleep_until(idle_at)
        self._call.finish(EndReason.IDLE)

    def _last_speech_at(self) -> float:
        """As the relay's detector knows, or the assistant's transcripts, should the detector fail."""
        return max(self._call.last_speech_at, self._understood_at)

    def _tell(self, event: CallEvent) -> None:
        match event:
            case Said(role=role, text=text, final=final):
                if role == "user":
                    self._understood_at = trio.current_time()
                self.leg.outbox.tell(browser_down.transcript(role, text, final=final))
            case Speech(role=role, started=started):
                self.leg.outbox.tell(browser_down.speech(role, started=started))
            case FalseAlarm(turn=turn):
                self.leg.outbox.tell(browser_down.resumed(self.leg.outbox.clients_turn(turn)))
            case StateChanged(status=status, reason=reason):
                if not (status == "ended" and self.goes_on_elsewhere):
                    self.leg.outbox.tell(browser_down.state(status, reason))
                if status == "ended":
                    self._ended.set()
            case BadAssistantMessage() | NotesDropped():
                pass
            case CallerCutOff(code=code, error=error):
                self.leg.outbox.tell(browser_down.error(code, error))
            case TransferRefused(code=code, error=error):
                self.leg.outbox.tell(browser_down.failure(code, error, "assistant"))
            case Trouble(leg="assistant" | "relay" as leg, code=code):
                self.leg.outbox.tell(browser_down.failure(code, FAILURES[leg], leg))
