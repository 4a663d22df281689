"""All calls of the daemon: a place is taken when the phone rings, and given back when the call has ended."""

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import copy_context

import structlog
import trio

from relay.call.call import Call, Services
from relay.call.dialer import Dialer
from relay.call.rungs import Rungs
from relay.errors import CallRefused, StateUnavailable
from relay.logic.outcome import EndReason
from relay.logic.tokens import Tokens
from relay.media.frames import TELEPHONE, AudioFormat
from relay.state import CallRecord, WriteBehind

LACKED_MAX = 1000
"""Calls without an assistant that are remembered until Twilio asks what becomes of them."""
ENDING_S = 4.0
"""How long calls have to hang up on both sides once they were told to end."""
TAKE_WAIT_S = 3.0
"""Longer than a process that was killed seems to live."""
HAND_OVER_S = 3.0
OVER_MAX = 4096
"""Calls that ended and are known as such without asking the store, which may not know it yet."""

log = structlog.get_logger(__name__)


class Calls:
    """The registry. `answer` and `claim` decide at once and never wait."""

    def __init__(self, services: Services, rungs: Rungs, nursery: trio.Nursery) -> None:
        self._services = services
        self._rungs = rungs
        self._nursery = nursery
        self._by_sid: dict[str, Call] = {}
        self._over: dict[str, None] = {}
        self._handed_over = False
        self._behind = (
            WriteBehind(services.store, services.metrics, on_taken=self._taken) if services.store is not None else None
        )
        self._tokens = Tokens(services.config.twilio.token_ttl_s)
        self._lacked_assistant: deque[str] = deque(maxlen=LACKED_MAX)
        self._changed = trio.Event()
        self._context = copy_context()
        self.draining = False

    def __len__(self) -> int:
        return len(self._by_sid)

    @property
    def refusal(self) -> str | None:
        """Why no new call is accepted now: "draining", "full" or None."""
        if self.draining:
            return "draining"
        return "full" if len(self) >= self._services.config.limits.max_calls else None

    @property
    def queued_frames(self) -> int:
        """20 ms frames of all calls that wait to be played."""
        return sum(call.queued_ms for call in self._by_sid.values()) // 20

    @property
    def deepest_queue_s(self) -> float:
        """The longest that any call's assistant audio will take to play."""
        return max((call.queued_ms for call in self._by_sid.values()), default=0) / 1000

    def live(self) -> list[Call]:
        """The calls that run now, the oldest first."""
        return list(self._by_sid.values())

    def find(self, sid: str) -> Call | None:
        """The call of this CallSid, if it runs."""
        return self._by_sid.get(sid)

    def find_by_id(self, call_id: str) -> Call | None:
        """The call with this id of ours, if it runs."""
        return next((call for call in self._by_sid.values() if call.id == call_id), None)

    def answer(self, sid: str, caller_format: AudioFormat = TELEPHONE, *, kept: bool = True) -> Call:
        """The call of this CallSid; a new one takes a place and starts to dial. Raises CallRefused.

        `kept`: another process may go on with it when this one is gone.
        """
        if call := self._by_sid.get(sid):
            return call
        if reason := self.refusal:
            log.info("call.refused", reason=reason, call_sid=sid)
            self._services.metrics.calls.labels(EndReason.REFUSED).inc()
            raise CallRefused(reason)
        note = self._note if kept and self._behind else None
        return self._begin(Call(sid, self._services, self._rungs, caller_format, note=note))

    async def take_over(self, sid: str) -> Call | None:
        """The call of this CallSid that another process has left, which goes on here; None if there is none.

        It takes no new place: its caller has one. Waits for the store, and at most `TAKE_WAIT_S` until the other is
        known to be dead.
        """
        store = self._services.store
        if store is None or self.draining or sid in self._over:
            return None
        try:
            past = await store.take(sid, wait_s=TAKE_WAIT_S)
        except StateUnavailable:
            return None
        if call := self._by_sid.get(sid):
            return call
        if past is None or past.end_reason is not None or self.draining:
            return None
        call = Call(sid, self._services, self._rungs, note=self._note, past=past)
        age_s = round(self._services.wall() - past.started_at, 3)
        log.info("call.taken_over", call_id=call.id, call_sid=sid, age_s=age_s, turns=len(past.conversation))
        return self._begin(call)

    async def goes_on_elsewhere(self, sid: str) -> bool:
        """Whether another process has the call of this CallSid, or the one that follows may get it. Waits for the
        store."""
        store = self._services.store
        if store is None or sid in self._over:
            return False
        if self.draining:
            return self._handed_over or sid not in self._by_sid
        try:
            record = None if sid in self._by_sid else await store.load(sid)
        except StateUnavailable:
            return False
        return record is not None and record.end_reason is None

    def _begin(self, call: Call) -> Call:
        self._by_sid[call.sid] = call
        self._context.copy().run(self._nursery.start_soon, self._run, call)  # nothing of the request that rang stays
        return call

    def lacked_assistant(self, sid: str) -> bool:
        """Whether the call of this CallSid ends, or has ended not long ago, because no assistant could be had."""
        if call := self._by_sid.get(sid):
            return call.end_reason is EndReason.ASSISTANT_UNAVAILABLE
        return sid in self._lacked_assistant

    def issue_token(self, call: Call) -> str:
        """A one-time token for the call's media socket."""
        return self._tokens.issue(call.sid, trio.current_time())

    def claim(self, token: str, sid: str) -> Call:
        """The call that this token opens. Raises AuthRejected for a bad token, CallRefused when the call is over."""
        self._tokens.claim(token, sid, trio.current_time())
        if call := self._by_sid.get(sid):
            return call
        raise CallRefused("ended")

    async def drain(self, timeout_s: float) -> None:
        """Accept no more, wait for the calls to end, and end those that are left when time is over.

        With a store those are left to the next process.
        """
        self.draining = True
        with trio.move_on_after(timeout_s):
            await self.wait_empty()
        await self._hand_over()
        for call in list(self._by_sid.values()):
            call.finish(EndReason.DRAIN)
        with trio.move_on_after(ENDING_S):
            await self.wait_empty()

    async def wait_empty(self) -> None:
        while self._by_sid:
            await self._changed.wait()

    async def run_notes(self) -> None:
        """Keep the records of the calls in the store, if there is one."""
        if self._behind is not None:
            await self._behind.run()

    async def _hand_over(self) -> None:
        if self._behind is None:
            return
        for call in self._by_sid.values():
            call.keeper.note()
        self._handed_over = True
        complete = await self._behind.hand_over(HAND_OVER_S)
        if self._by_sid:
            log.info("calls.handed_over", calls=len(self._by_sid), complete=complete)

    def _note(self, record: CallRecord) -> None:
        if self._behind is not None and not self._handed_over:
            self._behind.note(record)

    def _taken(self, sid: str) -> None:
        if call := self._by_sid.get(sid):
            call.keeper.stop()
            call.finish(EndReason.DRAIN)

    async def _run(self, call: Call) -> None:
        try:
            await call.run()
        finally:
            del self._by_sid[call.sid]
            self._tokens.discard(call.sid)
            if not (self._handed_over or call.keeper.stopped):
                self._note_over(call.sid)
            if call.end_reason is EndReason.ASSISTANT_UNAVAILABLE:
                self._lacked_assistant.append(call.sid)
            self._changed.set()
            self._changed = trio.Event()

    def _note_over(self, sid: str) -> None:
        self._over[sid] = None
        if len(self._over) > OVER_MAX:
            del self._over[next(iter(self._over))]


@asynccontextmanager
async def open_calls(services: Services, *dialers: Dialer) -> AsyncIterator[Calls]:
    """The registry with its nursery, and the assistants from first to last. On leaving, live calls are cancelled."""
    async with trio.open_nursery() as nursery:
        calls = Calls(services, Rungs(dialers), nursery)
        if services.store is not None:
            nursery.start_soon(calls.run_notes)
        services.metrics.playout_buffer.set_function(lambda: calls.deepest_queue_s)
        yield calls
        nursery.cancel_scope.cancel()
