"""After an agreement everything plays again, until it turns out to have been none."""

import pytest

from relay.logic.playback.fence import FenceState
from relay.logic.playback.frame import PlayFrame
from relay.logic.playback.ruling import Ruling, Verdict
from tests.support.fence_line import FLUSHED, OLD_OVER_S, RULES, Line, heard, holding, speaking, verdict


def returned(line: Line | None = None) -> Line:
    """Half a second after the cut it is known for an agreement; what was cut plays again."""
    line = line or holding()
    line.sound(0.5)
    line.apply(line.fence.take_back())
    assert verdict(line) is Verdict.AGREEMENT
    line.opened = None
    return line


def test_after_an_agreement_all_plays_again_behind_what_was_heard_last() -> None:
    line = speaking()
    before = (PlayFrame(1, b"heard 1", audible=True), PlayFrame(1, b"heard 2", audible=True))
    line.fence.cut(line.now, confirmed=False)
    line.fence.keep(FLUSHED, before)
    line.sound(0.04)
    ruling = line.fence.take_back()

    assert [frame.data for frame in ruling.frames] == [
        b"heard 1",
        b"heard 2",
        b"unheard 1",
        b"unheard 2",
        b"151s",
        b"152s",
    ]
    assert (ruling.verdict, ruling.repeated, ruling.dropped) == (Verdict.AGREEMENT, 2, 0)
    assert {frame.turn for frame in ruling.frames} == {2}
    assert (line.fence.is_open, line.fence.is_stale(2)) == (True, False)


def test_a_false_alarm_repeats_nothing_that_was_heard() -> None:
    line = speaking()
    line.fence.cut(line.now, confirmed=False)
    line.fence.keep(FLUSHED, (PlayFrame(1, b"heard", audible=True),))
    line.sound(OLD_OVER_S + 0.04)

    assert heard(line)[0] == b"unheard 1"


def test_returned_audio_is_admitted_and_in_time_it_is_as_if_nothing_had_happened() -> None:
    line = returned()
    assert line.fence.offer(b"on", audible=True, now=line.now).frames == (PlayFrame(2, b"on", audible=True),)
    line.sound(OLD_OVER_S - 0.4)

    assert line.fence.state is FenceState.OPEN
    assert (line.opened, line.fence.deadline, line.fence.turn) == (None, None, 2)


def test_returned_the_silence_of_the_assistant_ends_it_at_the_deadline() -> None:
    line = returned()
    assert line.fence.deadline == pytest.approx(line.now - 0.5 + RULES.false_alarm_s)

    assert line.fence.expire(line.now + RULES.false_alarm_s) == Ruling()
    assert (line.fence.state, line.fence.deadline) == (FenceState.OPEN, None)


@pytest.mark.parametrize("announced", [True, False])
def test_returned_a_new_turn_cuts_what_plays_again_and_is_heard_from_its_first_word(announced: bool) -> None:
    line = returned()
    line.silence(0.7 if announced else 1.0)
    first_new = line.count + 1
    if announced:
        line.sound(0.1)
        line.apply(line.fence.assistant_started(None, line.now))
    else:
        line.sound(0.02)

    assert line.opened is not None
    assert (line.opened.verdict, line.opened.flush) == (Verdict.NEW_TURN, True)
    assert heard(line)[0] == f"{first_new}s".encode()
    assert {frame.turn for frame in line.opened.frames} == {line.fence.turn} == {3}
    assert [line.fence.is_stale(turn) for turn in (2, 3)] == [True, False]
    assert line.fence.state is FenceState.OPEN


def test_returned_the_late_announcement_of_the_old_turn_cuts_nothing() -> None:
    line = speaking()
    line.fence.assistant_started(4, line.now)
    line.cut()
    line = returned(line)
    line.apply(line.fence.assistant_started(4, line.now))

    assert line.opened is None
    assert line.fence.state is FenceState.RETURNED


@pytest.mark.parametrize(("confirmed", "state"), [(False, FenceState.HOLDING), (True, FenceState.CONFIRMED)])
def test_returned_it_can_be_cut_again(confirmed: bool, state: FenceState) -> None:
    line = returned()
    line.sound(0.2)
    line.cut(confirmed=confirmed)

    assert line.fence.state is state
    assert [line.fence.is_stale(turn) for turn in (2, 3)] == [True, False]
    assert line.fence.deadline == line.now + RULES.false_alarm_s
    line.sound(0.1)
    assert line.opened is None, "what still comes of the old turn is held again"


def test_returned_a_cut_keeps_what_it_took_and_nothing_of_the_one_before() -> None:
    line = returned()
    line.fence.cut(line.now, confirmed=False)
    line.fence.keep((PlayFrame(2, b"unheard 3", audible=True),))
    ruling = line.fence.take_back()

    assert [frame.data for frame in ruling.frames] == [b"unheard 3"]


def test_another_assistant_has_not_been_interrupted() -> None:
    line = returned()
    line.apply(line.fence.reconnected())
    line.silence(1.0)
    line.sound(0.1)

    assert line.opened is None
    assert line.fence.state is FenceState.OPEN
