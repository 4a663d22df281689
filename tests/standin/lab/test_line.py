"""A piece comes out of a line when delay, jitter, bandwidth and order say so."""

import statistics
from itertools import pairwise
from random import Random
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.standin.lab.line import LabLine
from relay.standin.lab.schedule import Distribution, LinkConditions


def emptied(line: LabLine) -> list[tuple[float, bytes]]:
    """Every piece with its time."""
    out = []
    while (at := line.next_at) is not None:
        assert line.pop(at - 1e-6) is None
        data = line.pop(at)
        assert data is not None
        out.append((at, data))
    return out


@given(
    st.lists(st.tuples(st.floats(0, 0.5), st.binary(min_size=1, max_size=50)), max_size=30),
    st.sampled_from(get_args(Distribution)),
    st.none() | st.floats(1, 1000),
    st.integers(0, 5),
)
def test_everything_comes_out_once_in_order_and_never_early(
    puts: list[tuple[float, bytes]], distribution: Distribution, bandwidth: float | None, seed: int
) -> None:
    line = LabLine(LinkConditions(20, 30, distribution, bandwidth), Random(seed))
    now, times = 0.0, []
    for pause_s, data in puts:
        now += pause_s
        times.append(now)
        line.put(data, now)
    out = emptied(line)

    assert [data for _, data in out] == [data for _, data in puts]
    assert all(at >= put_at + 0.020 - 1e-9 for (at, _), put_at in zip(out, times, strict=True))
    assert line.held_bytes == 0


@pytest.mark.parametrize("distribution", get_args(Distribution))
def test_jitter_has_the_mean_that_was_asked_for(distribution: Distribution) -> None:
    line = LabLine(LinkConditions(delay_ms=10, jitter_ms=20, distribution=distribution), Random(7))
    delays = []
    for number in range(4000):
        line.put(b"x", number * 100.0)
        [(at, _)] = emptied(line)
        delays.append((at - number * 100.0) * 1000)

    assert statistics.fmean(delays) == pytest.approx(30, rel=0.08)
    assert statistics.pstdev(delays) > 5


def test_the_same_seed_makes_the_same_times_and_another_other_ones() -> None:
    def times(seed: int) -> list[float]:
        line = LabLine(LinkConditions(10, 20, "exponential"), Random(seed))
        for number in range(20):
            line.put(b"x", float(number))
        return [at for at, _ in emptied(line)]

    assert times(1) == times(1) != times(2)


def test_a_slow_link_carries_one_piece_after_the_other() -> None:
    line = LabLine(LinkConditions(bandwidth_kbit_s=80), Random(1))
    for _ in range(3):
        line.put(bytes(100), 5.0)
    line.put(bytes(100), 9.0)

    assert [at for at, _ in emptied(line)] == pytest.approx([5.01, 5.02, 5.03, 9.01])


def test_the_slower_of_link_and_moment_counts() -> None:
    line = LabLine(LinkConditions(bandwidth_kbit_s=80), Random(1))
    line.put(bytes(100), 0.0, kbit_s=8)
    line.put(bytes(100), 1.0, kbit_s=800)

    assert [at for at, _ in emptied(line)] == pytest.approx([0.1, 1.01])


def test_held_messages_are_overtaken_but_by_no_goodbye_and_nothing_is_lost() -> None:
    line = LabLine(LinkConditions(delay_ms=10, reorder_share=0.2, reorder_ms=50), Random(3))
    sent = [b"%d" % number for number in range(200)]
    for number, message in enumerate(sent):
        line.put(message, number * 0.01, may_be_held=True)
    line.put(b"goodbye", 2.0, last=True)
    out = [data for _, data in emptied(line)]

    assert sorted(out[:-1]) == sorted(sent)
    assert out[:-1] != sent
    assert out[-1] == b"goodbye"
    overtaken = sum(earlier > later for earlier, later in pairwise(int(message) for message in out[:-1]))
    assert 20 <= overtaken <= 60
    assert max(abs(out.index(message) - number) for number, message in enumerate(sent)) <= 6


def test_what_is_not_a_message_keeps_its_place_among_its_kind() -> None:
    line = LabLine(LinkConditions(reorder_share=1.0, reorder_ms=1000), Random(3))
    for number in range(50):
        line.put(b"%d" % number, 0.0)

    assert [data for _, data in emptied(line)] == [b"%d" % number for number in range(50)]


def test_cleared_nothing_comes_out() -> None:
    line = LabLine(LinkConditions(delay_ms=10), Random(1))
    line.put(b"lost", 0.0)
    line.clear()

    assert line.next_at is None
    assert line.held_bytes == 0
