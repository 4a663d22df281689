from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from relay.logic.replay import ReplayLog, ReplayStatistics


def drain(replay: ReplayLog) -> list[bytes]:
    return list(iter(replay.read, None))


def test_what_was_appended_is_read_once_in_order() -> None:
    replay = ReplayLog(1000)
    for name in (b"a", b"b", b"c"):
        replay.append(name)

    assert drain(replay) == [b"a", b"b", b"c"]
    assert replay.read() is None
    assert replay.statistics() == ReplayStatistics(kept_ms=60, unread_ms=0, dropped_ms=0)


def test_what_falls_off_unread_is_the_oldest_and_counted() -> None:
    replay = ReplayLog(60)
    for n in range(5):
        replay.append(bytes([n]))

    assert replay.statistics() == ReplayStatistics(kept_ms=60, unread_ms=60, dropped_ms=40)
    assert drain(replay) == [b"\x02", b"\x03", b"\x04"]


def test_what_falls_off_after_it_was_read_is_not_a_loss() -> None:
    replay = ReplayLog(60)
    for n in range(50):
        replay.append(bytes([n]))
        assert replay.read() == bytes([n])

    assert replay.statistics() == ReplayStatistics(kept_ms=60, unread_ms=0, dropped_ms=0)


@pytest.mark.parametrize("max_ms", [0, 1, 19.9, 20])
def test_a_log_holds_one_frame_at_least(max_ms: float) -> None:
    replay = ReplayLog(max_ms)
    replay.append(b"a")
    replay.append(b"b")

    assert drain(replay) == [b"b"]


@given(st.integers(0, 200), st.integers(1, 50))
def test_every_frame_is_read_or_dropped_and_the_newest_are_read(count: int, size: int) -> None:
    replay = ReplayLog(size * 20)
    for n in range(count):
        replay.append(n.to_bytes(2))

    assert drain(replay) == [n.to_bytes(2) for n in range(max(0, count - size), count)]
    assert replay.statistics().dropped_ms == max(0, count - size) * 20


class LogAgainstModel(RuleBasedStateMachine):
    """Reads and appends in any order: the log is a queue whose oldest frames go when it is full."""

    def __init__(self) -> None:
        super().__init__()
        self.replay = ReplayLog(7 * 20)
        self.unread: deque[bytes] = deque()
        self.count = self.dropped = 0

    @rule(frames=st.integers(1, 12))
    def append(self, frames: int) -> None:
        for _ in range(frames):
            self.replay.append(self.count.to_bytes(4))
            self.unread.append(self.count.to_bytes(4))
            self.count += 1
            if len(self.unread) > 7:
                self.unread.popleft()
                self.dropped += 1

    @rule()
    def read(self) -> None:
        assert self.replay.read() == (self.unread.popleft() if self.unread else None)

    @invariant()
    def counts_agree(self) -> None:
        assert self.replay.statistics() == ReplayStatistics(
            min(self.count, 7) * 20, len(self.unread) * 20, self.dropped * 20
        )


TestLogAgainstModel = LogAgainstModel.TestCase
