"""The speaker sends what is due when it is due, whichever socket is the caller's, and nothing behind a clear."""

import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from relay.call.playback.speaker import AHEAD_S, Burden, Speaker
from relay.call.report.events import CallEvent
from relay.call.report.interruption_events import PlayoutHole
from relay.call.report.report import Report
from relay.config import JitterConfig
from relay.logic.playback.frame import PlayFrame
from relay.media.far_end import FarEnd
from relay.media.frames import TELEPHONE
from relay.metrics import Metrics
from tests.support.caller_side import NoFence, open_caller_side

JITTER = JitterConfig(target_ms=200, lead_ms=100)


class Rig:
    """A speaker at work. `told` are the events of the call."""

    def __init__(self, jitter: JitterConfig, *, busy: bool) -> None:
        self.metrics = Metrics()
        self.report = Report("the-call", self.metrics)
        self.burden = Burden(many_calls=busy)
        self.speaker = Speaker(jitter, self.report, burden=self.burden)
        self.told: list[CallEvent] = []

    def add(self, *frames: PlayFrame) -> None:
        self.speaker.add(frames, trio.current_time())

    def metric(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, labels)


@asynccontextmanager
async def open_rig(jitter: JitterConfig = JITTER, *, busy: bool = False) -> AsyncIterator[Rig]:
    rig = Rig(jitter, busy=busy)
    with rig.report.listeners.listening(rig.told.append):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rig.speaker.run)
            yield rig
            nursery.cancel_scope.cancel()


class StepsOf(trio.abc.Instrument):
    """Counts how often the tasks that run a function get a turn."""

    def __init__(self, function: Callable[..., object]) -> None:
        self.count = 0
        self._name = function.__qualname__

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.count += task.name.endswith(self._name)


def words(count: int, first: int = 0, turn: int = 1) -> list[PlayFrame]:
    return [PlayFrame(turn, word(first + n), audible=True) for n in range(count)]


def word(n: int) -> bytes:
    return n.to_bytes(2) * 80


def silence(count: int) -> list[PlayFrame]:
    return [PlayFrame(1, b"\xff" * 160, audible=False)] * count


async def test_frames_leave_on_schedule_up_to_the_lead_ahead(autojump_clock: MockClock) -> None:
    """The buffer fills for 200 ms; then 100 ms are sent ahead, and the rest as it falls due."""
    async with open_rig() as rig, open_caller_side(NoFence()) as side:
        rig.speaker.attach(side)
        rig.add(*words(10))
        await trio.sleep(1)

        assert side.audio_got == [word(n) for n in range(10)]
        assert side.audio_ms == [200] * 6 + [220, 240, 260, 280]


async def test_while_it_is_busy_five_frames_of_a_turn_share_a_message(autojump_clock: MockClock) -> None:
    """All but the first are early, none is late."""
    async with open_rig(busy=True) as rig, open_caller_side(NoFence()) as side:
        rig.speaker.attach(side)
        rig.add(*words(9), *words(4, 9, turn=2))
        await trio.sleep(1)

        frames = [(at, message) for at, message in side.arrived if isinstance(message, bytes)]
        assert b"".join(message for _, message in frames) == b"".join(word(n) for n in range(13))
        assert [(at, len(message) // 160) for at, message in frames] == [
            (200, 5),
            (200, 4),
            (280, 4),
        ]
        assert side.control_got == ["mark 2:260"]
        assert rig.metric("relay_frames_total", leg="caller", direction="down") == 13
        assert rig.metric("relay_frame_delay_seconds_sum", direction="down") == pytest.approx(0.2), (
            "as in messages of their own"
        )


async def test_while_it_is_busy_nobody_is_woken_for_audio_that_flows(autojump_clock: MockClock) -> None:
    """What is due soon leaves with the frame that comes: at most 105 ms early, and never late."""
    async with open_rig(busy=True) as rig, open_caller_side(NoFence()) as side:
        rig.speaker.attach(side)
        for n in range(20):
            rig.add(*words(1, n))
            await trio.sleep(0.02)
        steps = StepsOf(rig.speaker.run)
        trio.lowlevel.add_instrument(steps)
        for n in range(20, 100):
            rig.add(*words(1, n))
            await trio.sleep(0.02)
        trio.lowlevel.remove_instrument(steps)
        await trio.sleep(1)

        frames = [(at, message) for at, message in side.arrived if isinstance(message, bytes)]
        assert b"".join(message for _, message in frames) == b"".join(word(n) for n in range(100))
        at_ms = [at for at, message in frames for _ in range(len(message) // 160)]
        assert all(100 + 20 * n - 105 <= at <= max(200, 100 + 20 * n) for n, at in enumerate(at_ms))
        assert steps.count == 0
        assert rig.metric("relay_frame_delay_seconds_sum", direction="down") == pytest.approx(0.2), "as it began"


@pytest.mark.parametrize("late_ms", range(20))
async def test_while_it_is_busy_nobody_is_woken_for_audio_that_a_tick_of_5_ms_delays(
    autojump_clock: MockClock, late_ms: int
) -> None:
    """Wherever between two times at which frames are due it comes, once the rhythm is found."""
    async with open_rig(busy=True) as rig, open_caller_side(NoFence()) as side:
        rig.speaker.attach(side)
        steps = StepsOf(rig.speaker.run)
        for n in range(120):
            if n == 40:
                trio.lowlevel.add_instrument(steps)
            await trio.sleep_until(n * 0.02 + (late_ms + n % 3 * 2.5) / 1000 * (n > 20))
            rig.add(*words(1, n))
        trio.lowlevel.remove_instrument(steps)
        await trio.sleep(1)

        assert b"".join(side.audio_got) == b"".join(word(n) for n in range(120))
        assert steps.count == 0


@pytest.mark.parametrize("tick_ms", [5, 10])
@pytest.mark.parametrize("late_ms", [0, 7, 13, 19])
async def test_while_it_is_busy_frames_that_are_added_no_sooner_than_wanted_are_never_late(
    autojump_clock: MockClock, late_ms: int, tick_ms: int
) -> None:
    """Once the buffer has filled, five come at a time, and leave as one message without waking anybody."""
    async with open_rig(busy=True) as rig, open_caller_side(NoFence()) as side:
        rig.speaker.attach(side)
        steps = StepsOf(rig.speaker.run)
        added = 0
        added_at: list[int] = []
        for tick in range(3000 // tick_ms):
            if tick * tick_ms == 1000:
                trio.lowlevel.add_instrument(steps)
            await trio.sleep_until(tick * tick_ms / 1000)
            here = min(120, max(0, (tick * tick_ms - late_ms) // 20 + 1))
            if here > added and rig.speaker.wanted_at() <= trio.current_time():
                rig.add(*words(here - added, added))
                added = here
                added_at.append(tick * tick_ms)
        trio.lowlevel.remove_instrument(steps)

        assert b"".join(side.audio_got) == b"".join(word(n) for n in range(120))
        assert rig.metric("relay_frame_delay_seconds_sum", direction="down") == pytest.approx(0.2), "as it began"
        assert {later - at for at, later in pairwise(added_at) if 1000 < at < 2200} == {100}
        assert steps.count == 0


@pytest.mark.parametrize("busy", [False, True])
async def test_the_last_frame_has_its_mark_though_a_pause_outlasts_it(autojump_clock: MockClock, *, busy: bool) -> None:
    async with open_rig(busy=busy) as rig, open_caller_side(NoFence()) as side:
        rig.speaker.attach(side)
        rig.add(*words(14))
        await trio.sleep(0.38)
        assert rig.speaker.playout.queued_ms == 0
        rig.speaker.playout.pause()
        rig.speaker.changed.fire()
        await trio.sleep(0.5)
        assert side.control_got == ["mark 1:200"]
        rig.speaker.playout.resume(trio.current_time())
        rig.speaker.changed.fire()
        await trio.sleep(5)
        assert side.control_got == ["mark 1:200", "mark 1:280"]


async def test_frames_are_wanted_as_they_come_unless_more_of_them_save_a_message(autojump_clock: MockClock) -> None:
    async with open_rig(busy=True) as rig, open_caller_side(NoFence()) as side:
        assert rig.speaker.wanted_at() == -math.inf, "nobody hears it"
        rig.speaker.attach(side)
        assert rig.speaker.wanted_at() == -math.inf, "there is nothing yet"
        rig.add(*words(20))
        assert rig.speaker.wanted_at() == -math.inf, "the buffer fills"
        await trio.sleep(0.25)
        assert 0.25 <= rig.speaker.wanted_at() + AHEAD_S <= 0.35
        rig.speaker.playout.pause()
        assert rig.speaker.wanted_at() == -math.inf, "a pause says that a decision is near"
        rig.speaker.playout.resume(trio.current_time())
        assert rig.speaker.wanted_at() > 0
        rig.burden.many_calls = False
        assert rig.speaker.wanted_at() == -math.inf
        rig.burden.many_calls = True
        await trio.sleep(1)
        assert rig.speaker.wanted_at() < trio.current_time(), "all was sent"


async def test_while_it_is_busy_what_finds_no_room_is_neither_lost_nor_put_in_another_order(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(busy=True) as rig, open_caller_side(NoFence(), capacity=1) as side:
        rig.speaker.attach(side)
        for n in range(60):
            if n == 20:
                side.peer.stop_reading()
            if n == 40:
                side.peer.read_again()
            rig.add(*words(1, n))
            await trio.sleep(0.02)
        await trio.sleep(1)

        assert b"".join(side.audio_got) == b"".join(word(n) for n in range(60))


async def test_while_it_is_busy_nothing_leaves_any_more_once_the_speaker_has_ended(autojump_clock: MockClock) -> None:
    rig = Rig(JITTER, busy=True)
    async with open_caller_side(NoFence()) as side:
        rig.speaker.attach(side)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rig.speaker.run)
            for n in range(20):
                rig.add(*words(1, n))
                await trio.sleep(0.02)
            nursery.cancel_scope.cancel()
        sent = b"".join(side.audio_got)
        for n in range(20, 40):
            rig.add(*words(1, n))
            await trio.sleep(0.02)

        assert b"".join(side.audio_got) == sent != b""


async def test_while_it_is_busy_what_a_closed_outbox_refuses_is_kept_for_the_next_socket(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(busy=True) as rig, open_caller_side(NoFence()) as first, open_caller_side(NoFence()) as second:
        rig.speaker.attach(first)
        for n in range(40):
            if n == 30:
                first.outbox.close()
            rig.add(*words(1, n))
            await trio.sleep(0.02)
        rig.speaker.attach(second)
        await trio.sleep(2)

        got, again = (b"".join(side.audio_got) for side in (first, second))
        all_said = b"".join(word(n) for n in range(40))
        assert again
        assert all_said.startswith(got)
        assert all_said.endswith(again)
        assert len(got) + len(again) >= len(all_said), "none between the two is missing"


async def test_a_leg_whose_messages_hold_one_frame_gets_one_however_busy_it_is(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(busy=True) as rig, open_caller_side(NoFence()) as side:
        side.joins_frames = False
        rig.speaker.attach(side)
        rig.add(*words(10))
        await trio.sleep(1)

        assert side.audio_got == [word(n) for n in range(10)]
        assert side.audio_ms == [200] * 6 + [220, 240, 260, 280]


async def test_who_looks_for_echoes_knows_the_frames_of_a_shared_message(autojump_clock: MockClock) -> None:
    async with open_rig(busy=True) as rig, open_caller_side(NoFence()) as side:
        rig.speaker.far_end = far_end = FarEnd(TELEPHONE)
        rig.speaker.attach(side)
        rig.add(*words(10))
        await trio.sleep(0.2)
        began = trio.current_time()
        await trio.sleep(0.3)

        assert [far_end.played(160, began + n * 0.02) for n in range(1, 11)] == [word(n) for n in range(10)]


async def test_what_is_added_while_it_waits_for_nothing_wakes_it(autojump_clock: MockClock) -> None:
    async with open_rig() as rig, open_caller_side(NoFence()) as side:
        rig.speaker.attach(side)
        await trio.sleep(5)
        rig.add(*words(1))
        await trio.sleep(1)

        assert side.audio_ms == [5200]


async def test_a_mark_follows_each_200_ms_and_the_last_frame_with_its_turn_and_position(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig, open_caller_side(NoFence()) as side:
        rig.speaker.attach(side)
        rig.add(*words(12), *words(11, turn=2))
        await trio.sleep(2)

        assert side.control_got == ["mark 1:200", "mark 2:400", "mark 2:460"]
        assert [message for _, message in side.arrived][10:12] == ["mark 1:200", word(10)]


async def test_before_a_socket_is_attached_everything_waits(autojump_clock: MockClock) -> None:
    async with open_rig() as rig, open_caller_side(NoFence()) as side:
        rig.add(*words(20))
        await trio.sleep(3)
        assert rig.speaker.playout.queued_ms == 400
        rig.speaker.attach(side)
        await trio.sleep(3)

        assert side.audio_got == [word(n) for n in range(20)]
        assert side.audio_ms[0] == 3000, "the buffer is full already"


async def test_on_the_next_socket_what_no_mark_has_confirmed_comes_first(autojump_clock: MockClock) -> None:
    async with open_rig() as rig, open_caller_side(NoFence()) as first, open_caller_side(NoFence()) as second:
        rig.speaker.attach(first)
        rig.add(*words(30))
        await trio.sleep(0.45)
        rig.speaker.playout.mark_heard(200, trio.current_time())
        taken_back_ms = rig.speaker.detach(first)
        await trio.sleep(1)
        sent = len(first.audio_got)
        rig.speaker.attach(second)
        await trio.sleep(2)

        assert (sent, taken_back_ms) == (18, 160)
        assert first.audio_got == [word(n) for n in range(18)], "nothing more is sent to a socket that is gone"
        assert second.audio_got == [word(n) for n in range(10, 30)]


async def test_a_socket_that_is_not_the_callers_any_more_detaches_nothing(autojump_clock: MockClock) -> None:
    """A socket may be told as gone twice, and after the next was attached; what was taken back is told all the same."""
    async with open_rig() as rig, open_caller_side(NoFence()) as first, open_caller_side(NoFence()) as second:
        rig.speaker.attach(first)
        rig.add(*words(30))
        await trio.sleep(0.21)
        taken_back_ms = rig.speaker.detach(first)
        rig.speaker.attach(second)

        assert rig.speaker.detach(first) == taken_back_ms > 0
        await trio.sleep(2)
        assert second.audio_got[-1] == word(29)


async def test_a_clear_overtakes_what_waits_in_the_outbox_and_a_mark_follows_it(autojump_clock: MockClock) -> None:
    async with open_rig() as rig, open_caller_side(NoFence(), capacity=100) as side:
        rig.speaker.attach(side)
        side.peer.stop_reading()
        rig.add(*words(6))
        await trio.sleep(1)
        cleared_at: list[float] = []
        rig.speaker.clear(2, 120, cleared_at.append)
        await trio.sleep(1)
        assert cleared_at == []
        side.peer.read_again()
        await trio.sleep(1)

        assert [message for _, message in side.arrived] == [word(0), "clear", "mark 2:120"], "one was in hand"
        assert cleared_at == [pytest.approx(trio.current_time() - 1)]


async def test_without_a_socket_nothing_is_cleared(autojump_clock: MockClock) -> None:
    async with open_rig() as rig, open_caller_side(NoFence()) as side:
        cleared_at: list[float] = []
        rig.speaker.attach(side)
        rig.speaker.detach(side)
        rig.speaker.clear(2, 0, cleared_at.append)
        await trio.sleep(1)

        assert side.arrived == []
        assert cleared_at == []


@pytest.mark.parametrize("by", ["stop", "detach"])
async def test_stopped_the_frame_that_waits_for_room_is_not_sent(by: str, autojump_clock: MockClock) -> None:
    async with open_rig() as rig, open_caller_side(NoFence(), capacity=1) as side:
        rig.speaker.attach(side)
        side.peer.stop_reading()
        rig.add(*words(6))
        await trio.sleep(0.21)
        if by == "stop":
            rig.speaker.stop()
            rig.speaker.playout.cut(trio.current_time())
        else:
            rig.speaker.detach(side)
        await wait_all_tasks_blocked()
        side.peer.read_again()
        await trio.sleep(1)

        assert side.audio_got == [word(0), word(1)], "one was in hand, one in the outbox, and the third waited"


async def test_a_frame_of_an_old_turn_behind_its_clear_is_counted(autojump_clock: MockClock) -> None:
    """It takes a fence that lets it through."""
    async with open_rig() as rig, open_caller_side(NoFence()) as side:
        rig.speaker.attach(side)
        rig.add(*words(5, turn=1))
        await trio.sleep(1)
        assert rig.metric("relay_frames_stale_total") == 0
        rig.speaker.clear(2, 100, lambda _: None)
        rig.add(*words(2, turn=1), *words(3, turn=2))
        await trio.sleep(1)

        assert rig.metric("relay_frames_stale_total") == 2


async def test_each_frame_sent_is_counted_with_its_delay(autojump_clock: MockClock) -> None:
    """Counted when it was handed over, from the time at which it was due."""
    async with open_rig() as rig, open_caller_side(NoFence(), capacity=100) as side:
        rig.speaker.attach(side)
        rig.add(*words(1))
        await trio.sleep(0.1)
        side.peer.slow_down(0.3)
        await trio.sleep(0.2)
        assert rig.metric("relay_frames_total", leg="caller", direction="down") == 0
        await trio.sleep(1)

        assert rig.metric("relay_frames_total", leg="caller", direction="down") == 1
        assert rig.metric("relay_frame_delay_seconds_sum", direction="down") == pytest.approx(0.3)


async def test_what_comes_within_the_lead_is_sent_at_once_and_we_have_not_kept_it(autojump_clock: MockClock) -> None:
    async with open_rig() as rig, open_caller_side(NoFence()) as side:
        rig.speaker.attach(side)
        rig.add(*words(10))
        await trio.sleep(0.39)
        before_s = rig.metric("relay_frame_delay_seconds_sum", direction="down")
        rig.add(PlayFrame(1, word(10), audible=True, arrived_at=trio.current_time()))
        await trio.sleep(1)

        assert side.audio_ms[-1] == 390
        assert rig.metric("relay_frame_delay_seconds_sum", direction="down") == before_s


async def test_what_the_queue_refuses_or_leaves_out_is_counted_by_its_cause(autojump_clock: MockClock) -> None:
    async with open_rig(JitterConfig(max_queue_ms=1000)) as rig:
        rig.add(*silence(3), *words(53))

        assert rig.report.counts.totals()["frames_dropped"] == {"trimmed": 3, "overflow": 3}


async def test_a_pause_that_is_shortened_is_counted(autojump_clock: MockClock) -> None:
    async with open_rig() as rig, open_caller_side(NoFence()) as side:
        rig.speaker.attach(side)
        rig.add(*words(5), *silence(45), *words(50))
        await trio.sleep(5)
        dropped = rig.report.counts.totals()["frames_dropped"]

        assert dropped == {"trimmed": 30}, "of 900 ms, 300 stay"
        assert len(side.audio_got) == 70


async def test_a_hole_within_speech_is_told(autojump_clock: MockClock) -> None:
    async with open_rig() as rig, open_caller_side(NoFence()) as side:
        rig.speaker.attach(side)
        rig.add(*words(10))
        await trio.sleep(0.7)
        rig.add(*words(30))
        await trio.sleep(1)

        assert rig.told == [PlayoutHole(300.0)]


async def test_sound_alone_counts_as_the_last_that_was_audible(autojump_clock: MockClock) -> None:
    async with open_rig() as rig, open_caller_side(NoFence()) as side:
        rig.speaker.attach(side)
        began_at = rig.speaker.last_audible_at
        await trio.sleep(1)
        rig.add(*words(10), *silence(10))
        assert rig.speaker.last_audible_at == pytest.approx(began_at + 1)
        await trio.sleep(2)

        assert rig.speaker.last_audible_at == pytest.approx(began_at + 1.28)


async def test_when_the_outbox_has_closed_what_is_due_is_kept_for_the_next_socket(autojump_clock: MockClock) -> None:
    """The receiver has not noticed yet that the socket is gone. What was heard until then is known by the clock."""
    async with open_rig() as rig, open_caller_side(NoFence()) as first, open_caller_side(NoFence()) as second:
        rig.speaker.attach(first)
        rig.add(*words(20))
        await trio.sleep(0.25)
        first.outbox.close()
        await trio.sleep(5)
        rig.speaker.attach(second)
        await trio.sleep(5)

        assert first.audio_got == [word(n) for n in range(8)]
        assert second.audio_got == [word(n) for n in range(3, 20)]


async def test_who_looks_for_echoes_knows_what_was_sent_and_what_a_clear_took_back(autojump_clock: MockClock) -> None:
    async with open_rig() as rig, open_caller_side(NoFence()) as side:
        rig.speaker.far_end = far_end = FarEnd(TELEPHONE)
        rig.speaker.attach(side)
        rig.add(*words(10))
        await trio.sleep(0.25)
        rig.speaker.stop()
        rig.speaker.playout.cut(trio.current_time())
        rig.speaker.clear(2, 0, lambda at: None)
        began = trio.current_time() - 0.05
        await trio.sleep(0.2)

        played = [far_end.played(160, began + n * 0.02) for n in range(1, 6)]
        assert played[:2] == [word(0), word(1)]
        assert played[2] is not None
        assert played[2] == word(2)[:80] + b"\xff" * 80
        assert played[3:] == [None, None]
