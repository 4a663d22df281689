"""What waits for the disk has one bound for all calls, and the recording that has most waiting pays first."""

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from relay.record.backlog import CALL_MAX_BYTES, Backlog


@dataclass(eq=False)
class Recording:
    """Counts what it holds itself."""

    backlog: Backlog
    waiting_bytes: int = 0
    held: int = 0
    being_written: int = 0
    given_up: list[str] = field(default_factory=list)

    def add(self, n_bytes: int) -> None:
        if not self.given_up:
            self.held += n_bytes
            self.backlog.add(self, n_bytes)

    def take(self) -> None:
        self.being_written, self.held = self.being_written + self.held, 0
        self.backlog.take(self)

    def give_up(self, why: str) -> None:
        self.held = 0
        self.given_up.append(why)
        self.backlog.drop(self)


def recordings(backlog: Backlog, number: int) -> list[Recording]:
    return [Recording(backlog) for _ in range(number)]


def test_the_recording_that_has_most_waiting_is_given_up_and_the_others_stay() -> None:
    first, second, third = recordings(Backlog(max_bytes=100), 3)
    first.add(30)
    second.add(40)
    third.add(30)
    first.add(1)

    assert [len(it.given_up) for it in (first, second, third)] == [0, 1, 0]
    assert "all calls together" in second.given_up[0]


def test_one_recording_has_a_bound_of_its_own() -> None:
    (only,) = recordings(Backlog(), 1)
    only.add(CALL_MAX_BYTES)
    assert only.given_up == []
    only.add(1)

    assert only.given_up == ["the disk is too slow"]


def test_what_is_being_written_counts_until_it_is_written() -> None:
    backlog = Backlog(max_bytes=100)
    first, second = recordings(backlog, 2)
    first.add(80)
    first.take()
    second.add(20)
    assert second.given_up == []
    second.add(1)
    assert len(second.given_up) == 1
    assert first.given_up == []
    backlog.written()

    assert backlog.n_bytes == 0


STEPS = st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["take", "written"]) | st.integers(1, 60)), max_size=60)


@given(STEPS)
def test_no_more_is_held_than_the_bound_and_the_count_is_right(steps: list[tuple[int, str | int]]) -> None:
    backlog = Backlog(max_bytes=100)
    calls = recordings(backlog, 4)
    for number, step in steps:
        if step == "take":
            calls[number].take()
        elif step == "written":
            backlog.written()
            for it in calls:
                it.being_written = 0
        else:
            calls[number].add(int(step))
        held = sum(it.held + it.being_written for it in calls)

        assert held == backlog.n_bytes <= 100
