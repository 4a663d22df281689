"""What the fence lets through at its deadline: a false alarm, a new turn, or nothing."""

from collections.abc import Callable

import pytest

from relay.logic.playback.fence import Fence, FenceState
from relay.logic.playback.ruling import Ruling, Verdict
from tests.support.fence_line import FLUSHED, OLD_OVER_S, RULES, Line, heard, holding, verdict


def test_sounding_on_without_a_pause_is_a_false_alarm_and_all_plays_again() -> None:
    line = holding()
    line.sound(OLD_OVER_S - 0.01)
    assert verdict(line) is None
    line.sound(0.04)

    assert verdict(line) is Verdict.FALSE_ALARM
    assert heard(line)[:3] == [b"unheard 1", b"unheard 2", b"151s"]
    assert line.opened is not None
    assert {frame.turn for frame in line.opened.frames} == {2}
    assert (line.opened.dropped, line.opened.clean) == (0, False)
    assert [frame.audible for frame in line.opened.frames[:3]] == [True, False, True]


def test_sentences_with_pauses_are_a_false_alarm_too() -> None:
    line = holding()
    for _ in range(2):
        line.sound(0.3)
        line.silence(0.54)
    line.sound(0.8)

    assert verdict(line) is Verdict.FALSE_ALARM


def test_a_short_pause_where_the_old_turn_has_to_end_makes_what_follows_new() -> None:
    """The assistant agrees without a word: it talks on for 2 s, is silent for 0.3 s, and begins to answer."""
    line = holding()
    line.sound(2.0)
    line.silence(0.3)
    first_new = line.count + 1
    line.sound(0.1)

    assert verdict(line) is Verdict.NEW_TURN
    assert heard(line)[0] == f"{first_new}s".encode()


def test_a_pause_of_600_ms_and_sound_at_the_deadline_is_a_new_turn_of_which_nothing_is_lost() -> None:
    line = holding()
    line.sound(0.5)
    line.silence(0.6)
    first_new = line.count + 1
    line.sound(0.4)
    line.silence(0.3)
    line.sound(1.0)

    assert verdict(line) is Verdict.NEW_TURN
    assert heard(line)[0] == f"{first_new}s".encode()


def test_stopped_and_sounding_at_the_deadline_is_a_new_turn_from_the_last_pause() -> None:
    line = holding()
    line.sound(0.3)
    line.fence.assistant_stopped()
    line.sound(0.3)
    line.silence(0.3)
    first_new = line.count + 1
    line.sound(1.5)

    assert verdict(line) is Verdict.NEW_TURN
    assert heard(line)[0] == f"{first_new}s".encode()


@pytest.mark.parametrize("runs_on_s", [0.0, 0.5, 1.0, 2.0])
def test_silent_at_the_deadline_what_was_held_is_dropped(runs_on_s: float) -> None:
    line = holding()
    line.sound(runs_on_s)
    line.silence(2.4 - runs_on_s)
    assert verdict(line) is None
    line.apply(line.fence.expire(line.now))

    assert line.opened == Ruling((), Verdict.EXPIRED, dropped=120, clean=True)


def test_what_came_faster_than_real_time_is_not_lost_to_a_false_alarm() -> None:
    """A burst of ten seconds: the assistant has nothing to send for a while, and its silence says nothing."""
    line = Line()
    for n in range(500):
        line.fence.offer(b"%d" % n, audible=True, now=line.now)
    line.wait(2.0)
    line.cut()
    line.wait(RULES.false_alarm_s)
    line.apply(line.fence.expire(line.now))

    assert verdict(line) is Verdict.FALSE_ALARM
    assert heard(line) == [frame.data for frame in FLUSHED]
    assert line.fence.turn == 2
    line.wait(8.0)
    line.sound(0.1)
    assert line.fence.turn == 3


@pytest.mark.parametrize(
    "agrees", [lambda f: f.confirm(101.0), lambda f: f.assistant_stopped()], ids=["interrupted", "stopped"]
)
def test_what_came_faster_than_real_time_is_dropped_if_the_assistant_agrees(agrees: Callable[[Fence], None]) -> None:
    line = Line()
    for n in range(500):
        line.fence.offer(b"%d" % n, audible=True, now=line.now)
    line.cut()
    agrees(line.fence)
    deadline = line.fence.deadline
    assert deadline is not None
    line.apply(line.fence.expire(deadline))

    assert verdict(line) is Verdict.EXPIRED


# -- confirmed


def test_agreement_starts_the_time_of_the_old_turn_anew() -> None:
    line = holding()
    line.sound(1.5)
    line.fence.confirm(line.now)
    assert line.fence.state is FenceState.CONFIRMED
    assert line.fence.deadline == line.now + RULES.false_alarm_s
    line.sound(2.1)

    assert verdict(line) is None


def test_what_was_held_before_the_agreement_is_old_whatever_pauses_it_had() -> None:
    line = holding()
    line.sound(0.3)
    line.silence(0.7)
    line.sound(0.3)
    line.fence.confirm(line.now)
    line.sound(0.1)
    line.apply(line.fence.assistant_started(None, line.now))

    assert heard(line) == []


def test_a_second_agreement_does_not_keep_it_closed() -> None:
    line = holding(confirmed=True)
    deadline = line.fence.deadline
    line.wait(1.0)
    line.fence.confirm(line.now)

    assert line.fence.deadline == deadline


def test_no_old_turn_lasts_beyond_the_deadline_so_the_words_after_the_last_pause_are_new() -> None:
    line = holding(confirmed=True)
    line.sound(1.0)
    line.silence(0.5)
    line.sound(0.3)
    line.silence(0.24)
    first_new = line.count + 1
    line.sound(0.5)

    assert verdict(line) is Verdict.NEW_TURN
    assert heard(line)[0] == f"{first_new}s".encode()


def test_without_any_pause_the_live_edge_is_joined() -> None:
    line = holding(confirmed=True)
    line.sound(2.3)

    assert line.opened is not None
    assert (line.opened.verdict, line.opened.frames, line.opened.clean) == (Verdict.NEW_TURN, (), True)


@pytest.mark.parametrize("quiet_s", [0.04, 0.1, 0.16, 0.2, 1.0])
def test_an_old_turn_that_ran_on_as_long_as_it_may_is_not_heard_at_the_deadline(quiet_s: float) -> None:
    line = holding(confirmed=True)
    line.sound(1.0)
    line.silence(0.4)
    line.sound(0.7)
    line.wait(quiet_s)
    line.apply(line.fence.expire(line.now))

    assert line.opened is not None
    assert (line.opened.verdict, line.opened.frames) == (Verdict.EXPIRED, ())


def test_pauses_inside_a_burst_of_old_audio_do_not_make_it_new() -> None:
    line = holding(confirmed=True)
    for n in range(185):
        line.apply(line.fence.offer(b"old", audible=n % 50 < 35, now=line.now + 0.5))
    line.apply(line.fence.offer(b"new", audible=True, now=line.now + 2.3))

    assert b"old" not in heard(line)
