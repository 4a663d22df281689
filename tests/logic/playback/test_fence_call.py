"""What a caller hears of a simulated assistant through fence and playout: an interruption, and what follows it.

The assistant sends in real time, in chunks that come up to 100 ms late, with or without its silence. The caller's side
plays in order and in real time, and forgets what it holds when the relay clears it.
"""

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import cycle, islice, pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from relay.logic.playback.fence import Fence, FenceRules, FenceState
from relay.logic.playback.playout import Playout
from relay.logic.playback.ruling import Ruling, Verdict

FRAME_S = 0.02
EPSILON_S = 1e-6
START = 10.0
MAX_LOST_FRAMES = 75
BACK_MS = 400


@dataclass(frozen=True)
class Line:
    """How the assistant sends: frames in a chunk, how late each chunk is, whether silence is sent."""

    chunk: int
    late_ms: tuple[int, ...]
    sends_silence: bool

    @property
    def slack_s(self) -> float:
        """How much of a pause is hidden if it is not sent."""
        return 0.0 if self.sends_silence else 0.2


LINES = st.builds(
    Line,
    chunk=st.integers(1, 5),
    late_ms=st.lists(st.integers(0, 100), min_size=1, max_size=12).map(tuple),
    sends_silence=st.booleans(),
)
PATTERNS = st.lists(st.tuples(st.integers(5, 70), st.integers(0, 27)), min_size=1, max_size=8)
"""Frames of sound and of silence in turn: the pauses are those of sentences, up to 540 ms."""


def frames(seconds: float) -> int:
    return round(seconds / FRAME_S)


def speech(pattern: list[tuple[int, int]], count: int, line: Line) -> list[bool]:
    limit = 27 if line.sends_silence else 20
    one = [audible for sound, pause in pattern for audible in [True] * sound + [False] * min(pause, limit)]
    return list(islice(cycle(one), count))


class Call:
    def __init__(self) -> None:
        self.fence = Fence(FenceRules())
        self.playout = Playout(target_ms=200, lead_ms=100, max_ms=30_000, before_ms=BACK_MS)
        self.playout.attach(0.0)
        self.now = 0.0
        self.events: list[tuple[float, int, Callable[[], None]]] = []
        self.played: list[tuple[float, bytes]] = []
        self.played_until = 0.0
        self.verdicts: list[Verdict] = []
        self.marks_late_s: float | None = None
        self.cut_at = 0.0

    def at(self, when: float, action: Callable[[], None]) -> None:
        heapq.heappush(self.events, (when, len(self.events) + 1000 * len(self.played), action))

    def run(self) -> None:
        while self.events:
            wake_ups = [at for at in (self.playout.next_send_at(), self.fence.deadline) if at is not None]
            if wake_ups and min(wake_ups) <= self.events[0][0]:
                self.now = max(self.now, min(wake_ups))
                self.wake()
            else:
                self.now, _, action = heapq.heappop(self.events)
                action()

    def wake(self) -> None:
        if self.fence.deadline is not None and self.now >= self.fence.deadline:
            self.follow(self.fence.expire(self.now))
        if taken := self.playout.take(self.now):
            frame = taken.frame
            begins = max(self.played_until, self.now)
            self.played_until = begins + FRAME_S
            self.played.append((begins, frame.data if frame.audible else b""))
            if self.marks_late_s is not None and len(self.played) % 10 == 0:
                turn, position = frame.turn, self.playout.sent_ms
                self.at(self.played_until + self.marks_late_s, lambda: self.mark(turn, position))

    def mark(self, turn: int, position_ms: float) -> None:
        if not self.fence.is_stale(turn):
            self.playout.mark_heard(position_ms, self.now)

    def follow(self, ruling: Ruling) -> None:
        if ruling.verdict is not None:
            self.verdicts.append(ruling.verdict)
        if ruling.flush:
            self.playout.cut(self.now)
            self.silence()
        if ruling.verdict in {Verdict.FALSE_ALARM, Verdict.AGREEMENT}:
            self.playout.put_back(ruling.frames, self.now)
        else:
            for frame in ruling.frames:
                assert self.playout.add(frame, self.now) is None

    def cut(self, *, confirmed: bool = False) -> None:
        self.cut_at = self.now
        self.fence.cut(self.now, confirmed=confirmed)
        taken = self.playout.cut(self.now)
        self.fence.keep(taken.unheard, taken.before)
        self.silence()

    def silence(self) -> None:
        """The caller's side forgets what it has not played."""
        self.played = [(begins, name) for begins, name in self.played if begins < self.now - EPSILON_S]
        self.played_until = self.now

    def take_back(self) -> None:
        if self.fence.state is FenceState.HOLDING:
            self.follow(self.fence.take_back())

    def started(self, index: int | None) -> None:
        self.follow(self.fence.assistant_started(index, self.now))

    def offer(self, chunk: list[tuple[bytes, bool]]) -> None:
        for name, audible in chunk:
            self.follow(self.fence.offer(name, audible=audible, now=self.now))

    def send(self, line: Line, audio: Iterable[tuple[bytes, bool]]) -> None:
        """All of the assistant's audio from START on."""
        stream = list(audio)
        last, late = 0.0, cycle(line.late_ms)
        for first in range(0, len(stream), line.chunk):
            chunk = stream[first : first + line.chunk]
            last = max(last, START + (first + len(chunk)) * FRAME_S + next(late) / 1000)
            sent = [(name, audible) for name, audible in chunk if audible or line.sends_silence]
            self.at(last, lambda sent=sent: self.offer(sent))  # type: ignore[misc]

    def heard(self, label: bytes, after: float = 0.0) -> list[bytes]:
        return [name for begins, name in self.played if name.startswith(label) and begins >= after - EPSILON_S]


def named(label: bytes, pattern: list[bool]) -> list[tuple[bytes, bool]]:
    return [(label + b"%d" % n, audible) for n, audible in enumerate(pattern)]


def quiet(seconds: float) -> list[tuple[bytes, bool]]:
    return [(b"", False)] * frames(seconds)


def two_turns(
    line: Line, pattern: list[tuple[int, int]], answer: list[tuple[int, int]], *, old_s: float, pause_s: float
) -> tuple[list[tuple[bytes, bool]], ...]:
    """The turn that is cut, the pause behind it, and the turn that follows."""
    old = named(b"old", speech(pattern, frames(old_s), line))
    return old, quiet(pause_s), named(b"new", speech(answer, frames(4.0), line))


def lost(call: Call, sent: list[tuple[bytes, bool]]) -> int:
    """Audible frames that were not heard; those that were are in order and not repeated."""
    places = {name: n for n, (name, audible) in enumerate(sent) if audible}
    heard = [places[name] for name in call.heard(sent[0][0][:3])]
    assert all(earlier < later for earlier, later in pairwise(heard))
    return len(places) - len(heard)


@given(
    line=LINES,
    pattern=PATTERNS,
    answer=PATTERNS,
    before_s=st.floats(1, 4),
    runs_on_s=st.floats(0, 2),
    agrees_s=st.none() | st.floats(0, 2),
    stops_s=st.none() | st.floats(0, 3),
    pause_s=st.floats(1.02, 3),
)
def test_nothing_of_the_old_turn_is_heard_and_the_next_turn_after_a_second_of_silence_is(
    *,
    line: Line,
    pattern: list[tuple[int, int]],
    answer: list[tuple[int, int]],
    before_s: float,
    runs_on_s: float,
    agrees_s: float | None,
    stops_s: float | None,
    pause_s: float,
) -> None:
    """The old turn runs on for 2 s after the cut, or after the assistant's agreement, which may be missing."""
    call = Call()
    ends_s = (agrees_s or 0.0) + runs_on_s
    old, gap, new = two_turns(line, pattern, answer, old_s=before_s + ends_s, pause_s=pause_s + line.slack_s)
    call.send(line, [*old, *gap, *new, *quiet(3.0)])
    cut_at = START + before_s
    call.at(cut_at, call.cut)
    if agrees_s is not None:
        call.at(cut_at + agrees_s, lambda: call.fence.confirm(call.now))
    if stops_s is not None:
        call.at(cut_at + stops_s, call.fence.assistant_stopped)
    call.run()

    assert call.heard(b"old", after=cut_at) == []
    assert lost(call, new) <= MAX_LOST_FRAMES


@given(
    line=LINES,
    pattern=PATTERNS,
    answer=PATTERNS,
    runs_on_s=st.floats(0, 0.8),
    agrees=st.booleans(),
    pause_s=st.floats(0.3, 1.5),
    announced_s=st.floats(-0.1, 0.7),
    index=st.sampled_from([None, 1]),
)
def test_a_turn_that_is_announced_is_heard_but_for_what_came_before_the_announcement(
    *,
    line: Line,
    pattern: list[tuple[int, int]],
    answer: list[tuple[int, int]],
    runs_on_s: float,
    agrees: bool,
    pause_s: float,
    announced_s: float,
    index: int | None,
) -> None:
    call = Call()
    pause_s = pause_s if agrees else min(pause_s, 0.55)
    old, gap, new = two_turns(line, pattern, answer, old_s=3.0 + runs_on_s, pause_s=pause_s)
    call.send(line, [*old, *gap, *new, *quiet(3.0)])
    cut_at = START + 3.0
    call.at(START, lambda: call.started(0))
    call.at(cut_at, lambda: call.cut(confirmed=agrees))
    new_at = START + (len(old) + frames(pause_s)) * FRAME_S
    call.at(new_at + announced_s, lambda: call.started(index))
    call.run()

    assert call.heard(b"old", after=cut_at) == []
    assert lost(call, new) <= MAX_LOST_FRAMES


@given(
    line=LINES,
    pattern=PATTERNS,
    answer=PATTERNS,
    runs_on_s=st.floats(0, 1.2),
    agrees=st.booleans(),
    pause_s=st.floats(0.66, 1.5),
    stopped_s=st.floats(-0.3, 0.3),
)
def test_a_turn_after_stopped_and_a_pause_is_heard(
    *,
    line: Line,
    pattern: list[tuple[int, int]],
    answer: list[tuple[int, int]],
    runs_on_s: float,
    agrees: bool,
    pause_s: float,
    stopped_s: float,
) -> None:
    call = Call()
    old, gap, new = two_turns(line, pattern, answer, old_s=3.0 + runs_on_s, pause_s=pause_s + line.slack_s)
    call.send(line, [*old, *gap, *new, *quiet(3.0)])
    cut_at = START + 3.0
    call.at(cut_at, lambda: call.cut(confirmed=agrees))
    call.at(START + len(old) * FRAME_S + stopped_s, call.fence.assistant_stopped)
    call.run()

    assert call.heard(b"old", after=cut_at) == []
    assert lost(call, new) <= MAX_LOST_FRAMES


@given(
    line=LINES,
    pattern=PATTERNS,
    answer=PATTERNS,
    runs_on_s=st.floats(0, 1.0),
    agrees=st.booleans(),
    pause_s=st.floats(0.62, 0.85),
)
def test_of_a_turn_after_a_pause_of_600_ms_that_sounds_at_the_deadline_nothing_is_lost(
    *,
    line: Line,
    pattern: list[tuple[int, int]],
    answer: list[tuple[int, int]],
    runs_on_s: float,
    agrees: bool,
    pause_s: float,
) -> None:
    """No message at all, or only the assistant's agreement."""
    call = Call()
    old, gap, new = two_turns(line, pattern, answer, old_s=3.0 + runs_on_s, pause_s=pause_s + line.slack_s)
    at_deadline = frames(3.0 + 2.0) - len(old) - len(gap)
    new = [(name, audible or 0 <= n - at_deadline <= 20) for n, (name, audible) in enumerate(new)]
    call.send(line, [*old, *gap, *new, *quiet(3.0)])
    cut_at = START + 3.0
    call.at(cut_at, lambda: call.cut(confirmed=agrees))
    call.run()

    assert call.heard(b"old", after=cut_at) == []
    assert lost(call, new) == 0


@given(
    line=LINES,
    pattern=PATTERNS,
    before_s=st.floats(0.5, 6),
    marks_late_s=st.none() | st.floats(0, 0.1),
    announces=st.booleans(),
)
def test_a_false_alarm_loses_nothing_and_plays_on_within_two_and_a_half_seconds(
    *, line: Line, pattern: list[tuple[int, int]], before_s: float, marks_late_s: float | None, announces: bool
) -> None:
    """The assistant did not care and talks on: one frame is heard twice, and what the marks could not tell in time."""
    call = Call()
    call.marks_late_s = marks_late_s
    audible = speech(pattern, frames(before_s + 6.0), line)
    at_deadline = range(frames(before_s + 2.0), frames(before_s + 2.45))
    old = [(name, sounds or n in at_deadline) for n, (name, sounds) in enumerate(named(b"old", audible))]
    call.send(line, [*old, *quiet(4.0)])
    if announces:
        call.at(START, lambda: call.started(0))
    cut_at = START + before_s
    call.at(cut_at, call.cut)
    call.at(cut_at + 30.0, lambda: None)
    call.run()

    names = [name for name, sounds in old if sounds]
    first = [name for begins, name in call.played if name and begins < cut_at - EPSILON_S]
    again = [name for begins, name in call.played if name and begins >= cut_at - EPSILON_S]
    repeated = len(first) + len(again) - len(names)
    assert call.verdicts == [Verdict.FALSE_ALARM]
    assert first == names[: len(first)]
    assert again == names[len(first) - repeated :]
    assert 0 <= repeated <= 1 + (0 if marks_late_s is None else marks_late_s / FRAME_S + 1)
    assert next(begins for begins, _ in call.played if begins >= cut_at - EPSILON_S) <= cut_at + 2.5


@given(line=LINES, pattern=PATTERNS, seconds=st.integers(5, 28), before_s=st.floats(0.5, 4))
def test_a_burst_is_played_on_after_a_false_alarm(
    *, line: Line, pattern: list[tuple[int, int]], seconds: int, before_s: float
) -> None:
    """All audio at once: the assistant is silent after it, and nobody says that the caller interrupted."""
    call = Call()
    old = named(b"old", speech(pattern, frames(seconds), line))
    call.at(START, lambda: call.offer(old))
    call.at(START + before_s, call.cut)
    call.at(START + 60.0, lambda: None)
    call.run()

    names = [name for name, audible in old if audible]
    heard = call.heard(b"old")
    if not any(audible for _, audible in old[frames(before_s + 2.4 + 0.6) :]):
        return
    repeated = len(heard) - len(names)
    assert 0 <= repeated <= 1
    assert sorted(set(heard), key=names.index) == names


@example(
    line=Line(chunk=1, late_ms=(61,), sends_silence=False),
    pattern=[(5, 3), (68, 20)],
    before_s=1.75,
    known_s=0.25,
    says="nothing",
)
@given(
    line=LINES,
    pattern=PATTERNS,
    before_s=st.floats(0.5, 6),
    known_s=st.floats(0.2, 1.9),
    says=st.sampled_from(["nothing", "announces late"]),
)
def test_after_an_agreement_nothing_is_lost_and_the_last_words_are_heard_twice(
    *, line: Line, pattern: list[tuple[int, int]], before_s: float, known_s: float, says: str
) -> None:
    """The assistant talks on, and so much later it is known that the caller has only agreed."""
    call = Call()
    old = named(b"old", speech(pattern, frames(before_s + 6.0), line))
    call.send(line, [*old, *quiet(4.0)])
    cut_at = START + before_s
    call.at(cut_at, call.cut)
    call.at(cut_at + known_s, call.take_back)
    if says == "announces late":
        call.at(START, lambda: call.started(0))
        call.at(cut_at + known_s + 0.1, lambda: call.started(0))
    call.at(cut_at + 30.0, lambda: None)
    call.run()

    names = [name for name, sounds in old if sounds]
    first = [name for begins, name in call.played if name and begins < cut_at - EPSILON_S]
    again = [name for begins, name in call.played if name and begins >= cut_at - EPSILON_S]
    repeated = len(first) + len(again) - len(names)
    assert call.verdicts == [Verdict.AGREEMENT]
    assert first == names[: len(first)]
    assert again == names[len(first) - repeated :]
    assert 0 <= repeated <= BACK_MS / 20 + 1
    if repeated:  # else it was cut in a pause, with nothing on its way
        assert next(begins for begins, _ in call.played if begins >= cut_at - EPSILON_S) <= cut_at + known_s + FRAME_S


@example(
    line=Line(chunk=1, late_ms=(0,), sends_silence=False),
    pattern=[(5, 0)],
    answer=[(5, 0)],
    known_s=1.5,
    runs_on_s=1.0,
    pause_s=1.5,
    says="interrupted",
    interrupted_s=1.5,
)
@given(
    line=LINES,
    pattern=PATTERNS,
    answer=PATTERNS,
    known_s=st.floats(0.2, 1.5),
    runs_on_s=st.floats(0, 1.2),
    pause_s=st.floats(1.02, 2),
    says=st.sampled_from(["nothing", "a turn", "interrupted"]),
    interrupted_s=st.floats(0.01, 1.5),
)
def test_when_it_was_an_interruption_after_all_nothing_of_the_old_turn_is_heard_once_that_is_known(
    *,
    line: Line,
    pattern: list[tuple[int, int]],
    answer: list[tuple[int, int]],
    known_s: float,
    runs_on_s: float,
    pause_s: float,
    says: str,
    interrupted_s: float,
) -> None:
    """The old turn runs on after the cut, and is brought back; then its end is told, or the next turn comes, which ends
    it as well unless it comes so late that nothing is known of an interruption any more."""
    call = Call()
    old, gap, new = two_turns(line, pattern, answer, old_s=3.0 + runs_on_s, pause_s=pause_s + line.slack_s)
    call.send(line, [*old, *gap, *new, *quiet(3.0)])
    cut_at, new_at = START + 3.0, START + (len(old) + len(gap)) * FRAME_S
    call.at(cut_at, call.cut)
    call.at(cut_at + known_s, call.take_back)
    told_at = cut_at + known_s + interrupted_s if says == "interrupted" else float("inf")
    shown_at = new_at + 0.2 if new_at + 0.2 < cut_at + FenceRules().old_turn_s else float("inf")
    known_at = min(told_at, shown_at)
    if says == "interrupted":
        call.at(told_at, lambda: call.cut(confirmed=True))
    if says == "a turn":
        call.at(new_at, lambda: call.started(None))
    call.run()

    assert call.heard(b"old", after=known_at) == []
    if told_at < new_at - 1.02 or says != "interrupted":
        assert lost(call, new) <= MAX_LOST_FRAMES
