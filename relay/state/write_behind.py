"""Writes the records of calls in a task of its own, so that no call ever waits for the store.

| state   | meaning                            | leaves when                          | deadline            |
|---------|------------------------------------|--------------------------------------|---------------------|
| waiting | all is written                     | `note` -> writing; a beat is due     | BEAT_S              |
| writing | the oldest note is being written   | none is left -> waiting              | the store's, each   |
| pausing | the store failed; the notes wait   | the pause is over -> writing         | LONGEST_PAUSE_S     |
| over    | `hand_over` found all written      |                                      | that of `hand_over` |
"""

from collections.abc import Callable
from random import Random

import structlog
import trio

from relay.errors import RecordTaken, StateUnavailable
from relay.metrics import Metrics
from relay.state.backend import LEASE_S
from relay.state.record import CallRecord
from relay.state.store import StateStore
from relay.wakeup import Signal

BEAT_S = LEASE_S / 4
"""Well within the lease: three beats in a row may be missed."""
FIRST_PAUSE_S = 0.2
"""The longest pause after a first failure, and twice the shortest of all."""
LONGEST_PAUSE_S = 4.0
_DOUBLINGS_MAX = 5  # five reach the longest pause; more would make a huge number of a long failure
PENDING_MAX = 2000
"""Calls whose newest record is not written: those that live, and those that ended while the store was down."""

OnTaken = Callable[[str, CallRecord | None], None]

log = structlog.get_logger(__name__)


class WriteBehind:
    """Writes the newest record of each call. `run` is the one task that does it, and it keeps this process's lease.

    `on_taken` is called with the CallSid of a call that another process has taken over, and the record of it that was
    written last, if one was: it must end here without a word to the caller. That is known with the next beat, and with
    the next record that is to be written. What the store has forgotten, as a Redis that was started again does, or
    stamped by a clock that was set, is written again with the next beat.
    """

    def __init__(
        self,
        store: StateStore,
        metrics: Metrics,
        *,
        on_taken: OnTaken,
        rng: Random | None = None,
        pending_max: int = PENDING_MAX,
    ) -> None:
        self._store = store
        self._metrics = metrics
        self._on_taken = on_taken
        self._rng = rng or Random()
        self._pending_max = pending_max
        self._pending: dict[str, CallRecord] = {}
        self._live: dict[str, CallRecord] = {}
        """The records that were written last, of the calls that are not over."""
        self._stamped_wrongly = False
        """The store's clock was set since they were."""
        self._noted = Signal()
        self._written = Signal()
        self._failures = 0
        self._ending = False
        self._over = trio.Event()
        self._scope = trio.CancelScope()
        metrics.state_pending.set_function(lambda: len(self._pending))

    def note(self, record: CallRecord) -> None:
        """Have this record written soon, in place of an older one of its call. When too many wait, the one that waits
        longest is dropped and counted."""
        if record.call_sid not in self._pending and len(self._pending) >= self._pending_max:
            self._drop(next(iter(self._pending)))
        self._pending[record.call_sid] = record
        self._noted.fire()

    async def written(self, call_sid: str) -> None:
        """Wait until nothing of this call is left to write: it is written, dropped, or another process has the call."""
        while call_sid in self._pending:
            await self._written.wait()

    async def run(self) -> None:
        """Write until cancelled, or until `hand_over` has nothing left to write."""
        try:
            with self._scope:
                await self._run()
        finally:
            self._over.set()

    async def hand_over(self, timeout_s: float) -> bool:
        """Write what waits, then give all records away, for the next process to take the calls over at once.

        No record may be noted from now on. False when the store did not do it all in time: then the next process has to
        wait for the lease to end, and has the older records.
        """
        self._ending = True
        self._noted.fire()
        with trio.move_on_after(timeout_s):
            await self._over.wait()
            try:
                await self._store.retire()
            except StateUnavailable:
                return False
            return not self._pending
        self._scope.cancel()
        return False

    async def _run(self) -> None:
        beat_at = trio.current_time()
        while self._pending or not self._ending:
            try:
                if trio.current_time() >= beat_at:
                    await self._beat()
                    beat_at = trio.current_time() + BEAT_S
                elif self._pending:
                    await self._write(next(iter(self._pending.values())))
                else:
                    await self._noted.wait(until=beat_at)
            except StateUnavailable:
                await trio.sleep(self._pause_s())
            else:
                self._failures = 0

    async def _beat(self) -> None:
        self._stamped_wrongly = await self._store.beat() or self._stamped_wrongly
        if not self._live:
            self._stamped_wrongly = False
            return
        live = list(self._live.values())
        owned = await self._store.owns([record.call_sid for record in live])
        for record, ours in zip(live, owned, strict=True):
            if ours is False:
                self._let_go(record)
            elif ours is None or self._stamped_wrongly:
                self._pending.setdefault(record.call_sid, record)
        self._stamped_wrongly = False

    async def _write(self, record: CallRecord) -> None:
        """The note stays until it is written: so a newer one takes its place."""
        try:
            await self._store.save(record)
        except RecordTaken:
            self._let_go(record)
        else:
            if record.end_reason is None:
                self._live[record.call_sid] = record
            else:
                self._live.pop(record.call_sid, None)
        if self._pending.get(record.call_sid) is record:
            del self._pending[record.call_sid]
        self._written.fire()

    def _let_go(self, record: CallRecord) -> None:
        log.warning("state.taken", call_id=record.call_id, call_sid=record.call_sid)
        written = self._live.pop(record.call_sid, None)
        self._pending.pop(record.call_sid, None)
        self._written.fire()
        self._on_taken(record.call_sid, written)

    def _pause_s(self) -> float:
        """Exponential with full jitter, as in `relay.logic.assistant.backoff`, without an end."""
        limit_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(self._failures, _DOUBLINGS_MAX))
        self._failures += 1
        return self._rng.uniform(FIRST_PAUSE_S / 2, limit_s)

    def _drop(self, call_sid: str) -> None:
        del self._pending[call_sid]
        self._metrics.state_dropped.inc()
        self._written.fire()
