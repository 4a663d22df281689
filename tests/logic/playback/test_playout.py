"""The playout queue: order, schedule, holes, backlog, what was heard, and cuts."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from relay.logic.pause_rule import BEFORE_WORD_FRAMES, BEHIND_WORD_FRAMES
from relay.logic.playback.frame import PlayFrame
from relay.logic.playback.jitter import LEAST_MS
from relay.logic.playback.playout import HOLE_MAX_S, Playout, Taken
from relay.media.frames import FRAME_MS

FRAME_S = 0.02


def word(n: int = 0, turn: int = 1) -> PlayFrame:
    return PlayFrame(turn, n.to_bytes(4), audible=True)


def silence(turn: int = 1) -> PlayFrame:
    return PlayFrame(turn, b"....", audible=False)


def words(count: int, first: int = 0, turn: int = 1) -> list[PlayFrame]:
    return [word(first + n, turn) for n in range(count)]


def playout(*, target_ms: float = 200, lead_ms: float = 100, max_ms: float = 30_000, attach: bool = True) -> Playout:
    result = Playout(target_ms=target_ms, lead_ms=lead_ms, max_ms=max_ms)
    if attach:
        result.attach(0.0)
    return result


def fill(queue: Playout, frames: Iterable[PlayFrame], now: float) -> None:
    for frame in frames:
        assert queue.add(frame, now) in {None, "trimmed"}


@dataclass
class Told:
    """What the queue said with the frames that it gave."""

    trimmed: int = 0
    holes_ms: list[float] = field(default_factory=list)


def run(
    queue: Playout, until: float, now: float = -math.inf, told: Told | None = None
) -> list[tuple[float, PlayFrame]]:
    """All that is sent from now until then, each at the very moment that was asked for, or at once if that is over."""
    told = told or Told()
    sent = []
    while (at := queue.next_send_at()) is not None and at <= until:
        now = max(now, at)
        taken = queue.take(now)
        assert taken is not None
        told.trimmed += taken.trimmed
        told.holes_ms += [] if taken.hole_ms is None else [taken.hole_ms]
        sent.append((now, taken.frame))
    return sent


def run_together(queue: Playout, until: float) -> list[tuple[float, list[PlayFrame]]]:
    """As `run`, two frames at a time where that may be."""
    sent = []
    while (at := queue.next_send_at()) is not None and at <= until:
        taken = queue.take(at)
        assert taken is not None
        along = queue.take_along(taken.frame)
        sent.append((at, [taken.frame] if along is None else [taken.frame, along.frame]))
    return sent


def frame_at(queue: Playout, now: float) -> PlayFrame:
    taken = queue.take(now)
    assert taken is not None
    assert taken.hole_ms is None
    return taken.frame


def heard_ms(queue: Playout, now: float) -> float:
    """The position that the caller has heard."""
    return queue.sent_ms - (queue.left_ms(now) - queue.queued_ms)


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
    queue.cut(1, 0.35)
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


# -- the backlog


def backlog(pause_frames: int, speech_frames: int = 40) -> list[PlayFrame]:
    return [*words(speech_frames), *[silence()] * pause_frames, *words(speech_frames, speech_frames)]


@pytest.mark.parametrize(("pause_frames", "kept"), [(14, 14), (15, 15), (16, 15), (17, 15), (60, 15)])
def test_with_a_backlog_a_pause_over_300_ms_is_shortened_to_300_ms(pause_frames: int, kept: int) -> None:
    queue, told = playout(), Told()
    fill(queue, backlog(pause_frames), 0.0)
    sent = [frame for _, frame in run(queue, math.inf, told=told)]

    assert sum(not frame.audible for frame in sent) == kept
    assert [frame for frame in sent if frame.audible] == words(80)
    assert told.trimmed == pause_frames - kept


def test_without_a_backlog_a_pause_is_left_alone() -> None:
    queue = playout()
    sent: list[PlayFrame] = []
    for n, frame in enumerate([*words(20), *[silence()] * 60, *words(20)]):
        queue.add(frame, n * FRAME_S)
        sent += [frame for _, frame in run(queue, n * FRAME_S)]
    sent += [frame for _, frame in run(queue, math.inf)]

    assert len(sent) == 100


@pytest.mark.parametrize("stall_ms", [0, 31, 100, 160, 200, 390])
def test_what_a_stall_of_our_own_delays_is_caught_up_in_the_next_pause_and_is_no_jitter(stall_ms: int) -> None:
    """Frames come every 20 ms; nothing is received or sent while we stand still."""
    queue, told = playout(), Told()
    frames = [*words(100), *[silence()] * 60, *words(100, 100)]
    began, over = 1.0, 1.0 + stall_ms / 1000
    waiting_ms: list[int] = []
    for number, frame in enumerate(frames):
        came_at = number * FRAME_S
        now = over if began <= came_at < over else came_at
        run(queue, min(came_at, began) if came_at < over else came_at, told=told)
        fill(queue, [frame], now)
        run(queue, now, now, told)
        waiting_ms.append(queue.queued_ms)

    assert queue.target_ms == 200
    assert waiting_ms[95] == pytest.approx(120 + max(0, stall_ms - 100), abs=10)
    assert max(waiting_ms[45], waiting_ms[-1]) <= 140


@pytest.mark.parametrize("paused_ms", [20, 60, 160, 260, 400])
def test_what_a_suspicion_that_was_taken_back_delays_is_caught_up_in_the_next_pause_of_the_words(
    paused_ms: int,
) -> None:
    """Frames come every 20 ms; nothing is sent while playback is paused."""
    queue = playout()
    began, over = 50, 50 + paused_ms // 20
    waiting_ms: list[int] = []
    for number, frame in enumerate([*words(100), *[silence()] * 60, *words(100, 100)]):
        now = number * FRAME_S
        if number == began:
            queue.pause()
        if number == over:
            queue.resume(now)
        fill(queue, [frame], now)
        run(queue, now, now)
        waiting_ms.append(queue.queued_ms)

    assert waiting_ms[95] == pytest.approx(120 + max(0, paused_ms - 100), abs=20)
    assert max(waiting_ms[45], waiting_ms[-1]) <= 140


@given(
    st.lists(st.tuples(st.booleans(), st.integers(1, 60)), min_size=1, max_size=30),
    st.sampled_from([0, 100, 200, 400]),
    st.integers(1, 40),
)
def test_trimming_takes_only_silence_of_long_pauses_and_leaves_the_target(
    runs: list[tuple[bool, int]], target_ms: int, chunk: int
) -> None:
    frames: list[PlayFrame] = []
    for audible, count in runs:
        frames += words(count, len(frames)) if audible else [silence()] * count
    queue = playout(target_ms=target_ms)
    sent: list[PlayFrame] = []
    trimmed, trimmed_to = 0, math.inf
    for start in range(0, len(frames), chunk):
        now = start * FRAME_S / 2
        fill(queue, frames[start : start + chunk], now)
        while (at := queue.next_send_at()) is not None and at <= now:
            taken = queue.take(at)
            assert taken is not None
            sent.append(taken.frame)
            if taken.trimmed:
                trimmed += taken.trimmed
                trimmed_to = min(trimmed_to, queue.queued_ms + 20)
    told = Told()
    sent += [frame for _, frame in run(queue, math.inf, told=told)]
    trimmed += told.trimmed

    assert trimmed_to >= min(target_ms, LEAST_MS)
    assert [frame for frame in sent if frame.audible] == [frame for frame in frames if frame.audible]
    assert len(sent) + trimmed == len(frames)
    short = [count for audible, count in runs if not audible]
    if len(runs) == 1 or all(count * 20 <= 300 for count in merged_pauses(runs)):
        assert trimmed <= max(0, sum(short) - BEFORE_WORD_FRAMES) * (len(runs) == 1)


def merged_pauses(runs: list[tuple[bool, int]]) -> list[int]:
    """Frames of each pause; the one at the beginning is long, as nothing came before it."""
    pauses = [BEHIND_WORD_FRAMES * 2]
    for audible, count in runs:
        if audible:
            pauses.append(0)
        else:
            pauses[-1] += count
    return [count for count in pauses if count] if not runs[0][0] else pauses[1:]


def test_a_burst_of_30_s_is_kept_and_played_in_order() -> None:
    queue = playout()
    fill(queue, words(1500), 0.0)
    sent = run(queue, math.inf)

    assert [frame for _, frame in sent] == words(1500)
    assert sent[-1][0] == pytest.approx(0.2 + 1499 * FRAME_S - 0.1, abs=1e-6)


def test_what_does_not_fit_is_dropped_and_said() -> None:
    queue = playout(max_ms=1000)

    assert [queue.add(word(n), 0.0) for n in range(60)] == [None] * 50 + ["overflow"] * 10
    assert [frame for _, frame in run(queue, math.inf)] == words(50)


# -- what was heard


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
    queue.cut(1, 0.5)
    queue.mark_heard(60, 0.55)

    assert heard_ms(queue, 0.55) == queue.sent_ms
    assert queue.cut(1, 0.56).flushed_ms == 0


def test_marks_that_never_move_do_not_let_the_memory_grow() -> None:
    queue = playout(max_ms=1_000_000)
    fill(queue, words(10_000), 0.0)
    now = 0.2
    while queue.queued_ms:
        now += FRAME_S
        queue.mark_heard(0, now)
        queue.take(now)

    assert len(queue.cut(1, now).unheard) <= 3000


# -- audible, cut, put back


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
    queue.cut(1, 70.0)

    assert not queue.lingers


def test_a_cut_gives_back_what_was_not_heard_and_says_how_much_was() -> None:
    queue = playout()
    fill(queue, words(50), 0.0)
    run(queue, 0.43)
    cut = queue.cut(1, 0.43)

    assert cut.heard_ms == pytest.approx(230)
    assert cut.flushed_ms == pytest.approx(1000 - 230)
    assert list(cut.unheard) == words(39, 11)
    assert (queue.next_send_at(), queue.audible(0.43), queue.queued_ms) == (None, False, 0)


def test_a_frame_that_was_heard_to_its_end_is_not_given_back() -> None:
    queue = playout()
    fill(queue, words(50), 0.0)
    run(queue, 0.43)
    queue.mark_heard(240, 0.43)

    assert queue.cut(1, 0.43).unheard[0] == word(12)


def test_the_heard_time_is_that_of_the_turn_asked_for() -> None:
    queue = playout()
    fill(queue, [*words(10, turn=1), *words(20, 10, turn=2)], 0.0)
    run(queue, 0.5)

    assert queue.cut(2, 0.5).heard_ms == pytest.approx(100)


def test_a_turn_begins_with_its_first_word() -> None:
    queue = playout()
    fill(queue, [*words(10, turn=1), *[silence(turn=2)] * 5, *words(20, 10, turn=2)], 0.0)
    run(queue, 0.6)

    assert queue.cut(2, 0.6).heard_ms == pytest.approx(100)


def test_of_a_turn_that_was_not_sent_nothing_was_heard() -> None:
    queue = playout()
    fill(queue, words(10), 0.0)

    assert queue.cut(1, 0.1).heard_ms == 0
    assert queue.cut(7, 0.1).heard_ms == 0


def test_after_a_cut_the_next_words_fill_the_buffer_first() -> None:
    queue = playout()
    fill(queue, words(50), 0.0)
    run(queue, 0.5)
    queue.cut(1, 0.5)
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


# -- the target


def test_after_a_stall_the_target_comes_down_again_in_pauses_and_the_delay_goes_with_it() -> None:
    """One stall of half a second, then a minute of sentences and pauses as the assistant sends them in real time."""
    queue, told = playout(), Told()
    speech = [*words(100), *[silence()] * 50] * 20
    sent: list[PlayFrame] = []
    now = 0.0
    for n, frame in enumerate(speech):
        before, now = now, n * FRAME_S + (0.5 if n >= 60 else 0.0)
        sent += [frame for _, frame in run(queue, now, before, told)]
        queue.add(frame, now)
        if n == 120:
            assert queue.queued_ms >= 280, "400 ms are collected, of which 100 are sent ahead"
    assert queue.queued_ms <= 220
    sent += [frame for _, frame in run(queue, math.inf, told=told)]
    fill(queue, [word()], now + 10)
    assert queue.next_send_at() == pytest.approx(now + 10.2), "what is collected is 200 ms again"

    assert [frame for frame in sent if frame.audible] == [frame for frame in speech if frame.audible]
    assert len(told.holes_ms) == 1


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

    assert queue.cut(1, 1.2).heard_ms == pytest.approx(200 + 15 * 20 - 100)


def test_the_time_without_a_socket_is_no_hole() -> None:
    queue = playout()
    fill(queue, words(50), 0.0)
    run(queue, 0.5)
    queue.detach(0.5)
    queue.attach(0.9)
    run(queue, 9.0, told=(told := Told()))

    assert not told.holes_ms


class PlayoutUnderAnyInterleaving(RuleBasedStateMachine):
    """A queue as model: whatever happens, frames come out once, in order, and none after the cut that took it."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = playout(attach=False, max_ms=2000)
        self.waiting: list[PlayFrame] = []
        self.flying: list[PlayFrame] = []
        self.cut_away: list[PlayFrame] = []
        self.now = 0.0
        self.count = 0
        self.turn = 1
        self.heard = 0.0
        self.left_out = self.told_left_out = 0

    def sees(self, taken: Taken) -> None:
        while self.waiting and self.waiting[0] != taken.frame:
            assert not self.waiting.pop(0).audible, "only silence may be left out"
            self.left_out += 1
        assert self.waiting
        self.flying.append(self.waiting.pop(0))
        self.told_left_out += taken.trimmed
        assert self.told_left_out == self.left_out

    @rule(count=st.integers(1, 40), audible=st.booleans())
    def add(self, count: int, audible: bool) -> None:
        for _ in range(count):
            self.count += 1
            frame = PlayFrame(self.turn, self.count.to_bytes(4), audible)
            full = self.queue.queued_ms >= 2000
            before = self.queue.queued_ms
            dropped = self.queue.add(frame, self.now)
            assert dropped == "overflow" if full and audible else dropped in {None, "trimmed", "overflow"}
            if self.queue.queued_ms > before:
                assert dropped is None
                self.waiting.append(frame)

    @rule(step_ms=st.integers(1, 700), late_ms=st.integers(0, 50), along=st.integers(0, 3))
    def pass_time(self, step_ms: int, late_ms: int, along: int) -> None:
        until = self.now + step_ms / 1000
        while (at := self.queue.next_send_at()) is not None and at <= until:
            self.now = max(self.now, at + late_ms / 1000)
            first = self.queue.take(self.now)
            assert first is not None
            self.sees(first)
            for _ in range(along):
                if (taken := self.queue.take_along(first.frame)) is not None:
                    assert taken.frame.turn == first.frame.turn
                    self.sees(taken)
        self.now = max(self.now, until)

    @rule()
    def begin_turn(self) -> None:
        self.turn += 1

    @rule(pause=st.booleans())
    def pause_or_resume(self, *, pause: bool) -> None:
        if pause:
            self.queue.pause()
        else:
            self.queue.resume(self.now)

    @rule()
    def attach(self) -> None:
        self.queue.attach(self.now)

    @rule()
    def detach(self) -> None:
        again_ms = self.queue.detach(self.now)
        again = self.flying[len(self.flying) - round(again_ms / 20) :]
        self.flying = self.flying[: len(self.flying) - len(again)]
        self.waiting = again + self.waiting
        assert self.queue.next_send_at() is None
        self.heard = heard_ms(self.queue, self.now)

    @rule(position_ms=st.floats(-1000, 20_000))
    def mark(self, position_ms: float) -> None:
        self.queue.mark_heard(position_ms, self.now)
        self.heard = heard_ms(self.queue, self.now)

    @rule()
    def cut(self) -> None:
        queued = self.queue.queued_ms // FRAME_MS
        cut = self.queue.cut(self.turn, self.now)
        unheard = list(cut.unheard)
        tail = unheard[: len(unheard) - queued]
        self.left_out += len(self.waiting) - queued
        assert [frame for frame in unheard[len(tail) :] if frame.audible] == [f for f in self.waiting if f.audible]
        assert tail == self.flying[len(self.flying) - len(tail) :]
        assert cut.flushed_ms >= 0
        assert cut.heard_ms >= 0
        self.cut_away = unheard
        self.waiting, self.flying = [], []
        self.turn += 1
        self.heard = heard_ms(self.queue, self.now)

    @precondition(lambda self: self.cut_away)
    @rule()
    def put_back(self) -> None:
        frames = [PlayFrame(self.turn, frame.data, frame.audible) for frame in self.cut_away]
        self.queue.put_back(frames, self.now)
        self.waiting = frames + self.waiting
        self.cut_away = []

    @invariant()
    def heard_is_monotone_and_not_more_than_sent(self) -> None:
        heard = heard_ms(self.queue, self.now)
        assert self.heard - 1e-6 <= heard <= self.queue.sent_ms
        self.heard = heard

    @invariant()
    def queue_length_is_told(self) -> None:
        assert self.queue.queued_ms <= len(self.waiting) * 20


TestPlayoutUnderAnyInterleaving = PlayoutUnderAnyInterleaving.TestCase
TestPlayoutUnderAnyInterleaving.settings = settings(stateful_step_count=40)


def test_what_sounds_now_are_the_next_100_ms_of_what_is_on_its_way() -> None:
    queue = playout()
    fill(queue, words(20), 0.0)
    run(queue, 0.25)

    assert queue.sounding(0.25) == words(20)[2:7]
    run(queue, 10.0)
    assert queue.sounding(0.595) == words(20)[19:]
    assert queue.sounding(1.0) == []
