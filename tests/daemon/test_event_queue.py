"""The queue of events: stored before it is answered, passed on in order, tried again, and left to the next process."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import trio
from structlog.testing import capture_logs

from relay.daemon import event_queue
from relay.daemon.event_queue import STEPS_BETWEEN, Deliver, EventQueue
from relay.errors import LegLost, StateUnavailable
from relay.metrics import Metrics
from relay.state.event_journal import Arrival, EventDelivery, EventJournal, Exchanged


def arrival(delivery_id: str, call: str = "v1") -> Arrival:
    return Arrival(delivery_id=delivery_id, type="hang", assistant_call_id=call, relay_call_id=None, message=b"{}")


@asynccontextmanager
async def running(path: Path, deliver: Deliver | None, metrics: Metrics | None = None) -> AsyncIterator[EventQueue]:
    queue = EventQueue(EventJournal(path / "events.db", lease_s=60.0), metrics or Metrics(), deliver)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(queue.run)
        with trio.fail_after(20):
            yield queue
        nursery.cancel_scope.cancel()


class Endpoint:
    """Takes deliveries; the first `failures` fail."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.taken: list[str] = []
        self.changed = trio.Event()

    async def __call__(self, delivery: EventDelivery) -> None:
        await trio.lowlevel.checkpoint()
        if self.failures:
            self.failures -= 1
            raise LegLost("answered with 500")
        self.taken.append(delivery.delivery_id)
        self.changed.set()
        self.changed = trio.Event()

    async def wait(self, number: int) -> list[str]:
        while len(self.taken) < number:
            await self.changed.wait()
        return self.taken


async def stuck(_delivery: EventDelivery) -> None:
    await trio.sleep_forever()


async def test_events_of_a_call_are_passed_on_in_order(tmp_path: Path) -> None:
    endpoint = Endpoint()
    async with running(tmp_path, endpoint) as queue:
        accepted = [await queue.accept(arrival(str(number))) for number in range(20)]
        taken = await endpoint.wait(20)

    assert all(it.new for it in accepted)
    assert taken == [str(number) for number in range(20)]


async def test_what_failed_is_tried_again_and_the_first_failure_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_queue, "LONGEST_PAUSE_S", 0.01)
    metrics, endpoint = Metrics(), Endpoint(failures=3)
    with capture_logs() as logs:
        async with running(tmp_path, endpoint, metrics) as queue:
            await queue.accept(arrival("a"))
            await queue.accept(arrival("b"))
            taken = await endpoint.wait(2)

    assert taken == ["a", "b"]
    assert [line["event"] for line in logs if line["event"] == "webhook.forward_failed"] == ["webhook.forward_failed"]
    assert metrics.registry.get_sample_value("relay_events_failed_total") == 3


async def test_what_was_under_way_when_the_process_stopped_is_the_next_one_s_at_once(tmp_path: Path) -> None:
    async with running(tmp_path, stuck) as queue:
        await queue.accept(arrival("a"))
        await queue.accept(arrival("b"))
    endpoint = Endpoint()
    async with running(tmp_path, endpoint) as queue:
        taken = await endpoint.wait(2)

        assert (taken, queue.ever_accepted) == (["a", "b"], 2)


async def test_others_are_heard_between_one_event_and_the_next(tmp_path: Path) -> None:
    """However many were stored together: who is ready, as a call with audio, has several steps before each."""
    steps = 0
    at: list[int] = []
    all_delivered = trio.Event()

    async def count_steps() -> None:
        nonlocal steps
        while True:
            await trio.lowlevel.checkpoint()
            steps += 1

    async def deliver(_delivery: EventDelivery) -> None:
        at.append(steps)
        if len(at) == 10:
            all_delivered.set()
        await trio.lowlevel.checkpoint()

    async with running(tmp_path, deliver) as queue, trio.open_nursery() as nursery:
        nursery.start_soon(count_steps)
        async with trio.open_nursery() as accepting:
            for number in range(10):
                accepting.start_soon(queue.accept, arrival(str(number), call=str(number)))
        await all_delivered.wait()
        nursery.cancel_scope.cancel()

    assert all(later - earlier >= STEPS_BETWEEN - 1 for earlier, later in pairwise(at))


async def test_where_nothing_is_passed_on_an_event_is_only_known_again(tmp_path: Path) -> None:
    async with running(tmp_path, None) as queue:
        assert [(await queue.accept(arrival("a"))).new for _ in range(2)] == [True, False]


async def test_what_cannot_be_stored_is_not_accepted_until_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_queue, "STORE_AGAIN_S", 0.01)
    whole = EventJournal.exchange

    def broken(*_args: Any, **_more: Any) -> Exchanged:
        raise sqlite3.OperationalError("disk I/O error")

    with capture_logs() as logs:
        async with running(tmp_path, None) as queue:
            monkeypatch.setattr(EventJournal, "exchange", broken)
            with pytest.raises(StateUnavailable):
                await queue.accept(arrival("a"))
            monkeypatch.setattr(EventJournal, "exchange", whole)
            assert (await queue.accept(arrival("a"))).new

    assert len([line for line in logs if line["event"] == "webhook.store_failed"]) == 1


async def test_only_so_many_wait_to_be_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_queue, "ARRIVALS_MAX", 0)
    async with running(tmp_path, None) as queue:
        with pytest.raises(StateUnavailable):
            await queue.accept(arrival("a"))


async def test_what_is_given_up_is_counted_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.state.event_journal.KEPT_S", -1.0)
    metrics = Metrics()
    with capture_logs() as logs:
        async with running(tmp_path, stuck, metrics) as queue:
            await queue.accept(arrival("a"))

    assert metrics.registry.get_sample_value("relay_events_given_up_total", {"cause": "age"}) == 1
    (line,) = [line for line in logs if line["event"] == "webhook.gave_up"]
    assert (line["cause"], line["events"], line["type"]) == ("age", 1, "hang")
