"""The promises of the fence under any sequence of events."""

from itertools import pairwise

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from relay.logic.playback.fence import Fence, FenceState
from relay.logic.playback.playout import Playout
from relay.logic.playback.ruling import Ruling, Verdict
from tests.support.fence_line import FRAME_S, RULES


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
            self.playout.cut(self.now)
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
        turn = self.fence.cut(self.now, confirmed=confirmed)
        cut = self.playout.cut(self.now)
        assert was_open or not cut.unheard, "nothing enters the queue of a closed fence"
        self.fence.keep(cut.unheard, cut.before)
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
