"""Who has a place among the connections, and who makes room, whatever they do in whatever order."""

from contextlib import ExitStack, nullcontext
from typing import Literal

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from relay.daemon.connections import WAITS_MIN_S, ConnectionPlace, Connections
from relay.errors import RequestRefused
from relay.metrics import Metrics
from relay.refusals import Refusals

STRANGERS, OF_CALLS = 3, 2
Step = tuple[Literal["connect", "waits", "is_served", "admit", "end", "time"], int]
STEPS = st.lists(
    st.tuples(st.sampled_from(["connect", "waits", "is_served", "admit", "end", "time"]), st.integers(0, 9))
)


class House:
    """Connections as a server has them, and a model of who has which place, the longest in its state first."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        self.connections = Connections(Refusals(self.metrics), strangers=STRANGERS, of_calls=OF_CALLS)
        self.open: dict[ConnectionPlace, ExitStack] = {}
        self.waiting: list[ConnectionPlace] = []
        self.since: dict[ConnectionPlace, float] = {}
        self.served: list[ConnectionPlace] = []
        self.of_calls: list[ConnectionPlace] = []
        self.closed: list[ConnectionPlace] = []

    def connect(self) -> None:
        held = ExitStack()
        is_full = len(self.waiting) + len(self.served) == STRANGERS
        connection = self.connections.hold("a client", nullcontext(), lambda: self._close(place))
        now = trio.current_time()
        if is_full and not (self.waiting and now >= self.since[self.waiting[0]] + WAITS_MIN_S):
            with pytest.raises(RequestRefused, match="too many connections"):
                held.enter_context(connection)
            return
        place = held.enter_context(connection)
        if is_full:
            assert self.closed.pop() is self.waiting.pop(0)
        assert self.closed == []
        self.open[place] = held
        self.waiting.append(place)
        self.since[place] = now

    def take(self, step: str, place: ConnectionPlace) -> None:
        former = next(state for state in (self.waiting, self.served, self.of_calls) if place in state)
        getattr(place, step)()
        if former is self.of_calls or (step == "admit" and len(self.of_calls) == OF_CALLS):
            return
        former.remove(place)
        self.since[place] = trio.current_time()
        {"waits": self.waiting, "is_served": self.served, "admit": self.of_calls}[step].append(place)

    def end(self, place: ConnectionPlace) -> None:
        for state in (self.waiting, self.served, self.of_calls):
            if place in state:
                state.remove(place)
        self.open.pop(place).close()

    def _close(self, place: ConnectionPlace) -> None:
        self.closed.append(place)
        self.open.pop(place)


@given(STEPS)
def test_strangers_have_their_places_calls_have_theirs_and_who_waits_longest_makes_room(steps: list[Step]) -> None:
    clock = MockClock()

    async def run() -> None:
        house, made_room = House(), 0
        for step, which in steps:
            if step == "connect":
                open_before = len(house.open)
                house.connect()
                made_room += len(house.open) == open_before
            elif step == "time":
                clock.jump(which / 9 * WAITS_MIN_S)
            elif house.open:
                place = list(house.open)[which % len(house.open)]
                house.end(place) if step == "end" else house.take(step, place)
        counted = house.metrics.registry.get_sample_value("relay_limited_total", {"limit": "connections"})
        assert counted == made_room

        for place in list(house.open):
            house.end(place)
        for number in range(OF_CALLS + STRANGERS):
            house.connect()
            house.take("admit" if number < OF_CALLS else "is_served", house.waiting[0])
        assert len(house.open) == STRANGERS + OF_CALLS

    trio.run(run, clock=clock)
