"""The position heard follows marks and the clock, and the frames behind it are known."""

from collections.abc import Iterable

import pytest

from relay.logic.playback.frame import PlayFrame
from relay.logic.playback.heard import UNCONFIRMED_MAX_FRAMES, HeardPosition


def frame(n: int, turn: int = 1, *, audible: bool = True) -> PlayFrame:
    return PlayFrame(turn, n.to_bytes(4), audible)


def sent(count: int, at: float = 0.0, *, recent_frames: int = 0) -> HeardPosition:
    heard = HeardPosition(recent_frames)
    heard.restart(at)
    for n in range(count):
        heard.sent(frame(n))
    return heard


def numbers(frames: Iterable[PlayFrame]) -> list[int]:
    return [int.from_bytes(frame.data) for frame in frames]


def test_between_marks_the_clock_tells_and_never_more_than_was_sent() -> None:
    heard = sent(10, at=5.0)

    assert [heard.at(at) for at in (5.0, 5.1, 9.0)] == [0.0, pytest.approx(100), 200.0]


def test_a_mark_settles_what_is_before_it() -> None:
    heard = sent(10)
    heard.mark(100, 0.3)

    assert heard.at(0.32) == pytest.approx(120)
    assert numbers(heard.after(0)) == [9, 8, 7, 6, 5]
    heard.mark(60, 0.4)
    assert heard.at(0.4) == pytest.approx(200), "an older mark changes nothing"


def test_what_marks_have_not_confirmed_is_taken_back_and_the_clock_tells_only_where_there_are_none() -> None:
    assert numbers(sent(10).take_back(0.1)) == [9, 8, 7, 6, 5]
    heard = sent(10)
    heard.mark(40, 0.1)

    assert numbers(heard.take_back(9.0)) == [9, 8, 7, 6, 5, 4, 3, 2]
    assert numbers(heard.unmarked()) == []


def test_the_heard_time_of_a_turn_begins_with_its_first_sound() -> None:
    heard = sent(5)
    for n in range(5):
        heard.sent(frame(n, 2, audible=False))
    for n in range(5):
        heard.sent(frame(n, 2))

    assert [heard.of_turn(2, at) for at in (0.1, 0.25, 9.0)] == [0.0, pytest.approx(50), pytest.approx(100)]
    assert heard.of_turn(1, 9.0) == 0.0, "an older turn is over"


def test_of_a_turn_that_is_taken_back_whole_nothing_counts_as_heard_before_it_is_sent_again() -> None:
    heard = sent(10)
    again = heard.take_back(0.1)
    heard.restart(1.0)
    for one in reversed(again):
        heard.sent(one)

    assert heard.of_turn(1, 1.0) == pytest.approx(100), "what was confirmed before stays heard"
    assert heard.of_turn(1, 9.0) == pytest.approx(200)


@pytest.mark.parametrize(("position_ms", "frames"), [(0, [2, 1, 0]), (19.9, [2, 1, 0]), (20, [2, 1]), (60, [])])
def test_a_frame_that_was_heard_in_part_is_after_the_position(position_ms: float, frames: list[int]) -> None:
    assert numbers(sent(3).after(position_ms)) == frames


def test_what_no_mark_has_returned_may_still_be_on_its_way_whatever_the_clock_says() -> None:
    heard = sent(4)
    assert numbers(heard.unmarked()) == [3, 2, 1, 0]
    heard.mark(40, 0.1)
    assert numbers(heard.unmarked()) == [3, 2]
    heard.mark(80, 9.0)

    assert numbers(heard.unmarked()) == []


def test_what_is_settled_will_not_be_heard() -> None:
    heard = sent(10)
    heard.settle(0.05)
    heard.mark(100, 0.06)

    assert (heard.at(0.06), numbers(heard.after(0)), numbers(heard.unmarked())) == (200.0, [], [])


def test_without_marks_the_memory_is_bounded() -> None:
    assert len([*sent(2 * UNCONFIRMED_MAX_FRAMES).after(0)]) == UNCONFIRMED_MAX_FRAMES


def test_what_was_just_heard_is_known_as_far_back_as_it_is_kept() -> None:
    heard = sent(10, recent_frames=6)

    assert numbers(heard.just_heard(3, 1, 0.15)) == [4, 5, 6]
    assert numbers(heard.just_heard(9, 1, 0.15)) == [4, 5, 6], "frames before 4 are not kept"
    assert numbers(heard.just_heard(0, 1, 0.15)) == []


def test_what_was_just_heard_is_of_one_turn() -> None:
    heard = sent(3, recent_frames=10)
    heard.sent(frame(3, turn=2))

    assert numbers(heard.just_heard(3, 2, 9.0)) == [3]
    assert numbers(heard.just_heard(3, 3, 9.0)) == []


def test_what_was_flushed_is_not_taken_for_heard_later() -> None:
    heard = sent(10, recent_frames=20)
    heard.settle(0.1)
    heard.sent(frame(10))

    assert numbers(heard.just_heard(3, 1, 9.0)) == [3, 4, 10]


def test_what_is_taken_back_was_not_heard() -> None:
    heard = sent(10, recent_frames=20)
    heard.mark(40, 0.1)
    heard.take_back(9.0)

    assert numbers(heard.just_heard(3, 1, 9.0)) == []
