"""Records in this process, on a clock that is set by hand: when exactly a lease and a record end, and what is kept."""

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from relay.state.backend import LEASE_S, Claim
from relay.state.memory import MemoryBackend, MemoryTables

NOW = 1000.0


@dataclass
class Clock:
    now: float = NOW
    tables: MemoryTables = field(default_factory=MemoryTables)

    def owner(self, name: str) -> MemoryBackend:
        return MemoryBackend(name, self.tables, wall=lambda: self.now)


@pytest.mark.parametrize(("after_s", "taken"), [(0.0, False), (LEASE_S - 0.001, False), (LEASE_S, True)])
def test_a_lease_ends_2_s_after_the_last_sign_of_life(after_s: float, taken: bool) -> None:
    clock = Clock()
    one, two = clock.owner("one"), clock.owner("two")
    one.save("CA1", b"x", NOW + 600)
    clock.now += 1.5
    one.beat()
    clock.now += after_s

    assert two.take("CA1") == Claim(b"x", taken)


@pytest.mark.parametrize(
    "ask",
    [
        lambda one: one.save("CA2", b"y", NOW + 600),
        lambda one: one.take("CA9"),
        lambda one: one.swap("CA9", b"", b""),
    ],
    ids=["save", "take", "swap"],
)
def test_an_owner_that_writes_or_takes_lives_on(ask: Callable[[MemoryBackend], object]) -> None:
    clock = Clock()
    one, two = clock.owner("one"), clock.owner("two")
    one.save("CA1", b"x", NOW + 600)
    clock.now += LEASE_S - 0.001
    ask(one)
    clock.now += LEASE_S - 0.001

    assert two.take("CA1") == Claim(b"x", taken=False)


def test_reading_renews_no_lease() -> None:
    clock = Clock()
    one, two = clock.owner("one"), clock.owner("two")
    one.save("CA1", b"x", NOW + 600)
    clock.now += LEASE_S - 0.001
    one.load("CA1")
    one.owns(["CA1"])
    clock.now += 0.001

    assert two.take("CA1") == Claim(b"x", taken=True)


@pytest.mark.parametrize(("at", "there"), [(NOW + 59.999, True), (NOW + 60.0, False)])
def test_a_record_is_there_until_the_moment_it_expires(at: float, there: bool) -> None:
    clock = Clock()
    one = clock.owner("one")
    one.save("CA1", b"x", NOW + 60)
    clock.now = at

    assert (one.load("CA1") is not None) == there
    assert one.owns(["CA1"]) == ([True] if there else [None])


def test_a_beat_removes_what_expired_and_owners_that_are_dead() -> None:
    clock = Clock()
    clock.owner("dead").save("CA1", b"x", NOW + 60)
    clock.owner("dead").save("CA2", b"x", NOW + 600)
    clock.now += 60
    clock.owner("one").beat()

    assert set(clock.tables.rows) == {"CA2"}
    assert set(clock.tables.alive_until) == {"one"}


def test_owners_share_only_the_tables_they_are_given() -> None:
    one, two = MemoryBackend("one"), MemoryBackend("two")
    one.save("CA1", b"x", 4e9)

    assert two.load("CA1") is None
