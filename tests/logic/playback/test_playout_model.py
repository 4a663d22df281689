"""The playout queue beside a model of it, whatever happens in whatever order."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from relay.logic.playback.frame import PlayFrame
from relay.logic.playback.playout import Taken
from relay.media.frames import FRAME_MS
from tests.support.playouts import heard_ms, playout


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
        assert self.queue.left_ms(self.now) >= 0
        assert self.queue.heard_ms(self.turn, self.now) >= 0
        cut = self.queue.cut(self.now)
        unheard = list(cut.unheard)
        tail = unheard[: len(unheard) - queued]
        self.left_out += len(self.waiting) - queued
        assert [frame for frame in unheard[len(tail) :] if frame.audible] == [f for f in self.waiting if f.audible]
        assert tail == self.flying[len(self.flying) - len(tail) :]
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
