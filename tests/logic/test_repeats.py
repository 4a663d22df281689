"""Of many equal reports the first is told at once, and the rest as one count for each window."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from relay.logic.repeats import Repeats


def test_the_first_is_told_at_once_and_the_rest_as_a_count_when_the_window_is_over() -> None:
    repeats = Repeats[str, str](window_s=60, max_kinds=10)

    assert [repeats.note("a", f"report {n}", now=n) for n in range(4)] == ["tell", "counted", "counted", "counted"]
    assert repeats.due(59.9) == []
    assert repeats.due(60) == [("report 0", 3)]


def test_a_flood_that_goes_on_is_one_count_for_each_window() -> None:
    repeats = Repeats[str, str](window_s=60, max_kinds=10)
    repeats.note("a", "first", now=0)
    repeats.note("a", "second", now=1)
    assert repeats.due(60) == [("first", 1)]

    assert repeats.note("a", "third", now=61) == "counted"
    assert repeats.due(119) == []
    assert repeats.due(120) == [("first", 1)]


def test_a_kind_that_was_quiet_for_a_window_is_told_at_once_again() -> None:
    repeats = Repeats[str, str](window_s=60, max_kinds=10)
    repeats.note("a", "first", now=0)

    assert repeats.due(60) == []
    assert repeats.note("a", "later", now=61) == "tell"


def test_a_full_table_takes_no_new_kind_until_a_window_is_over() -> None:
    repeats = Repeats[str, str](window_s=60, max_kinds=1)
    repeats.note("a", "a", now=0)

    assert repeats.note("b", "b", now=1) == "full"
    assert repeats.note("a", "a", now=2) == "counted"
    repeats.due(60)
    repeats.due(120)
    assert repeats.note("b", "b", now=121) == "tell"


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 10)), max_size=60))
def test_every_report_is_told_or_counted_once(steps: list[tuple[str, float]]) -> None:
    repeats = Repeats[str, str](window_s=5, max_kinds=3)
    now, said = 0.0, Counter[str]()
    for kind, later in steps:
        now += later
        for first, more in repeats.due(now):
            said[first] += more
        if repeats.note(kind, kind, now) == "tell":
            said[kind] += 1
    for first, more in repeats.due(float("inf")):
        said[first] += more

    assert said == Counter(kind for kind, _ in steps)
