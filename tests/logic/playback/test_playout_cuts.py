"""The playout queue gives back what was not heard: at a cut, and when the caller's socket drops."""

import pytest

from relay.logic.playback.playout import EARLY_MS, Playout
from tests.support.playouts import Told, fill, playout, run, silence, word, words


def test_a_cut_gives_back_what_was_not_heard_and_says_how_much_was() -> None:
    queue = playout()
    fill(queue, words(50), 0.0)
    run(queue, 0.43)

    assert queue.heard_ms(1, 0.43) == pytest.approx(230)
    assert queue.left_ms(0.43) == pytest.approx(1000 - 230)
    cut = queue.cut(0.43)
    assert list(cut.unheard) == words(39, 11)
    assert (queue.next_send_at(), queue.audible(0.43), queue.queued_ms) == (None, False, 0)


def test_a_frame_that_was_heard_to_its_end_is_not_given_back() -> None:
    queue = playout()
    fill(queue, words(50), 0.0)
    run(queue, 0.43)
    queue.mark_heard(240, 0.43)

    assert queue.cut(0.43).unheard[0] == word(12)


def test_the_heard_time_is_that_of_the_turn_asked_for() -> None:
    queue = playout()
    fill(queue, [*words(10, turn=1), *words(20, 10, turn=2)], 0.0)
    run(queue, 0.5)

    assert queue.heard_ms(2, 0.5) == pytest.approx(100)


def test_a_turn_begins_with_its_first_word() -> None:
    queue = playout()
    fill(queue, [*words(10, turn=1), *[silence(turn=2)] * 5, *words(20, 10, turn=2)], 0.0)
    run(queue, 0.6)

    assert queue.heard_ms(2, 0.6) == pytest.approx(100)


@pytest.mark.parametrize("early", [0, 1, 3, 5])
def test_as_much_as_was_asked_for_is_given_back_of_what_was_heard_however_early_frames_are_sent(early: int) -> None:
    """So many go along with each, which itself leaves 25 ms early."""
    queue = Playout(target_ms=200, lead_ms=100, max_ms=30_000, before_ms=400)
    queue.attach(0.0)
    fill(queue, words(200), 0.0)
    now = 0.0
    while now < 2.0:
        now += 0.005
        while taken := queue.take(now, ahead_s=EARLY_MS / 1000 - 0.08 if early else 0.0):
            for _ in range(early - 1):
                queue.take_along(taken.frame)
    cut = queue.cut(now)

    assert len(cut.before) == 20
    assert [*cut.before, *cut.unheard] == words(200)[-len(cut.before) - len(cut.unheard) :]


def test_of_a_turn_that_was_not_sent_nothing_was_heard() -> None:
    queue = playout()
    fill(queue, words(10), 0.0)

    assert queue.heard_ms(1, 0.1) == 0
    assert queue.heard_ms(7, 0.1) == 0


def test_after_a_cut_the_next_words_fill_the_buffer_first() -> None:
    queue = playout()
    fill(queue, words(50), 0.0)
    run(queue, 0.5)
    queue.cut(0.5)
    fill(queue, words(10, turn=2), 1.0)

    assert queue.next_send_at() == pytest.approx(1.2)


def test_what_is_put_back_plays_before_all_else_and_at_once() -> None:
    queue = playout()
    fill(queue, words(5, 100), 1.0)
    queue.put_back(words(5), 1.05)

    assert queue.next_send_at() == 1.05
    assert [frame for _, frame in run(queue, 5.0)] == [*words(5), *words(5, 100)]


def test_nothing_put_back_changes_nothing() -> None:
    queue = playout()
    fill(queue, words(5), 1.0)
    queue.put_back([], 1.05)

    assert queue.next_send_at() == pytest.approx(1.2)


def test_what_is_put_back_before_the_caller_can_hear_waits_for_it() -> None:
    queue = playout(attach=False)
    queue.put_back(words(20), 1.0)

    assert queue.take(5.0) is None
    queue.attach(6.0)
    assert queue.next_send_at() == 6.0
    assert [frame for _, frame in run(queue, 9.0)] == words(20)


# -- the caller's socket drops


def test_detached_what_no_mark_has_confirmed_is_played_again_before_all_else() -> None:
    queue = playout()
    fill(queue, words(50), 0.0)
    run(queue, 0.5)
    queue.mark_heard(200, 0.45)

    assert queue.detach(3.0) == pytest.approx(queue.sent_ms - 200)
    assert (queue.next_send_at(), queue.take(9.0)) == (None, None)
    queue.attach(9.0)
    assert [frame for _, frame in run(queue, 20.0)] == words(40, 10)


def test_detached_without_any_mark_the_clock_says_what_was_heard() -> None:
    queue = playout()
    fill(queue, words(50), 0.0)
    run(queue, 0.43)

    assert queue.detach(0.43) == pytest.approx(queue.sent_ms - 220)
    queue.attach(1.0)
    assert [frame for _, frame in run(queue, 20.0)] == words(39, 11)


def test_marks_of_the_old_socket_come_too_late_to_matter() -> None:
    queue = playout()
    fill(queue, words(50), 0.0)
    run(queue, 0.5)
    queue.mark_heard(200, 0.45)
    queue.detach(0.5)
    queue.mark_heard(300, 0.6)
    queue.attach(1.0)

    assert [frame for _, frame in run(queue, 20.0)] == words(40, 10)


def test_what_is_played_again_does_not_count_as_heard_twice() -> None:
    queue = playout()
    fill(queue, words(50), 0.0)
    run(queue, 0.5)
    queue.mark_heard(200, 0.45)
    queue.detach(0.5)
    queue.attach(1.0)
    run(queue, 1.2)
    queue.mark_heard(queue.sent_ms - 100, 1.2)

    assert queue.heard_ms(1, 1.2) == pytest.approx(200 + 15 * 20 - 100)


def test_the_time_without_a_socket_is_no_hole() -> None:
    queue = playout()
    fill(queue, words(50), 0.0)
    run(queue, 0.5)
    queue.detach(0.5)
    queue.attach(0.9)
    run(queue, 9.0, told=(told := Told()))

    assert not told.holes_ms
