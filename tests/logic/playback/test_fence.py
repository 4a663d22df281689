"""The state table row by row: open, what closes the fence, and what opens it.

What a caller hears in a simulated call is tested in test_fence_call.py.
"""

from collections.abc import Callable

import pytest

from relay.logic.playback.fence import Fence, FenceState
from relay.logic.playback.frame import PlayFrame
from relay.logic.playback.ruling import Ruling, Verdict
from tests.support.fence_line import RULES, Line, heard, holding, speaking, verdict

# -- open


def test_open_all_is_admitted_with_the_number_of_the_turn() -> None:
    fence = Fence(RULES)

    assert fence.offer(b"a", audible=False, now=1.0) == Ruling((PlayFrame(1, b"a", audible=False),))
    assert fence.offer(b"b", audible=True, now=1.02) == Ruling((PlayFrame(1, b"b", audible=True),))
    assert (fence.deadline, fence.state, fence.cut_through) == (None, FenceState.OPEN, 0)


def test_the_first_turn_is_number_1_and_a_long_pause_begins_the_next() -> None:
    line = speaking()
    assert line.fence.turn == 1
    line.silence(0.9)
    line.sound(1.0)
    assert line.fence.turn == 1
    line.silence(1.0)
    line.sound(1.0)

    assert line.fence.turn == 2


def test_an_announced_turn_begins_after_a_short_pause() -> None:
    line = speaking()
    line.fence.assistant_started(1, line.now)
    line.sound(0.3)
    assert line.fence.turn == 1
    line.silence(0.1)
    line.sound(0.3)
    line.silence(0.1)
    line.sound(0.3)

    assert line.fence.turn == 2


@pytest.mark.parametrize(("confirmed", "state"), [(False, FenceState.HOLDING), (True, FenceState.CONFIRMED)])
def test_a_cut_closes_over_all_turns_so_far(confirmed: bool, state: FenceState) -> None:
    line = speaking()
    line.cut(confirmed=confirmed)

    assert line.fence.state is state
    assert [line.fence.is_stale(turn) for turn in (0, 1, 2)] == [True, True, False]
    assert line.fence.deadline == line.now + RULES.false_alarm_s


@pytest.mark.parametrize("after_the_cut", ["false alarm", "new turn", "live edge"])
def test_after_a_cut_the_numbers_go_on_by_one_at_each_turn(after_the_cut: str) -> None:
    line = holding(confirmed=after_the_cut == "live edge")
    if after_the_cut == "new turn":
        line.silence(1.0)
    line.sound(3.0)
    assert verdict(line) is (Verdict.FALSE_ALARM if after_the_cut == "false alarm" else Verdict.NEW_TURN)
    assert line.fence.turn == 2
    line.silence(1.0)
    line.sound(0.1)

    assert line.fence.turn == 3


def test_a_turn_heard_only_from_what_was_held_is_a_turn_too() -> None:
    line = holding(confirmed=True)
    line.silence(0.7)
    line.sound(0.1)
    line.apply(line.fence.assistant_started(None, line.now))
    assert len(heard(line)) == 5
    line.silence(1.0)
    line.sound(0.1)

    assert line.fence.turn == 3


def test_what_was_cleared_is_stale_and_what_comes_is_admitted_at_once_under_one_new_number() -> None:
    line = speaking()
    line.fence.clear()
    assert (line.fence.state, line.fence.cut_through, line.fence.is_stale(1)) == (FenceState.OPEN, 1, True)
    rulings = [line.fence.offer(b"next", audible=audible, now=line.now + 9) for audible in (False, True, True)]

    assert [ruling.frames[0].turn for ruling in rulings] == [2, 2, 2]


def test_an_announcement_before_a_cut_does_not_begin_a_turn_after_it() -> None:
    line = speaking()
    line.fence.assistant_started(1, line.now)
    line.sound(1.0)
    line.cut()
    line.sound(2.4)
    line.silence(0.4)
    line.sound(0.1)

    assert verdict(line) is Verdict.FALSE_ALARM
    assert line.fence.turn == 2


def test_open_nothing_expires_and_a_late_agreement_changes_nothing() -> None:
    line = speaking()
    line.fence.confirm(line.now)

    assert line.fence.expire(line.now) == Ruling()
    assert line.fence.state is FenceState.OPEN


def test_before_the_assistant_ever_spoke_its_first_sound_opens() -> None:
    line = Line()
    line.silence(1.0)
    line.cut(confirmed=True)
    line.silence(0.2)
    line.sound(0.02)

    assert verdict(line) is Verdict.NEW_TURN


# -- closed: what opens it, and with what

CLOSED = pytest.mark.parametrize("confirmed", [False, True], ids=["holding", "confirmed"])


@CLOSED
def test_closed_everything_is_held(confirmed: bool) -> None:
    line = holding(confirmed=confirmed)
    line.sound(0.5)
    line.silence(0.5)
    line.sound(0.5)

    assert verdict(line) is None


@CLOSED
def test_sound_after_a_second_of_silence_opens_with_that_sound(confirmed: bool) -> None:
    line = holding(confirmed=confirmed)
    line.sound(0.5)
    line.silence(1.0)
    line.sound(0.02)

    assert verdict(line) is Verdict.NEW_TURN
    assert heard(line) == [f"{line.count}s".encode()]
    assert line.opened is not None
    assert (line.opened.dropped, line.opened.clean) == (25 + 50, False)


@CLOSED
def test_after_it_said_that_it_stopped_a_pause_of_600_ms_is_enough(confirmed: bool) -> None:
    line = holding(confirmed=confirmed)
    line.sound(0.3)
    line.fence.assistant_stopped()
    line.sound(0.3)
    line.silence(0.58)
    line.sound(0.2)
    assert verdict(line) is None
    line.silence(0.6)
    line.sound(0.02)

    assert verdict(line) is Verdict.NEW_TURN


def test_stopped_before_the_cut_counts_if_only_a_tail_followed() -> None:
    line = speaking()
    line.fence.assistant_stopped()
    line.sound(0.2)
    line.cut()
    line.silence(0.6)
    line.sound(0.02)

    assert verdict(line) is Verdict.NEW_TURN


def test_stopped_before_the_cut_does_not_count_for_the_turn_that_followed() -> None:
    """Some assistants say when they stop and never when they start: a cough must not cost their next turn."""
    line = speaking()
    line.fence.assistant_stopped()
    line.silence(2.0)
    line.sound(2.0)
    line.cut()
    line.silence(0.6)
    line.sound(2.0)

    assert verdict(line) is Verdict.NEW_TURN, "a pause of 600 ms, and it still sounds at the deadline"
    line = speaking()
    line.fence.assistant_stopped()
    line.silence(2.0)
    line.sound(2.0)
    line.cut()
    line.sound(2.3)

    assert verdict(line) is Verdict.FALSE_ALARM


STARTED: list[tuple[str, Callable[[Line], None], int | None, float, bool]] = [
    ("higher index", lambda line: None, 5, 0.1, True),
    ("same index", lambda line: None, 4, 1.9, False),
    ("lower index", lambda line: None, 3, 1.9, False),
    ("no index, the old turn was announced", lambda line: None, None, 0.1, True),
    ("no index, after it stopped", lambda line: line.fence.assistant_stopped(), None, 0.1, True),
]


@pytest.mark.parametrize(
    ("before", "index", "after_s", "opens"), [row[1:] for row in STARTED], ids=[r[0] for r in STARTED]
)
def test_holding_an_announcement_opens_if_it_is_of_a_new_turn(
    before: Callable[[Line], None], index: int | None, after_s: float, opens: bool
) -> None:
    line = Line()
    line.fence.assistant_started(4, line.now)
    line.sound(3.0)
    line.cut()
    before(line)
    line.sound(after_s)
    line.apply(line.fence.assistant_started(index, line.now))

    assert verdict(line) is (Verdict.NEW_TURN if opens else None)


@pytest.mark.parametrize("index", [None, 0, 7])
@pytest.mark.parametrize(("after_s", "opens"), [(0.48, False), (0.52, True)])
def test_holding_the_announcement_of_the_turn_that_was_cut_may_be_late(
    index: int | None, after_s: float, opens: bool
) -> None:
    line = holding()
    line.sound(after_s)
    line.apply(line.fence.assistant_started(index, line.now))

    assert verdict(line) is (Verdict.NEW_TURN if opens else None)


@pytest.mark.parametrize("index", [None, 0, 7])
def test_confirmed_every_announcement_is_of_a_new_turn(index: int | None) -> None:
    line = holding(confirmed=True)
    line.sound(0.1)
    line.apply(line.fence.assistant_started(index, line.now))

    assert verdict(line) is Verdict.NEW_TURN


def test_an_announcement_takes_the_words_after_a_long_pause_along() -> None:
    line = holding(confirmed=True)
    line.sound(0.1)
    line.silence(0.7)
    first_new = line.count + 1
    line.sound(0.4)
    line.apply(line.fence.assistant_started(None, line.now))

    assert heard(line)[0] == f"{first_new}s".encode()
    assert len(heard(line)) == 20


def test_an_announcement_takes_nothing_along_that_may_be_old() -> None:
    line = holding(confirmed=True)
    line.sound(0.3)
    line.silence(0.5)
    line.sound(0.4)
    line.apply(line.fence.assistant_started(None, line.now))

    assert line.opened == Ruling((), Verdict.NEW_TURN, dropped=60, clean=True)


# -- cuts while it is closed


@pytest.mark.parametrize("confirmed", [False, True])
def test_a_cut_while_closed_changes_neither_turn_nor_deadline_and_keeps_what_was_unheard(confirmed: bool) -> None:
    line = holding(confirmed=confirmed)
    before = (line.fence.turn, line.fence.cut_through, line.fence.deadline, line.fence.state)
    line.sound(1.0)

    assert line.fence.cut(line.now, confirmed=False) == line.fence.cut_through
    line.fence.keep((PlayFrame(1, b"later", audible=True),))
    assert (line.fence.turn, line.fence.cut_through, line.fence.deadline, line.fence.state) == before
    line.sound(1.3)
    if not confirmed:
        assert heard(line)[:2] == [b"unheard 1", b"unheard 2"]


def test_a_cut_by_the_assistant_while_holding_is_its_agreement() -> None:
    line = holding()
    line.fence.cut(line.now, confirmed=True)

    assert line.fence.state is FenceState.CONFIRMED


@pytest.mark.parametrize("cut", [True, False])
@pytest.mark.parametrize(
    ("silent_s", "says", "goes_on"),
    [(0.0, None, True), (0.3, None, True), (0.5, None, False), (0.0, "stopped", False), (0.0, "interrupted", False)],
)
def test_the_assistant_talks_on_while_it_sounds_and_has_not_said_otherwise(
    cut: bool, silent_s: float, says: str | None, goes_on: bool
) -> None:
    line = holding(confirmed=says == "interrupted") if cut or says == "interrupted" else speaking()
    line.sound(0.3)
    if says == "stopped":
        line.fence.assistant_stopped()
    line.silence(silent_s)

    assert line.fence.goes_on(line.now) is goes_on
