"""The queue of Vapi's server messages: it stores what comes, and passes it on from a task of its own.

All that comes or is settled meanwhile is one transaction of the journal, on a thread: the event loop never waits.
"""

import random
import sqlite3
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import structlog
import trio

from relay.errors import RelayError, StateUnavailable
from relay.metrics import Metrics
from relay.state.event_journal import (
    Acceptance,
    Arrival,
    AssistantCallNote,
    DeliveryOutcome,
    EventAnswer,
    EventDelivery,
    EventJournal,
    Exchanged,
    GivenUp,
)
from relay.wakeup import Signal

DELIVERIES_MAX = 64
"""Events that are being passed on at a time: one of each call at most."""
ARRIVALS_MAX = 2000
"""Events that wait to be stored; one more is refused."""
GATHER_S = 0.01
"""From the first that comes to the transaction: of many events each then costs little more than its own rows."""
STEPS_BETWEEN = 2
"""Of the event loop, before each handler that goes on and each delivery that begins: in a step everybody who is ready
has a turn, calls with their audio too."""
LONGEST_PAUSE_S = 60.0
LOOK_EVERY_S = 30.0
"""Another process may have left events behind, or one be too old."""
STORE_AGAIN_S = 1.0
"""After a journal that failed."""

T = TypeVar("T")
Deliver = Callable[[EventDelivery], Awaitable[None]]
"""Pass one event on. Raises RelayError where that failed."""

log = structlog.get_logger(__name__)


class _UnstoredArrival:
    """One arrival, until the journal has it."""

    def __init__(self, arrival: Arrival) -> None:
        self.arrival = arrival
        self.stored = trio.Event()
        self.acceptance: Acceptance | None = None


@dataclass(slots=True)
class _UnstoredAnswer:
    """One answer, until the journal has it, or could not take it."""

    answer: EventAnswer
    settled: trio.Event = field(default_factory=trio.Event)


class EventQueue:
    """One for the daemon. `deliver` is None where nothing is passed on: then events are only known again."""

    def __init__(self, journal: EventJournal, metrics: Metrics, deliver: Deliver | None) -> None:
        self._journal = journal
        self._metrics = metrics
        self._deliver = deliver
        self._arrivals: list[_UnstoredArrival] = []
        self._notes: list[AssistantCallNote] = []
        self._answers: dict[str, _UnstoredAnswer] = {}
        self._outcomes: list[DeliveryOutcome] = []
        self._under_way: set[int] = set()
        self._news = Signal()
        self._limiter = trio.CapacityLimiter(1)
        self._failing = False
        self.store_failing = False
        """What comes now cannot be stored."""
        self.ever_accepted = 0
        """By every process that used the journal, as this one knows of them."""
        self.waiting = 0
        """Events that wait to be passed on."""

    def note_call(self, note: AssistantCallNote) -> None:
        """Whose call an assistant's call is, for what comes of it."""
        self._notes.append(note)
        self._news.fire()

    async def accept(self, arrival: Arrival) -> Acceptance:
        """Store an event; returns whether it is new, and whose it is.

        Raises StateUnavailable when it could not be stored: it has to be sent again. Cancelled, it may be stored.
        """
        if len(self._arrivals) >= ARRIVALS_MAX:
            raise StateUnavailable("too many events wait to be stored")
        waiting = _UnstoredArrival(arrival)
        self._arrivals.append(waiting)
        self._news.fire()
        await waiting.stored.wait()
        if waiting.acceptance is None:
            raise StateUnavailable("the event could not be stored")
        return waiting.acceptance

    async def keep_answer(self, delivery_id: str, body: bytes) -> None:
        """Store what a question is answered with, for when it comes again: see `Acceptance`.

        Where that fails, or too much waits, nothing is stored, and nobody is told: the answer is good all the same.
        """
        if len(self._answers) >= ARRIVALS_MAX:
            return
        waiting = self._answers[delivery_id] = _UnstoredAnswer(EventAnswer(delivery_id, body))
        self._news.fire()
        await waiting.settled.wait()

    async def run(self) -> None:
        """Store and pass on, until cancelled. What is under way then may be taken by the next process at once."""
        try:
            with suppress(sqlite3.Error, OSError):
                self.ever_accepted, _ = await self._in_thread(self._journal.accepted)
            async with trio.open_nursery() as nursery:
                wait_s = 0.0
                while True:
                    if not (self._arrivals or self._notes or self._answers or self._outcomes):
                        await self._news.wait(until=trio.current_time() + wait_s)
                        await trio.sleep(GATHER_S)
                    wait_s = await self._turn(nursery)
        finally:
            self._close()

    async def _turn(self, nursery: trio.Nursery) -> float:
        """One transaction; returns how long nothing will be due, if nothing comes."""
        arrivals, self._arrivals = self._arrivals, []
        notes, self._notes = self._notes, []
        answers, self._answers = self._answers, {}
        outcomes, self._outcomes = self._outcomes, []
        room = DELIVERIES_MAX - len(self._under_way) if self._deliver else 0
        now = time.time()
        exchange = partial(
            self._journal.exchange,
            now,
            notes=notes,
            arrivals=[it.arrival for it in arrivals],
            answers=[it.answer for it in answers.values()],
            outcomes=outcomes,
            room=room,
        )
        try:
            exchanged = await self._in_thread(exchange)
        except (sqlite3.Error, OSError) as error:
            self._notes, self._outcomes = notes + self._notes, outcomes + self._outcomes
            self._note_store_failed(error)
            for waiting in arrivals:
                waiting.stored.set()
            _settle(answers)
            await trio.sleep(STORE_AGAIN_S)
            return 0.0
        self.store_failing = False
        _settle(answers)
        self._tell(exchanged)
        for waiting, acceptance in zip(arrivals, exchanged.acceptances, strict=True):
            waiting.acceptance = acceptance
            self.ever_accepted += acceptance.new
            await _let_others_run()
            waiting.stored.set()
        for delivery in exchanged.deliveries:
            self._under_way.add(delivery.number)
            await _let_others_run()
            nursery.start_soon(self._pass_on, delivery)
        if exchanged.next_at is None or len(self._under_way) >= DELIVERIES_MAX or self._deliver is None:
            return LOOK_EVERY_S
        return min(LOOK_EVERY_S, max(0.0, exchanged.next_at - time.time()))

    async def _pass_on(self, delivery: EventDelivery) -> None:
        assert self._deliver is not None
        retry_in_s = None
        try:
            await self._deliver(delivery)
        except RelayError as error:
            retry_in_s = min(LONGEST_PAUSE_S, 2.0**delivery.tries) * random.uniform(0.5, 1.0)
            self._note_failed(delivery, error)
        else:
            self._note_forwarded(delivery)
        self._under_way.discard(delivery.number)
        self._outcomes.append(DeliveryOutcome(delivery.number, retry_in_s))
        self._news.fire()

    async def _in_thread(self, function: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(function, limiter=self._limiter)

    def _close(self) -> None:
        """Give back what was under way: its leases would keep it from the next process."""
        given_back = [DeliveryOutcome(number, 0.0) for number in self._under_way]
        with suppress(sqlite3.Error, OSError):
            if given_back or self._outcomes or self._notes:
                self._journal.exchange(time.time(), notes=self._notes, outcomes=[*self._outcomes, *given_back])
        self._journal.close()
        for waiting in self._arrivals:
            waiting.stored.set()
        _settle(self._answers)

    def _tell(self, exchanged: Exchanged) -> None:
        self.waiting = exchanged.waiting
        self._metrics.events_waiting.set(exchanged.waiting)
        for cause in {it.cause for it in exchanged.given_up}:
            gone = [it for it in exchanged.given_up if it.cause == cause]
            self._metrics.events_given_up.labels(cause).inc(len(gone))
            oldest: GivenUp = gone[0]
            log.warning("webhook.gave_up", cause=cause, events=len(gone), type=oldest.type, call_id=oldest.call_id)

    def _note_forwarded(self, delivery: EventDelivery) -> None:
        self._failing = False
        self._metrics.events_forwarded.inc()
        log.info(
            "webhook.forwarded",
            type=delivery.type,
            call_id=delivery.call_id,
            delivery_id=delivery.delivery_id,
            tries=delivery.tries + 1,
            after_s=round(time.time() - delivery.accepted_at, 3),
        )

    def _note_failed(self, delivery: EventDelivery, error: RelayError) -> None:
        """The first of a row of failures is a line; metrics count each."""
        self._metrics.events_failed.inc()
        if not self._failing:
            self._failing = True
            values = {"type": delivery.type, "call_id": delivery.call_id, "error": str(error)}
            log.warning("webhook.forward_failed", **values, repeats=(str(error),))

    def _note_store_failed(self, error: Exception) -> None:
        if not self.store_failing:
            self.store_failing = True
            told = f"{type(error).__name__}: {error}"
            log.warning("webhook.store_failed", error=told, repeats=(told,))


async def _let_others_run() -> None:
    for _ in range(STEPS_BETWEEN):
        await trio.lowlevel.checkpoint()


def _settle(answers: Mapping[str, _UnstoredAnswer]) -> None:
    for waiting in answers.values():
        waiting.settled.set()
