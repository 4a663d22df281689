"""The playout queue: its states, its schedule and its holes."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.logic.playback.frame import PlayFrame
from relay.logic.playback.playout import HOLE_MAX_S
from relay.media.frames import FRAME_MS
from tests.support.playouts import (
    FRAME_S,
    Told,
    backlog,
    fill,
    frame_at,
    playout,
    run,
    run_together,
    silence,
    word,
    words,
)

# -- the states


def test_detached_nothing_is_sent_however_long_it_waits() -> None:
    queue = playout(attach=False)
    fill(queue, words(20), 0.0)

    assert queue.next_send_at() is None
    assert queue.take(100.0) is None


def test_attached_with_a_full_buffer_it_plays_at_once() -> None:
    queue = playout(attach=False)
    fill(queue, words(10), 0.0)
    queue.attach(3.0)

    assert queue.next_send_at() == 3.0


def test_attached_with_less_it_fills_first() -> None:
    queue = playout(attach=False)
    fill(queue, words(9), 0.0)
    queue.attach(3.0)

    assert queue.next_send_at() == pytest.approx(3.2)


def test_silence_before_the_first_word_does_not_wait_for_the_caller() -> None:
    queue = playout(attach=False, max_ms=1000)
    assert {queue.add(silence(), 0.0) for _ in range(5000)} == {"trimmed"}
    fill(queue, [word(7), silence(), word(8)], 100.0)
    queue.attach(101.0)

    assert [frame.data for _, frame in run(queue, 200.0)] == [word(7).data, silence().data, word(8).data]


def test_empty_there_is_nothing_to_send() -> None:
    queue = playout()

    assert (queue.next_send_at(), queue.take(50.0), queue.audible(50.0)) == (None, None, False)


def test_filling_lasts_the_target_after_the_first_frame_whatever_else_comes() -> None:
    queue = playout()
    fill(queue, words(1), 5.0)
    fill(queue, words(100, 1), 5.1)

    assert queue.next_send_at() == pytest.approx(5.2)
    assert queue.take(5.199) is None
    assert frame_at(queue, 5.2) == word(0)


def test_playing_is_paced_by_an_absolute_schedule_with_the_lead() -> None:
    queue = playout()
    fill(queue, words(50), 0.0)
    sent = run(queue, 100.0)

    assert [at for at, _ in sent] == [pytest.approx(max(0.2, 0.2 + n * FRAME_S - 0.1)) for n in range(50)]


def test_run_dry_it_fills_again_to_what_the_stall_has_shown_to_be_needed_and_the_hole_is_counted_once() -> None:
    queue = playout()
    fill(queue, words(10), 0.0)
    run(queue, 1.0)
    fill(queue, words(10), 0.7)

    assert queue.next_send_at() == pytest.approx(1.1)
    run(queue, 2.0, told=(told := Told()))
    assert told.holes_ms == [pytest.approx((1.1 - 0.4) * 1000)]


def test_what_a_stall_held_up_and_brings_at_once_is_played_at_once() -> None:
    queue = playout()
    fill(queue, words(10), 0.0)
    run(queue, 1.0)
    fill(queue, words(25), 0.7)

    assert queue.next_send_at() == 0.7
    run(queue, 2.0, told=(told := Told()))
    assert told.holes_ms == [pytest.approx(300)]


def test_a_new_turn_that_comes_at_once_fills_the_buffer_all_the_same() -> None:
    queue = playout()
    fill(queue, words(10), 0.0)
    run(queue, 1.0)
    fill(queue, words(50), 5.0)

    assert queue.next_send_at() == pytest.approx(5.2)


def test_a_hole_while_the_assistant_is_not_connected_changes_no_target() -> None:
    queue = playout()
    fill(queue, words(10), 0.0)
    run(queue, 1.0)
    queue.outage()
    fill(queue, words(5), 0.7)

    assert queue.next_send_at() == pytest.approx(0.9), "filling takes 200 ms, as configured"
    run(queue, 2.0, told=(told := Told()))
    assert told.holes_ms == [pytest.approx(500)]


def test_a_frame_within_the_lead_comes_in_time_and_is_no_hole() -> None:
    queue = playout()
    fill(queue, words(10), 0.0)
    run(queue, 0.39)
    fill(queue, [word(10)], 0.399)

    assert queue.next_send_at() == pytest.approx(0.3)
    assert frame_at(queue, 0.399) == word(10)


@pytest.mark.parametrize("last", [silence(), word(9)], ids=["after silence", "after a second"])
def test_a_silence_between_sentences_is_no_hole(last: PlayFrame) -> None:
    queue = playout()
    fill(queue, [*words(9), last], 0.0)
    run(queue, 1.0)
    fill(queue, words(10), 0.5 if not last.audible else 0.41 + HOLE_MAX_S)
    run(queue, 10.0, told=(told := Told()))

    assert not told.holes_ms


def test_an_interruption_is_no_hole() -> None:
    queue = playout()
    fill(queue, words(10), 0.0)
    run(queue, 0.35)
    queue.cut(0.35)
    fill(queue, words(10, turn=2), 0.5)
    run(queue, 10.0, told=(told := Told()))

    assert not told.holes_ms


# -- the schedule


def test_an_hour_of_frames_does_not_drift() -> None:
    queue = playout()
    count = 3600 * 50
    sent_at, told = [], Told()
    for n in range(count):
        queue.add(word(n), n * FRAME_S)
        sent_at += [at for at, _ in run(queue, n * FRAME_S, told=told)]
    sent_at += [at for at, _ in run(queue, math.inf, told=told)]

    assert len(sent_at) == count
    assert sent_at[-1] == pytest.approx(0.2 + (count - 1) * FRAME_S - 0.1, abs=1e-6)
    assert not told.holes_ms


@pytest.mark.parametrize("lead_ms", [0, 20, 100])
def test_a_late_timer_moves_only_its_own_frame(lead_ms: float) -> None:
    """A loop that wakes up 0-15 ms late sends the last of 500 frames on schedule all the same."""
    queue = playout(lead_ms=lead_ms)
    fill(queue, words(500), 0.0)
    last = 0.0
    for n in range(500):
        at = queue.next_send_at()
        assert at is not None
        last = at + (n % 16) / 1000
        assert frame_at(queue, last) == word(n)

    assert last == pytest.approx(0.2 + 499 * FRAME_S - lead_ms / 1000, abs=0.016)


def test_a_loop_that_slept_for_long_is_a_hole_and_does_not_send_a_burst() -> None:
    queue = playout()
    fill(queue, words(100), 0.0)
    run(queue, 0.49)
    taken = queue.take(0.9)

    assert taken is not None
    assert taken.hole_ms == pytest.approx(300), "it was due at 0.6"
    after = [at for at, _ in run(queue, 0.9)]
    assert len(after) <= 6


@given(
    st.lists(st.tuples(st.integers(0, 120), st.integers(1, 8)), min_size=1, max_size=60),
    st.sampled_from([0, 60, 200]),
    st.sampled_from([20, 100, 300]),
)
def test_any_arrival_is_played_in_order_without_loss_and_never_further_ahead_than_the_lead(
    chunks: list[tuple[int, int]], target_ms: int, lead_ms: int
) -> None:
    queue = playout(target_ms=target_ms, lead_ms=lead_ms)
    now, n, sent = 0.0, 0, []
    for wait_ms, count in chunks:
        before, now = now, now + wait_ms / 1000
        sent += run(queue, now, before)
        fill(queue, words(count, n), now)
        n += count
    sent += run(queue, math.inf, now)

    assert [frame for _, frame in sent] == words(n)
    assert sent[0][0] == pytest.approx((chunks[0][0] + target_ms) / 1000)
    played_until = -math.inf
    for at, _ in sent:
        assert played_until - at <= lead_ms / 1000 + 1e-6
        played_until = max(played_until, at) + FRAME_S


@given(
    st.lists(st.tuples(st.integers(0, 120), st.integers(1, 8), st.integers(0, 1)), min_size=1, max_size=60),
    st.sampled_from([20, 100, 300]),
)
def test_frames_that_leave_together_are_of_one_turn_and_no_further_ahead_than_the_lead_and_one_frame(
    chunks: list[tuple[int, int, int]], lead_ms: int
) -> None:
    """Nor is anything sent later than by itself, or in another order."""
    alone, queue = playout(lead_ms=lead_ms), playout(lead_ms=lead_ms)
    now, turn, sent, plain = 0.0, 1, [], []
    frames: list[PlayFrame] = []
    for wait_ms, count, next_turn in chunks:
        now, turn = now + wait_ms / 1000, turn + next_turn
        sent += run_together(queue, now)
        plain += run(alone, now)
        added = words(count, len(frames), turn)
        fill(queue, added, now)
        fill(alone, added, now)
        frames += added
    sent += run_together(queue, math.inf)
    plain += run(alone, math.inf)

    assert [frame for _, together in sent for frame in together] == frames == [frame for _, frame in plain]
    at_alone = dict(zip((frame.data for frame in frames), (at for at, _ in plain), strict=True))
    played_until = -math.inf
    for at, together in sent:
        assert len({frame.turn for frame in together}) == 1
        for frame in together:
            assert played_until - at <= (lead_ms + FRAME_MS * (frame is not together[0])) / 1000 + 1e-6
            assert at <= at_alone[frame.data] + 1e-6
            played_until = max(played_until, at) + FRAME_S


def test_a_frame_may_be_taken_ahead_of_its_time_only_while_playback_goes_on() -> None:
    queue = playout()
    fill(queue, words(20), 0.0)
    begins_at = queue.next_send_at()
    assert begins_at is not None
    assert queue.take(begins_at - 0.01, ahead_s=0.02) is None, "nothing plays yet, and the buffer is to be full"
    while (at := queue.next_send_at()) is not None and at <= begins_at:
        queue.take(at)
    assert at is not None
    assert queue.take(at - 0.021, ahead_s=0.02) is None
    assert queue.take(at - 0.019) is None
    assert queue.take(at - 0.019, ahead_s=0.02) is not None
    assert queue.next_send_at() == pytest.approx(at + FRAME_S), "the frames that follow keep their times"


def test_a_frame_that_is_taken_along_leaves_out_no_less_of_a_pause() -> None:
    queue, told = playout(), 0
    fill(queue, backlog(60), 0.0)
    got: list[PlayFrame] = []
    while (at := queue.next_send_at()) is not None:
        first = queue.take(at)
        assert first is not None
        second = queue.take_along(first.frame)
        got += [taken.frame for taken in (first, second) if taken is not None]
        told += sum(taken.trimmed for taken in (first, second) if taken is not None)

    assert [frame for frame in got if frame.audible] == words(80)
    assert told == 60 - sum(not frame.audible for frame in got) == 45


@given(st.lists(st.integers(0, 180), min_size=50, max_size=400), st.integers(1, 5))
def test_jitter_below_the_target_never_changes_a_byte_nor_the_time_of_one(late_ms: list[int], chunk: int) -> None:
    """No trimming and no other target without a measured backlog or an underrun."""
    queue = playout(lead_ms=20)
    frames = [word(n) if n % 70 < 40 else silence() for n in range(len(late_ms) * chunk)]
    sent: list[tuple[float, PlayFrame]] = []
    told, now = Told(), 0.0
    for n, late in enumerate([0, *late_ms[1:]]):
        before, now = now, max(now, n * chunk * FRAME_S + late / 1000)
        sent += run(queue, now, before, told)
        fill(queue, frames[n * chunk : (n + 1) * chunk], now)
    sent += run(queue, math.inf, now, told)

    assert [frame for _, frame in sent] == frames
    assert [at for at, _ in sent[1:]] == [pytest.approx(0.2 + n * FRAME_S - 0.02) for n in range(1, len(frames))]
    assert (told.trimmed, told.holes_ms) == (0, [])
