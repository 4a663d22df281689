"""Places the assistants' calls and ends them, in tasks of the daemon that outlive the caller who wanted them.

A request for a call, `POST /call`:

| state    | waits for                    | deadline                     | then                                     |
|----------|------------------------------|------------------------------|------------------------------------------|
| asked    | the first byte of its answer | `HEDGE_AFTER_S`              | a second request is made beside it, on a |
|          |                              |                              | new connection                           |
|          | the answer                   | the dialer's                 | a call -> taken; a refusal -> over, and  |
|          |                              | `create_timeout_s`           | told when no other request is under way; |
|          |                              |                              | the deadline -> unwanted                 |
|          | the caller to hang up, or    | none                         | unwanted                                 |
|          | the other's call             |                              |                                          |
| unwanted | the answer                   | `ANSWER_S` after the request | a call -> ending; a refusal -> over;     |
|          |                              |                              | the deadline -> over, said in the log    |

A call that such a request has made:

| state    | waits for                    | deadline                     | then                                     |
|----------|------------------------------|------------------------------|------------------------------------------|
| taken    | the end of its connection    | see `Connection`             | over where the assistant's side knows of |
|          |                              |                              | it, otherwise -> ending                  |
| ending   | the answer to `end-call`     | the dialer's; `END_S` in all | over; without one -> pausing             |
| pausing  | back-off                     | `END_RULES`; `END_S` in all  | -> ending; the deadline of all -> over,  |
|          |                              |                              | said in the log                          |

When the daemon stops, what is under way has `STOP_S` more in whatever state, is cut then, and said in the log.

A second request beside one that is slow is known as a hedged request (J. Dean, L. A. Barroso, "The Tail at Scale",
Communications of the ACM, 2013).
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Literal, Protocol

import structlog
import trio

from relay.call.assistant.dialer import Dialer
from relay.errors import AssistantUnavailable, RelayError
from relay.logic.assistant.backoff import Backoff, BackoffRules
from relay.metrics import Metrics
from relay.wire.vapi_call import CallCreated

HEDGE_AFTER_S = 1.5
"""A connection that a middlebox has forgotten stays silent; a service that is only slow says something by then."""
ANSWER_S = 60.0
"""From the request to its answer, when nobody waits for the call any more."""
END_S = 60.0
"""For all tries to end one call."""
END_RULES = BackoffRules(max_attempts=100, first_s=1.0, longest_s=8.0, budget_s=END_S)
STOP_S = 2.0
"""For what is under way when the daemon stops."""

_SILENCE = "VAPI_UNREACHABLE"
_Which = Literal["first", "second"]

log = structlog.get_logger(__name__)


class Create(Protocol):
    """`Dialer.create` with what the call is to be."""

    async def __call__(self, *, fresh: bool, answering: Callable[[], None]) -> CallCreated: ...


@dataclass(eq=False, slots=True)
class _Order:
    """One call that somebody wants, and what its requests have come to.

    `created` is a call that nobody has taken yet, `won` the request that brought the one that was wanted.
    """

    dialer: Dialer
    create: Create
    wanted: bool = True
    created: CallCreated | None = None
    won: _Which | None = None
    hedged: bool = False
    under_way: int = 0
    failures: list[Exception] = field(default_factory=list)
    answering: trio.Event = field(default_factory=trio.Event)
    settled: trio.Event = field(default_factory=trio.Event)

    def take(self) -> CallCreated:
        """The call. Raises what kept it from being made: an answer says more than the lack of one."""
        created, self.created = self.created, None
        if created is not None:
            return created
        waited = f"TIMEOUT no answer in {self.dialer.create_timeout_s:g} s"
        silence = AssistantUnavailable(waited, _SILENCE, retriable=True)
        raise max(self.failures, key=_is_answer, default=silence)


class CallPlacer:
    """One for the daemon; made by `open_call_placer`."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._closing = trio.Event()
        self._lifeline = trio.CancelScope(shield=True)
        self._nursery: trio.Nursery

    async def run(self, ready: trio.Event) -> None:
        """Run the tasks until `close`, and those under way for `STOP_S` more; cancellation alone does not end it."""
        with self._lifeline:
            async with trio.open_nursery() as self._nursery:
                ready.set()
                await self._closing.wait()

    def close(self) -> None:
        """Give what is under way its last moment. Nothing may be asked for from now on."""
        self._lifeline.deadline = trio.current_time() + STOP_S
        self._closing.set()

    async def place(self, dialer: Dialer, create: Create) -> CallCreated:
        """A new call, whose socket is to be connected at once; the caller sees to its end.

        Raises AssistantUnavailable, after the dialer's `create_timeout_s` at the latest. Whatever else is created,
        later or beside it, is ended here; so is the call when this is cancelled.
        """
        order = _Order(dialer, create)
        self._ask(order, "first")
        try:
            with trio.move_on_after(dialer.create_timeout_s):
                with trio.move_on_after(HEDGE_AFTER_S):
                    await order.answering.wait()
                if not order.answering.is_set():
                    log.warning("assistant.hedged", assistant=dialer.name)
                    order.hedged = True
                    self._ask(order, "second")
                await order.settled.wait()
            return order.take()
        except AssistantUnavailable:
            dialer.note_unavailable()
            raise
        finally:
            self._close(order)

    def end(self, dialer: Dialer, call_id: str, control_url: str | None = None) -> None:
        """End a call that cannot be told so on its socket, in the background. `control_url` is as `place` gave it."""
        self._nursery.start_soon(self._end, dialer, call_id, control_url)

    def _ask(self, order: _Order, which: _Which) -> None:
        order.under_way += 1
        self._nursery.start_soon(self._request, order, which)

    async def _request(self, order: _Order, which: _Which) -> None:
        limit_s = max(ANSWER_S, order.dialer.create_timeout_s)
        try:
            with trio.fail_after(limit_s):
                created = await order.create(fresh=which == "second", answering=order.answering.set)
            self._created(order, which, created)
        except trio.TooSlowError:
            _note_unanswered(order, f"no answer in {limit_s:g} s")
        except trio.Cancelled:
            _note_unanswered(order, "the relay stopped before")
            raise
        except Exception as error:  # noqa: BLE001 - it is raised again where the call was wanted
            self._failed(order, error)
        finally:
            order.under_way -= 1
            if order.under_way == 0:
                order.answering.set()
                order.settled.set()

    def _created(self, order: _Order, which: _Which, created: CallCreated) -> None:
        if order.wanted and order.won is None:
            order.created, order.won = created, which
            order.settled.set()
        else:
            self.end(order.dialer, created.call_id, created.control_url)

    def _failed(self, order: _Order, error: Exception) -> None:
        order.failures.append(error)
        if not isinstance(error, AssistantUnavailable):
            if not order.wanted:
                log.error("assistant.placing_failed", exc_info=error)
        elif error.call_id is not None:
            self.end(order.dialer, error.call_id, error.control_url)
        elif (order.hedged or not order.wanted) and not _is_answer(error):
            _note_unanswered(order, str(error))

    def _close(self, order: _Order) -> None:
        """Nobody waits for the call any more."""
        order.wanted = False
        if order.created is not None:
            self.end(order.dialer, order.created.call_id, order.created.control_url)
        if order.hedged:
            self._metrics.assistant_hedges.labels(order.won or "none").inc()
            log.info("assistant.hedge_over", assistant=order.dialer.name, won=order.won or "none")

    async def _end(self, dialer: Dialer, call_id: str, control_url: str | None) -> None:
        backoff = Backoff(END_RULES, Random)
        error = f"no answer in {END_S:g} s"
        try:
            with trio.move_on_after(END_S):
                while True:
                    try:
                        await dialer.hang_up(call_id, control_url)
                    except RelayError as failure:
                        error = str(failure)
                    else:
                        self._metrics.assistant_hang_ups.labels("ok").inc()
                        log.info("assistant.hung_up", assistant_call_id=call_id, attempt=backoff.attempt + 1)
                        return
                    at = backoff.next_at(trio.current_time())
                    if at is None:
                        break
                    await trio.sleep_until(at)
            self._gave_up(call_id, error)
        except trio.Cancelled:
            self._gave_up(call_id, "the relay stopped before")
            raise
        except Exception:
            self._metrics.assistant_hang_ups.labels("failed").inc()
            log.exception("assistant.hang_up_failed", assistant_call_id=call_id)

    def _gave_up(self, call_id: str, error: str) -> None:
        self._metrics.assistant_hang_ups.labels("failed").inc()
        log.warning("assistant.hang_up_failed", assistant_call_id=call_id, error=error)


def _note_unanswered(order: _Order, error: str) -> None:
    """There may be a call that nobody here will ever know."""
    log.warning("assistant.unanswered", assistant=order.dialer.name, error=error)


def _is_answer(error: Exception) -> bool:
    return not isinstance(error, AssistantUnavailable) or error.code != _SILENCE


@asynccontextmanager
async def open_call_placer(metrics: Metrics) -> AsyncIterator[CallPlacer]:
    """A placer that works. Leaving takes at most `STOP_S`, also when it is cancelled."""
    placer, ready = CallPlacer(metrics), trio.Event()
    async with trio.open_nursery() as nursery:
        try:
            nursery.start_soon(placer.run, ready)  # `start` would wait for it for ever if it is cancelled already
            await ready.wait()
            yield placer
        finally:
            placer.close()
