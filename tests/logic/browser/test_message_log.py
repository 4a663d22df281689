"""One sequence of numbers over changing connections: nothing lost, nothing twice, gaps stated."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.logic.browser.message_log import MessageLog, Queued


def downlink(*, max_waiting: int = 100, max_kept: int = 100, max_bytes: int = 10**6) -> MessageLog[str]:
    return MessageLog(max_waiting=max_waiting, max_kept=max_kept, max_bytes=max_bytes)


def numbers_and_items(link: MessageLog[str], cursor: int, limit: int = 1000) -> list[tuple[int, str]]:
    return [(n, queued.item) for n, queued in link.read(cursor, limit).messages]


def test_numbers_begin_at_one_and_rise_by_one() -> None:
    link = downlink()
    for item in "abc":
        link.put(Queued(item))

    assert numbers_and_items(link, 0) == [(1, "a"), (2, "b"), (3, "c")]


def test_the_same_cursor_reads_the_same_again_and_then_what_is_new() -> None:
    link = downlink()
    link.put(Queued("a"))
    link.put(Queued("b"))
    numbers_and_items(link, 0)
    link.put(Queued("c"))

    assert numbers_and_items(link, 1) == [(2, "b"), (3, "c")]


def test_a_flush_takes_waiting_audio_and_nothing_that_has_a_number() -> None:
    link = downlink()
    link.put(Queued("sent", turn=1))
    assert numbers_and_items(link, 0) == [(1, "sent")]
    link.put(Queued("old", turn=1))
    link.put(Queued("text"))

    link.flush()
    link.put_first([Queued("interrupt")])

    assert numbers_and_items(link, 0) == [(1, "sent"), (2, "interrupt"), (3, "text")]


def test_what_is_gone_is_stated() -> None:
    link = downlink(max_kept=2)
    for item in "abcd":
        link.put(Queued(item))
    link.read(0, 4)

    reading = link.read(1, 10)

    assert reading.gap == (2, 2)
    assert [n for n, _ in reading.messages] == [3, 4]


def test_a_read_that_pushes_messages_out_states_those_too() -> None:
    link = downlink(max_kept=2)
    for item in "abcd":
        link.put(Queued(item))

    reading = link.read(0, 4)

    assert reading.gap == (1, 2)
    assert [n for n, _ in reading.messages] == [3, 4]


def test_the_bytes_that_are_kept_are_bounded_and_the_newest_message_always_fits() -> None:
    link = downlink(max_bytes=100)
    for _ in range(5):
        link.put(Queued("x", size_bytes=60))
        link.read(link.last, 1)
    assert link.read(0, 10).gap == (1, 4)

    link.put(Queued("huge", size_bytes=500))
    assert numbers_and_items(link, 5) == [(6, "huge")]


def test_too_many_waiting_messages_are_numbered_unread_and_can_still_be_had() -> None:
    link = downlink(max_waiting=2)
    for item in "abcd":
        link.put(Queued(item))

    assert (link.last, link.text_waiting) == (2, 2)
    assert numbers_and_items(link, 0) == [(1, "a"), (2, "b"), (3, "c"), (4, "d")]


@pytest.mark.parametrize("cursor", [-1, 2])
def test_a_cursor_that_no_message_had_is_refused(cursor: int) -> None:
    link = downlink()
    link.put(Queued("a"))
    link.read(0, 1)

    with pytest.raises(ValueError, match="cursor"):
        link.read(cursor, 1)


@dataclass
class Client:
    """Reads, loses answers, and never goes back behind what it had."""

    cursor: int = 0
    had: list[int] = field(default_factory=list)


step = st.one_of(
    st.tuples(st.just("put"), st.sampled_from([None, 1, 2])),
    st.tuples(st.just("read"), st.integers(1, 5)),
    st.tuples(st.just("lost"), st.integers(1, 5)),
    st.tuples(st.just("flush"), st.just(0)),
)


@given(st.lists(step, max_size=80))
def test_whatever_is_lost_on_the_way_each_number_comes_once_and_in_order(steps: list[tuple[str, int | None]]) -> None:
    """A lost answer is asked for again with the same cursor. Only a flush removes anything, and only what waits."""
    link, client, put = downlink(), Client(), 0
    texts: list[str] = []
    for kind, value in steps:
        if kind == "put":
            put += 1
            link.put(Queued(f"m{put}", turn=value))
            texts += [f"m{put}"] * (value is None)
        elif kind == "flush":
            link.flush()
        else:
            assert value is not None
            reading = link.read(client.cursor, value)
            assert reading.gap is None
            if kind == "read":
                client.had += [n for n, _ in reading.messages]
                client.cursor = client.had[-1] if client.had else 0
    rest = link.read(client.cursor, 1000)
    client.had += [n for n, _ in rest.messages]

    assert client.had == list(range(1, link.last + 1))
    everything = [queued.item for _, queued in link.read(0, 1000).messages]
    assert [item for item in everything if item in texts] == texts
    assert everything == sorted(everything, key=lambda item: int(item[1:]))
