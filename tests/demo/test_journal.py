"""Lines come out in the order in which things happened, once each, with the time between them."""

from hypothesis import given
from hypothesis import strategies as st

from relay.demo.event import DemoEvent
from relay.demo.journal import HOLD_S, Journal, all_in_plain, in_plain


def test_a_line_waits_for_older_ones_that_are_still_on_their_way() -> None:
    journal = Journal(origin_s=100.0)
    journal.add(DemoEvent(100.5, "phone", "second"))
    assert list(journal.due(100.5 + HOLD_S / 2)) == []
    journal.add(DemoEvent(100.25, "relay", "first"))

    lines = list(journal.due(100.5 + HOLD_S))

    assert [(line.event.text, line.at_ms, line.gap_ms) for line in lines] == [
        ("first", 250.0, 0.0),
        ("second", 500.0, 250.0),
    ]
    assert list(journal.due(200.0)) == []


def test_one_that_comes_too_late_is_shown_at_once_and_has_its_place_in_the_whole() -> None:
    journal = Journal(origin_s=0.0)
    journal.add(DemoEvent(1.0, "phone", "b"))
    assert [line.event.text for line in journal.due(2.0)] == ["b"]
    journal.add(DemoEvent(0.5, "relay", "a"))

    assert [(line.event.text, line.gap_ms) for line in journal.due(2.0)] == [("a", -500.0)]
    assert [line.event.text for line in journal.lines()] == ["a", "b"]


@given(st.lists(st.integers(0, 100_000), max_size=30), st.lists(st.integers(0, 100_000), max_size=5))
def test_every_event_comes_out_exactly_once(times_ms: list[int], looks_ms: list[int]) -> None:
    journal = Journal(origin_s=0.0)
    for number, at_ms in enumerate(times_ms):
        journal.add(DemoEvent(at_ms / 1000, "relay", str(number)))
    shown = [line.event.text for look_ms in [*sorted(looks_ms), float("inf")] for line in journal.due(look_ms / 1000)]

    assert sorted(shown) == sorted(str(number) for number in range(len(times_ms)))
    assert [line.at_ms for line in journal.lines()] == sorted(line.at_ms for line in journal.lines())


def test_a_line_says_when_how_much_later_who_and_what() -> None:
    journal = Journal(origin_s=10.0)
    journal.add(DemoEvent(22.345, "relay", "stopped"))
    journal.add(DemoEvent(22.4, "assistant", "user-interrupted"))

    assert all_in_plain(journal.lines()) == (
        " 12.345     +0 ms  relay     stopped\n 12.400    +55 ms  assistant user-interrupted\n"
    )
    assert in_plain(journal.lines()[0]).isascii()
