"""The playout queue knows what the caller has heard, by the clock and by marks, and what sounds now."""

import math

import pytest

from tests.support.playouts import FRAME_S, fill, heard_ms, playout, run, silence, words


def test_heard_follows_the_clock_from_the_first_frame_and_stops_at_what_was_sent() -> None:
    queue = playout()
    fill(queue, words(10), 0.0)
    run(queue, 0.3)

    assert [heard_ms(queue, at) for at in (0.2, 0.25, 0.4, 9.0)] == [
        0.0,
        pytest.approx(50),
        queue.sent_ms,
        queue.sent_ms,
    ]


def test_a_mark_corrects_the_clock() -> None:
    queue = playout()
    fill(queue, words(20), 0.0)
    run(queue, 0.5)
    queue.mark_heard(100, 0.45)

    assert heard_ms(queue, 0.5) == pytest.approx(150)


@pytest.mark.parametrize("position_ms", [-1.0, -1e12, math.nan, -math.inf, 0.0])
def test_a_mark_cannot_take_back_what_a_mark_has_settled(position_ms: float) -> None:
    queue = playout()
    fill(queue, words(20), 0.0)
    run(queue, 0.5)
    queue.mark_heard(200, 0.45)
    queue.mark_heard(position_ms, 0.46)

    assert heard_ms(queue, 0.46) == pytest.approx(210)


@pytest.mark.parametrize("position_ms", [1e9, math.inf])
def test_a_mark_cannot_be_of_more_than_was_sent(position_ms: float) -> None:
    queue = playout()
    fill(queue, words(20), 0.0)
    run(queue, 0.3)
    queue.mark_heard(position_ms, 0.3)

    assert heard_ms(queue, 0.3) == queue.sent_ms


def test_a_mark_from_before_a_cut_changes_nothing() -> None:
    queue = playout()
    fill(queue, words(20), 0.0)
    run(queue, 0.5)
    queue.cut(0.5)
    queue.mark_heard(60, 0.55)

    assert heard_ms(queue, 0.55) == queue.sent_ms
    assert queue.left_ms(0.56) == 0


def test_marks_that_never_move_do_not_let_the_memory_grow() -> None:
    queue = playout(max_ms=1_000_000)
    fill(queue, words(10_000), 0.0)
    now = 0.2
    while queue.queued_ms:
        now += FRAME_S
        queue.mark_heard(0, now)
        queue.take(now)

    assert len(queue.cut(now).unheard) <= 3000


def test_audible_from_the_first_word_queued_until_the_last_was_heard() -> None:
    queue = playout()
    fill(queue, [*words(10), *[silence()] * 10], 0.0)

    assert queue.audible(0.0)
    run(queue, 9.0)
    assert [queue.audible(at) for at in (0.2, 0.39, 0.41)] == [True, True, False]


def test_a_mark_that_lags_keeps_the_assistant_audible() -> None:
    """The caller's side may hold audio when all here is gone and the clock says that it was played."""
    queue = playout()
    fill(queue, words(10), 0.0)
    run(queue, 9.0)
    assert not queue.audible(0.41)
    queue.mark_heard(100, 0.41)

    assert queue.audible(0.41)


@pytest.mark.parametrize("marks", [[], [100]])
def test_sound_lingers_until_its_mark_or_a_cut(marks: list[float]) -> None:
    """Also when no mark has ever come back."""
    queue = playout()
    fill(queue, [*words(10), *[silence()] * 10], 0.0)
    assert not queue.lingers, "nothing was sent"
    run(queue, 9.0)
    for position_ms in marks:
        queue.mark_heard(position_ms, 0.41)
    assert (queue.audible(60.0), queue.lingers) == (False, True)
    queue.mark_heard(200, 60.0)
    assert not queue.lingers, "what is left is silence"
    fill(queue, words(10), 61.0)
    run(queue, 70.0)
    queue.cut(70.0)

    assert not queue.lingers


def test_what_sounds_now_are_the_next_100_ms_of_what_is_on_its_way() -> None:
    queue = playout()
    fill(queue, words(20), 0.0)
    run(queue, 0.25)

    assert queue.sounding(0.25) == words(20)[2:7]
    run(queue, 10.0)
    assert queue.sounding(0.595) == words(20)[19:]
    assert queue.sounding(1.0) == []
