import pytest

from relay.logic.playback.heard import UNCONFIRMED_MAX_FRAMES, HeardPosition


def sent(count: int, at: float = 0.0) -> HeardPosition[int]:
    heard: HeardPosition[int] = HeardPosition()
    heard.restart(at)
    for n in range(count):
        heard.sent(n)
    return heard


def test_between_marks_the_clock_tells_and_never_more_than_was_sent() -> None:
    heard = sent(10, at=5.0)

    assert [heard.at(at) for at in (5.0, 5.1, 9.0)] == [0.0, pytest.approx(100), 200.0]


def test_a_mark_settles_what_is_before_it() -> None:
    heard = sent(10)
    heard.mark(100, 0.3)

    assert heard.at(0.32) == pytest.approx(120)
    assert [*heard.after(0)] == [9, 8, 7, 6, 5]
    heard.mark(60, 0.4)
    assert heard.at(0.4) == pytest.approx(200), "an older mark changes nothing"


def test_confirmed_is_what_marks_say_and_the_clock_only_where_there_are_none() -> None:
    heard = sent(10)
    assert heard.confirmed(0.1) == pytest.approx(100)
    heard.mark(40, 0.1)

    assert heard.confirmed(9.0) == 40


@pytest.mark.parametrize(("position_ms", "frames"), [(0, [2, 1, 0]), (19.9, [2, 1, 0]), (20, [2, 1]), (60, [])])
def test_a_frame_that_was_heard_in_part_is_after_the_position(position_ms: float, frames: list[int]) -> None:
    assert [*sent(3).after(position_ms)] == frames


def test_what_no_mark_has_returned_may_still_be_on_its_way_whatever_the_clock_says() -> None:
    heard = sent(4)
    assert [*heard.unmarked()] == [3, 2, 1, 0]
    heard.mark(40, 0.1)
    assert [*heard.unmarked()] == [3, 2]
    heard.mark(80, 9.0)

    assert [*heard.unmarked()] == []


def test_what_is_settled_will_not_be_heard() -> None:
    heard = sent(10)
    heard.settle(0.05)
    heard.mark(100, 0.06)

    assert (heard.at(0.06), [*heard.after(0)], [*heard.unmarked()]) == (200.0, [], [])


def test_without_marks_the_memory_is_bounded() -> None:
    assert len([*sent(2 * UNCONFIRMED_MAX_FRAMES).after(0)]) == UNCONFIRMED_MAX_FRAMES
