"""The state table row by row, then the promises under any sequence of events.

What a caller hears in a simulated call is tested in test_fence_call.py.
"""

from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from relay.logic.playback.fence import MARGIN_S, Fence, FenceRules, FenceState
from relay.logic.playback.frame import PlayFrame
from relay.logic.playback.playout import Playout
from relay.logic.playback.ruling import Ruling, Verdict

RULES = FenceRules()
FRAME_S = 0.02
OLD_OVER_S = RULES.old_turn_s + MARGIN_S
FLUSHED = (PlayFrame(1, b"unheard 1", audible=True), PlayFrame(1, b"unheard 2", audible=False))


class Line:
    """An assistant's audio in real time, in front of a fence. The clock starts at 100 s."""

    def __init__(self) -> None:
        self.fence = Fence(RULES)
        self.now = 100.0
        self.count = 0
        self.opened: Ruling | None = None

    def sound(self, seconds: float) -> None:
        self._send(seconds, audible=True)

    def silence(self, seconds: float) -> None:
        self._send(seconds, audible=False)

    def wait(self, seconds: float) -> None:
        self.now += seconds

    def cut(self, *, confirmed: bool = False) -> None:
        self.fence.cut(FLUSHED, self.now, confirmed=confirmed)

    def apply(self, ruling: Ruling) -> None:
        if ruling.verdict is not None:
            assert self.opened is None
            self.opened = ruling

    def _send(self, seconds: float, *, audible: bool) -> None:
        for _ in range(round(seconds / FRAME_S)):
            self.count += 1
            name = f"{self.count}{'s' if audible else '.'}".encode()
            self.apply(self.fence.offer(name, audible=audible, now=self.now))
            self.now += FRAME_S


def speaking(seconds: float = 3.0) -> Line:
    line = Line()
    line.sound(seconds)
    return line


def holding(*, confirmed: bool = False) -> Line:
    line = speaking()
    line.cut(confirmed=confirmed)
    return line


def verdict(line: Line) -> Verdict | None:
    return line.opened.verdict if line.opened else None


def heard(line: Line) -> list[bytes]:
    assert line.opened is not None
    return [frame.data for frame in line.opened.frames]


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


# -- holding: what a false alarm is


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


# -- cuts while it is closed


@pytest.mark.parametrize("confirmed", [False, True])
def test_a_cut_while_closed_changes_neither_turn_nor_deadline_and_keeps_what_was_unheard(confirmed: bool) -> None:
    line = holding(confirmed=confirmed)
    before = (line.fence.turn, line.fence.cut_through, line.fence.deadline, line.fence.state)
    line.sound(1.0)

    assert line.fence.cut((), line.now, confirmed=False) == line.fence.cut_through
    assert (line.fence.turn, line.fence.cut_through, line.fence.deadline, line.fence.state) == before
    line.sound(1.3)
    if not confirmed:
        assert heard(line)[:2] == [b"unheard 1", b"unheard 2"]


def test_a_cut_by_the_assistant_while_holding_is_its_agreement() -> None:
    line = holding()
    line.fence.cut((), line.now, confirmed=True)

    assert line.fence.state is FenceState.CONFIRMED


# -- returned: the caller has only agreed


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
    line.fence.cut(FLUSHED, line.now, confirmed=False, before=before)
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
    line.fence.cut(FLUSHED, line.now, confirmed=False, before=(PlayFrame(1, b"heard", audible=True),))
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


def test_another_assistant_has_not_been_interrupted() -> None:
    line = returned()
    line.fence.reconnected(line.now)
    line.silence(1.0)
    line.sound(0.1)

    assert line.opened is None
    assert line.fence.state is FenceState.OPEN


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


# -- any sequence of events


class FenceUnderAnyInterleaving(RuleBasedStateMachine):
    """Fence and playout together, woken when they ask to be."""

    def __init__(self) -> None:
        super().__init__()
        self.fence = Fence(RULES)
        self.playout = Playout(target_ms=200, lead_ms=100, max_ms=30_000, before_ms=400)
        self.now = 50.0
        self.cut_at = 0.0
        self.names = 0
        self.turns: list[int] = []

    def rule_on(self, ruling: Ruling) -> None:
        assert not any(self.fence.is_stale(frame.turn) for frame in ruling.frames)
        if ruling.flush:
            self.playout.cut(self.fence.cut_through, self.now)
        if ruling.verdict in {Verdict.FALSE_ALARM, Verdict.AGREEMENT}:
            assert self.now <= self.cut_at + 2.5
            self.playout.put_back(ruling.frames, self.now)
        else:
            for frame in ruling.frames:
                self.playout.add(frame, self.now)

    def wake(self, until: float) -> None:
        while True:
            due = [at for at in (self.playout.next_send_at(), self.fence.deadline) if at is not None and at <= until]
            if not due:
                break
            self.now = max(self.now, min(due))
            if self.fence.deadline is not None and self.now >= self.fence.deadline:
                self.rule_on(self.fence.expire(self.now))
                assert self.fence.state is FenceState.OPEN
            if taken := self.playout.take(self.now):
                frame = taken.frame
                assert not self.fence.is_stale(frame.turn)
                self.turns.append(frame.turn)
        self.now = until

    @rule(frames=st.integers(1, 60), audible=st.booleans(), real_time=st.booleans())
    def audio(self, frames: int, audible: bool, real_time: bool) -> None:
        for _ in range(frames):
            self.names += 1
            self.rule_on(self.fence.offer(b"%d" % self.names, audible=audible, now=self.now))
            if real_time:
                self.wake(self.now + FRAME_S)

    @rule(ms=st.integers(1, 1500))
    def silence_on_the_wire(self, ms: int) -> None:
        self.wake(self.now + ms / 1000)

    @rule()
    def attach(self) -> None:
        self.playout.attach(self.now)

    @rule(confirmed=st.booleans())
    def cut(self, confirmed: bool) -> None:
        was_open = self.fence.is_open
        cut = self.playout.cut(self.fence.turn, self.now)
        assert was_open or not cut.unheard, "nothing enters the queue of a closed fence"
        turn = self.fence.cut(cut.unheard, self.now, confirmed=confirmed, before=cut.before)
        assert turn == self.fence.cut_through
        if was_open:
            self.cut_at = self.now

    @rule()
    @precondition(lambda self: self.fence.state is FenceState.HOLDING)
    def agreed(self) -> None:
        self.rule_on(self.fence.take_back())

    @rule()
    def interrupted(self) -> None:
        self.fence.confirm(self.now)

    @rule(index=st.none() | st.integers(0, 5))
    def started(self, index: int | None) -> None:
        self.rule_on(self.fence.assistant_started(index, self.now))

    @rule()
    def stopped(self) -> None:
        self.fence.assistant_stopped()

    @rule(position_ms=st.floats(-100, 30_000))
    def mark(self, position_ms: float) -> None:
        self.playout.mark_heard(position_ms, self.now)

    @invariant()
    def turns_never_go_back(self) -> None:
        assert all(earlier <= later for earlier, later in pairwise(self.turns))

    @invariant()
    def it_is_never_closed_past_the_deadline(self) -> None:
        if self.fence.state is FenceState.OPEN:
            assert self.fence.deadline is None
            return
        assert self.fence.deadline is not None
        assert self.now <= self.fence.deadline
        limit = RULES.false_alarm_s * (2 if self.fence.state is FenceState.CONFIRMED else 1)
        assert self.fence.deadline <= self.cut_at + limit + 1e-9


TestFenceUnderAnyInterleaving = FenceUnderAnyInterleaving.TestCase
TestFenceUnderAnyInterleaving.settings = settings(stateful_step_count=40)
