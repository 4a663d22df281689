"""The playout queue when too much waits: pauses are shortened, and the target comes down again."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.logic.pause_rule import BEFORE_WORD_FRAMES, BEHIND_WORD_FRAMES
from relay.logic.playback.frame import PlayFrame
from relay.logic.playback.jitter import LEAST_MS
from tests.support.playouts import FRAME_S, Told, backlog, fill, playout, run, silence, word, words


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
