"""All calls of the daemon: a place is taken when the phone rings, and given back when the call has ended."""

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import copy_context

import structlog
import trio

from relay.call.assistant.dialer import Dialer
from relay.call.assistant.pool import AssistantPool
from relay.call.call import Call
from relay.call.services import Services
from relay.call.takeover import Takeover, with_policy
from relay.errors import CallRefused
from relay.logic.end_reason import EndReason
from relay.logic.tokens import Tokens
from relay.media.frames import TELEPHONE, AudioFormat
from relay.state import CallRecord, KeptToken, WriteBehind

LACKED_MAX = 1000
"""Calls without an assistant that are remembered until Twilio asks what becomes of them."""
ENDING_S = 4.0
"""How long calls have to hang up on both sides once they were told to end."""
HAND_OVER_S = 3.0
STORED_WAIT_S = 0.25
"""A caller does not wait longer for a store that does not answer."""
OVER_MAX = 4096
"""Calls that ended and are known as such without asking the store, which may not know it yet."""

log = structlog.get_logger(__name__)


class Calls:
    """The registry. What is not async decides at once."""

    def __init__(self, services: Services, pool: AssistantPool, nursery: trio.Nursery) -> None:
        self._services = services
        self._pool = pool
        self._nursery = nursery
        self._by_sid: dict[str, Call] = {}
        self._over: dict[str, None] = {}
        self._handed_over = False
        self._takeover = Takeover(services)
        store, metrics = services.store, services.metrics
        self._behind = None if store is None else WriteBehind(store, metrics, on_taken=self._taken)
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
        return self._begin(Call(sid, self._services, self._pool, caller_format, note=note))

    async def ring(self, sid: str) -> Call:
        """The call of this CallSid: one that lives here, one that another process had when its answer was lost, which
        goes on here, or a new one. Raises CallRefused."""
        if not (sid in self._by_sid or self.draining):
            self._go_on(sid, await self._takeover.take_ringing(sid))
        return self.answer(sid)

    async def take_over(self, sid: str, *, by_force: bool = False) -> Call | None:
        """The call of this CallSid that another process has left or, `by_force`, has: it goes on here. None if there
        is none. It takes no new place. Waits for the store, and until the other process is known to be dead."""
        if self.draining or sid in self._over:
            return None
        past = await self._takeover.take(sid, by_force=by_force)
        return self._by_sid.get(sid) or self._go_on(sid, past)

    def _go_on(self, sid: str, past: CallRecord | None) -> Call | None:
        if past is None or self.draining:
            return None
        if call := self._by_sid.get(sid):
            return call
        call = Call(sid, with_policy(self._services, past), self._pool, note=self._note, past=past)
        age_s = round(self._services.wall() - past.started_at, 3)
        log.info("call.taken_over", call_id=call.id, call_sid=sid, age_s=age_s, turns=len(past.conversation))
        return self._begin(call)

    async def goes_on_elsewhere(self, sid: str) -> bool:
        """Whether another process has this call, or the one that follows may get it. Waits for the store."""
        if self._services.store is None or sid in self._over:
            return False
        if self.draining:
            return self._handed_over or sid not in self._by_sid
        return sid not in self._by_sid and await self._takeover.has(sid)

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
        """A one-time token for the call's media socket, which may reach another process: see `stored`."""
        token = self._tokens.issue(call.sid, trio.current_time())
        self._keep_tokens(call)
        return token

    async def stored(self, call: Call) -> None:
        """Wait until the store has what is known of the call, but not long."""
        if self._behind is not None and not self.store_failing:
            with trio.move_on_after(STORED_WAIT_S):
                await self._behind.written(call.sid)

    async def admit(self, token: str, sid: str) -> Call:
        """As `claim`; the call of a token that another process has given out goes on here. Waits for the store."""
        known = self._tokens.knows(token) or self.draining or sid in self._by_sid
        past = None if known else await self._takeover.claim(token, sid)
        return self._go_on(sid, past) or self.claim(token, sid)

    def claim(self, token: str, sid: str) -> Call:
        """The call that this token opens. Raises AuthRejected for a bad token, CallRefused when the call is over."""
        self._tokens.claim(token, sid, trio.current_time())
        if call := self._by_sid.get(sid):
            self._keep_tokens(call)
            return call
        raise CallRefused("ended")

    def _keep_tokens(self, call: Call) -> None:
        now, wall_s = trio.current_time(), self._services.wall()
        kept = self._tokens.kept(call.sid, now)
        call.checkpoint.keep_tokens(KeptToken(sha256, expires_at - now + wall_s) for sha256, expires_at in kept)

    @property
    def store_failing(self) -> bool:
        """Whether there is a store, and it does not do its work: calls go on, and end with this process."""
        return self._services.store is not None and self._services.store.failing

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
            call.checkpoint.note()
        self._handed_over = True
        complete = await self._behind.hand_over(HAND_OVER_S)
        if self._by_sid:
            log.info("calls.handed_over", calls=len(self._by_sid), complete=complete)

    def _note(self, record: CallRecord) -> None:
        if self._behind is not None and not self._handed_over:
            self._behind.note(record)

    def _taken(self, sid: str) -> None:
        self._over.pop(sid, None)
        if call := self._by_sid.get(sid):
            call.checkpoint.stop()
            call.finish(EndReason.DRAIN)

    async def _run(self, call: Call) -> None:
        try:
            await call.run()
        finally:
            del self._by_sid[call.sid]
            self._tokens.discard(call.sid)
            if not (self._handed_over or call.checkpoint.stopped):
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
        calls = Calls(services, AssistantPool(dialers), nursery)
        if services.store is not None:
            nursery.start_soon(calls.run_notes)
        services.metrics.playout_buffer.set_function(lambda: calls.deepest_queue_s)
        yield calls
        nursery.cancel_scope.cancel()
