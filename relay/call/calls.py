"""The registry of calls: who has a place. One is taken when the phone rings, and given back when the call has ended."""

import time
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from contextvars import copy_context
from typing import NamedTuple

import structlog
import trio

from relay.call.assistant.dialer import Dialer
from relay.call.assistant.placer import open_call_placer
from relay.call.assistant.pool import AssistantPool
from relay.call.call import Call, added
from relay.call.checkpoint import Checkpoints, new_record
from relay.call.playback.speaker import Burden
from relay.call.report.events import CallEvent
from relay.call.report.listeners import CallNews, Listeners
from relay.call.services import Services
from relay.errors import CallRefused
from relay.logic.end_reason import REFUTABLE, EndReason
from relay.logic.lateness import Lateness
from relay.logic.tokens import Tokens
from relay.media.frames import TELEPHONE, AudioFormat
from relay.state import CallRecord
from relay.wakeup import Signal

ENDING_S = 4.0
"""How long calls have to hang up on both sides once they were told to end."""
MANY_CALLS = 10
"""From here on the cost of each message matters more than to let Twilio hold one frame more than `jitter.lead_ms`."""
OVER_MAX = 4096
"""Calls that ended and are remembered: Twilio asks what becomes of them, and the store may not know it yet."""

FINISHED_MAX = 100
"""Calls that ended here and can still be shown to an operator."""

REFUSAL_REASONS = {"max_calls": "full", "late": "full", "draining": "draining"}
"""The cause of a refusal, and what a caller and a load balancer are told. REFUSAL_CAUSES has the same causes."""

log = structlog.get_logger(__name__)


class FinishedCall(NamedTuple):
    """A call that has ended for good. `ended_at` is in seconds since 1970."""

    id: str
    sid: str
    ended_at: float
    duration_s: float
    reason: EndReason | None
    assistant_ended_reason: str | None = None
    """Why the assistant's last call ended, in the provider's words, as a webhook told."""
    assistant_cost_usd: float | None = None
    """What the provider has charged for the assistant's calls, as far as webhooks have told."""


class Calls:
    """The calls that run now, by CallSid. What is not async decides at once.

    `tokens` open the media sockets of these calls, `checkpoints` keep the calls for the next process, `listeners` are
    told everything that happens in any of them. `services` are those of the calls that begin now.
    """

    def __init__(self, services: Services, pool: AssistantPool, nursery: trio.Nursery) -> None:
        self.services = services
        self._pool = pool
        self._nursery = nursery
        self._by_sid: dict[str, Call] = {}
        self._burden = Burden()
        self._over: dict[str, EndReason | None] = {}
        self._transfers: dict[str, str] = {}
        """Of the calls that are over: to whom their callers are connected."""
        self._hung_up: dict[str, CallRecord] = {}
        self.finished: deque[FinishedCall] = deque(maxlen=FINISHED_MAX)
        """The newest last."""
        self._changed = Signal()
        """A call has ended, or none is taken any more."""
        self._context = copy_context()
        self.tokens = Tokens(services.config.twilio.token_ttl_s)
        self.checkpoints = Checkpoints(services.store, services.metrics, taken=self._let_go)
        self.listeners = Listeners[CallNews]()
        self.begun = 0
        """The calls that ever ran here."""
        self.draining = False
        self._lateness = Lateness()

    def __len__(self) -> int:
        return len(self._by_sid)

    @property
    def refusal_cause(self) -> str | None:
        """Why no new call is accepted now, a key of REFUSAL_REASONS, or None. A late event loop refuses calls only with
        `max_calls = "auto"`, and only beside live ones, which would pay for another."""
        limits = self.services.config.limits
        if self.draining:
            return "draining"
        if len(self) >= limits.calls:
            return "max_calls"
        return "late" if self._lateness.late and limits.max_calls == "auto" and self._by_sid else None

    @property
    def loop_lag_s(self) -> float:
        """How late the event loop wakes a task, as a mean of the last seconds."""
        return self._lateness.mean_s

    @property
    def queued_frames(self) -> int:
        """20 ms frames of all calls that wait to be played."""
        return sum(call.queued_ms for call in self._by_sid.values()) // 20

    @property
    def deepest_queue_s(self) -> float:
        """The longest that any call's assistant audio will take to play."""
        return max((call.queued_ms for call in self._by_sid.values()), default=0) / 1000

    def renew(self, services: Services, dialers: Sequence[Dialer]) -> None:
        """Calls that begin from now on have these; one that lives keeps what it began with."""
        self.services, self._pool = services, self._pool.renewed(dialers)
        self.tokens.ttl_s = services.config.twilio.token_ttl_s

    def live(self) -> list[Call]:
        """The calls that run now, the oldest first."""
        return list(self._by_sid.values())

    def find(self, sid: str) -> Call | None:
        """The call of this CallSid, if it runs."""
        return self._by_sid.get(sid)

    def find_by_id(self, call_id: str) -> Call | None:
        """The call with this id of ours, if it runs."""
        return next((call for call in self._by_sid.values() if call.id == call_id), None)

    def told_after_end(self, call_id: str | None, ended_reason: str | None, cost_usd: float | None) -> bool:
        """Whether this call is one of `finished`. It has the assistant's reason from now on, if there is one, and this
        cost beside what it had."""
        for index, call in enumerate(self.finished):
            if call.id == call_id:
                self.finished[index] = call._replace(
                    assistant_ended_reason=ended_reason or call.assistant_ended_reason,
                    assistant_cost_usd=added(call.assistant_cost_usd, cost_usd),
                )
                return True
        return False

    def has_ended(self, sid: str, *, in_progress: bool = False) -> bool:
        """Whether the call of this CallSid ran here, and ended for good, not long ago.

        `in_progress` is Twilio's word for it: what ended only because the caller seemed to hang up may go on then.
        """
        return sid in self._over and not (in_progress and self._over[sid] in REFUTABLE)

    def lacked_assistant(self, sid: str) -> bool:
        """Whether the call of this CallSid ends, or has ended not long ago, because no assistant could be had."""
        call = self._by_sid.get(sid)
        reason = call.end_reason if call else self._over.get(sid)
        return reason is EndReason.ASSISTANT_UNAVAILABLE

    def transfer_of(self, sid: str) -> str | None:
        """To whom the caller of this CallSid is to be connected, as the assistant wants it: of a call that runs here,
        which that ends, or has ended here not long ago."""
        if call := self._by_sid.get(sid):
            call.depart()
            return call.transfer_to
        return self._transfers.get(sid)

    def answer(
        self,
        sid: str,
        caller_format: AudioFormat = TELEPHONE,
        *,
        browsers_id: str | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> Call:
        """The call of this CallSid; a new one takes a place and starts to dial. Raises CallRefused.

        `browsers_id`: the caller is a browser, for which the call is to have this id of ours. `variables` are what the
        assistant of a new one is told of the caller.
        """
        if call := self._by_sid.get(sid):
            return call
        if cause := self.refusal_cause:
            reason = REFUSAL_REASONS[cause]
            if browsers_id is None:  # browsers may ask without end: see BrowserSessions
                log.info("call.refused", reason=reason, cause=cause, call_sid=sid)
            self.services.metrics.calls.labels(EndReason.REFUSED).inc()
            self.services.metrics.calls_refused.labels(cause).inc()
            raise CallRefused(reason, cause)
        services, first, now = self.services, self._pool.first.name, trio.current_time()
        record = new_record(sid, services.config, first, now, call_id=browsers_id, variables=variables)
        note = self.checkpoints.note
        return self._begin(Call(record, services, self._pool, caller_format, note, burden=self._burden))

    def go_on(self, past: CallRecord) -> Call:
        """The call that another process has left so; it takes no new place, and keeps the rules that it began with."""
        caller_format = TELEPHONE if past.session is None else past.session.heard
        if call := self._by_sid.get(past.call_sid):
            return call
        call = Call(past, self.services, self._pool, caller_format, self.checkpoints.note, burden=self._burden)
        age_s = max(0.0, round(trio.current_time() - past.started_at, 3))
        log.info("call.taken_over", call_id=call.id, call_sid=call.sid, age_s=age_s, turns=len(past.conversation))
        return self._begin(call)

    def note_loop_lag(self, lag_s: float) -> None:
        """The event loop woke a task so late: whether new calls are taken depends on it."""
        if self._lateness.note(lag_s, trio.current_time()) and self.services.config.limits.max_calls == "auto":
            log.warning(
                "calls.paused" if self._lateness.late else "calls.resumed",
                mean_lag_ms=round(self._lateness.mean_s * 1000, 1),
                calls=len(self),
            )

    async def drain(self, timeout_s: float) -> None:
        """Accept no more, wait for the calls to end, and end those that are left when time is over.

        With a store those are left to the next process.
        """
        self.draining = True
        self._changed.fire()
        with trio.move_on_after(timeout_s):
            await self.wait_empty()
        await self.checkpoints.hand_over(call.checkpoint for call in self._by_sid.values())
        for call in self.live():
            call.finish(EndReason.DRAIN)
        with trio.move_on_after(ENDING_S):
            await self.wait_empty()

    def hung_up(self, sid: str) -> CallRecord | None:
        """The call of this CallSid as it was when its caller seemed to hang up here, until its record ends."""
        self._forget_hung_up()
        return self._hung_up.get(sid)

    async def wait_over(self, call: Call) -> None:
        """Return when this call does not run here any more; another of its CallSid may."""
        while self._by_sid.get(call.sid) is call:
            await self._changed.wait()

    async def wait_empty(self) -> None:
        """Return when no call runs."""
        while self._by_sid:
            await self._changed.wait()

    async def wait_drained(self) -> None:
        """Return when no call runs, and none will."""
        while self._by_sid or not self.draining:
            await self._changed.wait()

    def _begin(self, call: Call) -> Call:
        self._forget_over(call.sid)
        self._hung_up.pop(call.sid, None)
        self._by_sid[call.sid] = call
        self.begun += 1
        self._burden.many_calls = len(self) >= MANY_CALLS
        self._context.copy().run(self._nursery.start_soon, self._run, call)  # nothing of the request that rang stays
        return call

    async def _run(self, call: Call) -> None:
        began_at = trio.current_time() - call.age_s

        def tell(event: CallEvent) -> None:
            self.listeners.tell(CallNews(call.id, trio.current_time() - began_at, event))

        try:
            with call.report.listeners.listening(tell):
                await call.run()
        finally:
            del self._by_sid[call.sid]
            self._burden.many_calls = len(self) >= MANY_CALLS
            self.tokens.discard(call.sid)
            if not (self.checkpoints.handed_over or call.checkpoint.stopped):
                self._remember(call)
            self._changed.fire()

    def _remember(self, call: Call) -> None:
        self._over[call.sid] = call.end_reason
        if call.transfer_to is not None:
            self._transfers[call.sid] = call.transfer_to
        age_s = round(call.age_s, 3)
        told = (call.assistant_ended_reason, call.assistant_cost_usd)
        self.finished.append(FinishedCall(call.id, call.sid, time.time(), age_s, call.end_reason, *told))
        if len(self._over) > OVER_MAX:
            self._forget_over(next(iter(self._over)))
        self._forget_hung_up()
        if self.services.store is None and call.seems_hung_up and call.checkpoint.last is not None:
            self._hung_up[call.sid] = call.checkpoint.last

    def _forget_over(self, sid: str) -> None:
        self._over.pop(sid, None)
        self._transfers.pop(sid, None)

    def _forget_hung_up(self) -> None:
        now = trio.current_time()
        self._hung_up = {sid: record for sid, record in self._hung_up.items() if record.expires_at > now}

    def _let_go(self, sid: str, stored: CallRecord | None) -> None:
        """Another process has this call now, as it was `stored` last: it ends here without a word to the caller."""
        self._forget_over(sid)
        if call := self._by_sid.get(sid):
            call.let_go(() if stored is None else stored.notes)


@asynccontextmanager
async def open_calls(services: Services, *dialers: Dialer) -> AsyncIterator[Calls]:
    """The registry with its nursery, and the assistants from first to last.

    On leaving, live calls are cancelled; then the placer has `STOP_S` to end what is left at the assistants'.
    """
    async with open_call_placer(services.metrics) as placer, trio.open_nursery() as nursery:
        calls = Calls(services, AssistantPool(dialers, placer), nursery)
        if services.store is not None:
            nursery.start_soon(calls.checkpoints.run)
        services.metrics.playout_buffer.set_function(lambda: calls.deepest_queue_s)
        yield calls
        nursery.cancel_scope.cancel()
