"""The store as the daemon uses it: operations have deadlines and never block the event loop, failures are counted."""

import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Protocol, TypeVar

import msgspec
import structlog
import trio

from relay.errors import RecordTaken, StateUnavailable
from relay.metrics import Metrics
from relay.state.backend import Backend
from relay.state.event_journal import CALL_KEPT_S, AssistantCallNote
from relay.state.record import CallRecord

TIMEOUT_S = 2.0
"""The default of `state.timeout_s`."""
TAKE_EVERY_S = 0.1
"""Between two looks at a record whose owner seems to live."""
CLOCK_SET_S = 5.0
"""A place's clock that differs by so much from what it was a beat before has been set. An answer may take 2 s."""
CLAIM_TRIES = 5
"""Only a record that changes between each reading and writing needs more, and no call writes its own so often."""

log = structlog.get_logger(__name__)

T = TypeVar("T")


class Executor(Protocol):
    """Runs a blocking function off the event loop, one at a time."""

    def __call__(self, function: Callable[[], T], /) -> Awaitable[T]: ...


def one_worker() -> Executor:
    """Return the daemon's executor: a thread that runs one function at a time, and is left to itself when one hangs."""
    limiter = trio.CapacityLimiter(1)

    async def run(function: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(function, abandon_on_cancel=True, limiter=limiter)

    return run


async def inline(function: Callable[[], T]) -> T:
    """Run the function here: an executor for what does not block, and for tests on a virtual clock."""
    await trio.lowlevel.checkpoint()
    return function()


class StateStore:
    """The records of this process's calls, and of those it may take over.

    Every operation raises StateUnavailable when the store does not do it within `timeout_s`; then the calls go on
    without it. That it is down, and that it is back, is logged once each.

    The times of records are trio's here, and those of the place's own clock there. What happens to a record when a
    clock is set:

    | the clock                  | record in the store                     | the process that has the call     |
    |----------------------------|-----------------------------------------|-----------------------------------|
    | of a process               | the same: neither clock depends on it   | goes on                           |
    | of the place, ahead        | it may have ended                       | writes it again, with the next    |
    |                            |                                         | beat, by the clock as it is now   |
    | of the place, back         | it would end so much later              | the same                          |
    | a place that begins anew   | it is gone                              | the same                          |
    | of the machine, started    | SQLite: by the clock since that start;  | is gone; the next one takes the   |
    | again                      | no owner lives                          | call over                         |
    """

    def __init__(self, backend: Backend, metrics: Metrics, *, executor: Executor, timeout_s: float = TIMEOUT_S) -> None:
        self._backend = backend
        self._metrics = metrics
        self._executor = executor
        self._timeout_s = timeout_s
        self._down_since: float | None = None
        self._ahead_s: float | None = None

    @property
    def failing(self) -> bool:
        """True if the last operation did not succeed."""
        return self._down_since is not None

    async def save(self, record: CallRecord) -> None:
        """Keep the record in place of the one before. Raises RecordTaken when another process has the call now."""
        there = record.moved(await self._ahead())
        if not await self._do("save", lambda: self._backend.save(there.call_sid, there.to_json(), there.expires_at)):
            raise RecordTaken("another process has taken the call over")

    async def load(self, call_sid: str) -> CallRecord | None:
        """Return the record of this call, whoever owns it; None if there is none."""
        data = await self._do("load", lambda: self._backend.load(call_sid))
        return await self._read(call_sid, data)

    async def take(self, call_sid: str, *, wait_s: float = 0.0, by_force: bool = False) -> CallRecord | None:
        """Return the record, which belongs to this process from now on.

        None if there is none, or its owner lives and it is not taken by force.

        For `wait_s` an owner that seems to live is waited for: a process that was killed seems so for LEASE_S more. Of
        several processes that ask without force, one gets the record.
        """
        deadline = trio.current_time() + wait_s
        while held := await self._do("take", lambda: self._backend.take(call_sid, by_force=by_force)):
            if held.taken:
                return await self._read(call_sid, held.record)
            if trio.current_time() + TAKE_EVERY_S > deadline:
                return None
            await trio.sleep(TAKE_EVERY_S)
        return None

    async def claim(self, call_sid: str, sha256: str) -> CallRecord | None:
        """Return the record, if the token with this hash is kept in it and still good.

        The record belongs to this process from now on, whether its owner lives or not, and no token in it is good any
        more: of several processes that are shown the same token, one gets the record. None otherwise.
        """
        for _ in range(CLAIM_TRIES):
            data = await self._do("load", lambda: self._backend.load(call_sid))
            record = await self._read(call_sid, data)
            if data is None or record is None or not record.holds(sha256, trio.current_time()):
                return None
            claimed = replace(record, tokens=())
            there = claimed.moved(await self._ahead()).to_json()
            if await self._do("take", partial(self._backend.swap, call_sid, data, there)):
                return claimed
        return None

    async def owns(self, call_sids: Sequence[str]) -> list[bool | None]:
        """Return for each of these calls whether it is this process's; None if the store does not know it."""
        return await self._do("beat", lambda: self._backend.owns(call_sids))

    async def delete(self, call_sid: str) -> None:
        """Forget the record, if it is this process's."""
        await self._do("delete", lambda: self._backend.delete(call_sid))

    async def note(self, note: AssistantCallNote) -> None:
        """Keep whose call an assistant's call is, for all processes, for CALL_KEPT_S. The call is this process's."""
        whose = msgspec.json.encode((note.call_id, note.call_sid))
        known = partial(self._backend.note, note.assistant_call_id, note.call_sid, whose, CALL_KEPT_S)
        await self._do("note", known)

    async def whose(self, assistant_call_id: str) -> AssistantCallNote | None:
        """Return whose call an assistant's call is, whichever process has it; None where that is not known.

        What cannot be read of it, because another version has noted it, or nobody, is counted and not known.
        """
        found = await self._do("whose", lambda: self._backend.whose(assistant_call_id))
        if found is None:
            return None
        try:
            call_id, call_sid = msgspec.json.decode(found, type=tuple[str, str])
        except msgspec.DecodeError:
            self._metrics.state_errors.labels("read").inc()
            return None
        return AssistantCallNote(assistant_call_id, call_id, call_sid)

    async def post(self, letters: Sequence[tuple[str, bytes]]) -> int:
        """Leave letters for other processes: each for the one that has the call of the assistant's call named first.

        One for a call that is this process's, or nobody's, is not kept. Returns how many letters were thrown away,
        because too many wait for a process.
        """
        return await self._do("post", lambda: self._backend.post(letters))

    async def letters(self) -> list[bytes]:
        """Take what other processes have left for this one."""
        return await self._do("letters", self._backend.letters)

    async def claim_question(self, question: str, hold_s: float) -> bool:
        """Be who answers this question, for so long. False: another process is, or has answered it."""
        return await self._do("answer", lambda: self._backend.claim_question(question, hold_s))

    async def keep_answer(self, question: str, answer: bytes, keep_s: float) -> None:
        """Keep the answer for so long, for the processes that wait for it."""
        await self._do("answer", lambda: self._backend.keep_answer(question, answer, keep_s))

    async def answer_to(self, question: str) -> bytes | None:
        """Return the answer that was kept; None if there is none yet, or none any more."""
        return await self._do("answer", lambda: self._backend.answer_to(question))

    async def beat(self) -> bool:
        """Say that this process lives; must be called well within each LEASE_S.

        True when the place's clock was set since the last beat: then the records in it have to be saved again.
        """
        await self._do("beat", self._backend.beat)
        before = self._ahead_s
        ahead_s = await self._look_at_clock()
        return before is not None and abs(ahead_s - before) > CLOCK_SET_S

    async def retire(self) -> None:
        """Give all records of this process away: the next process may take them at once."""
        await self._do("retire", self._backend.retire)

    async def aclose(self) -> None:
        """Close the connection, within `timeout_s`, even when cancelled. Errors do not matter any more."""
        with trio.move_on_after(self._timeout_s, shield=True):
            try:
                await self._executor(self._backend.close)
            except Exception as error:  # noqa: BLE001 - as in _do; nobody needs the store any more
                log.debug("state.close_failed", error=type(error).__name__)

    async def _ahead(self) -> float:
        """By how much the place's clock is ahead of trio's, as the last beat saw it."""
        return await self._look_at_clock() if self._ahead_s is None else self._ahead_s

    async def _look_at_clock(self) -> float:
        self._ahead_s = await self._do("beat", self._backend.now) - trio.current_time()
        return self._ahead_s

    async def _do(self, operation: str, function: Callable[[], T]) -> T:
        try:
            with trio.fail_after(self._timeout_s):
                result = await self._executor(function)
        except trio.TooSlowError:
            raise self._failed(operation, f"no answer in {self._timeout_s:g} s") from None
        except Exception as error:  # noqa: BLE001 - whatever a database's library raises, the calls go on
            raise self._failed(operation, _told(error)) from None
        if self._down_since is not None:
            log.info("state.recovered", down_s=round(trio.current_time() - self._down_since, 3))
            self._down_since = None
        return result

    def _failed(self, operation: str, error: str) -> StateUnavailable:
        self._metrics.state_errors.labels(operation).inc()
        if self._down_since is None:
            self._down_since = trio.current_time()
            log.warning("state.unavailable", operation=operation, error=error)
        return StateUnavailable(error)

    async def _read(self, call_sid: str, data: bytes | None) -> CallRecord | None:
        if data is None:
            return None
        try:
            record = CallRecord.from_json(data)
        except ValueError as error:
            self._metrics.state_errors.labels("read").inc()
            log.warning("state.unreadable", call_sid=call_sid, error=str(error))
            return None
        return record.moved(-await self._ahead())


def _told(error: Exception) -> str:
    """Return the text of a local error; of others only the kind, because a server may quote what was sent to it."""
    kind = type(error).__name__
    return f"{kind}: {error}" if isinstance(error, sqlite3.Error | OSError) else kind
