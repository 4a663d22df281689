"""The lane of the speech model: many streams, one model, and audio that never waits."""

import math
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import structlog
import trio
from numpy.typing import NDArray
from structlog.contextvars import bound_contextvars, merge_contextvars
from structlog.testing import capture_logs
from trio.testing import MockClock, wait_all_tasks_blocked

from relay.call.caller.vad_engine import (
    BATCH_MAX,
    BURST_MAX,
    IN_PLACE_MAX_S,
    PENDING_MAX,
    PENDING_MAX_S,
    WORKER_S,
    Executor,
    Scored,
    VadEngine,
    VadStream,
    run_in_worker,
    step_s,
)
from relay.media.cough_probe import CoughProbe, Weights
from relay.media.detector import WINDOW_MS
from relay.media.silero import STATE_SIZE, SileroState
from relay.media.windows import Window
from relay.metrics import Metrics
from relay.net.link.shared_reader import SOCKETS_PER_CALL, tick_s
from relay.wakeup import next_step, sleep_until
from tests.support.callrig import run_inline

log = structlog.get_logger(__name__)


@dataclass
class Model:
    """Answers each window with its first sample over 100; fails while told to."""

    batches: list[int] = field(default_factory=list)
    failing: bool = False

    def new_state(self) -> SileroState:
        return SileroState(np.zeros(0, np.float32), np.zeros(0, np.float32))

    def run(self, windows: Sequence[NDArray[np.int16]], states: Sequence[SileroState], gain_db: float) -> list[float]:
        assert len({id(state) for state in states}) == len(windows)
        if self.failing:
            raise RuntimeError("model broke")
        self.batches.append(len(windows))
        return [float(window[0]) / 100 for window in windows]


class RememberingModel(Model):
    """Its state holds the first sample of the last window, first of all."""

    def run(self, windows: Sequence[NDArray[np.int16]], states: Sequence[SileroState], gain_db: float) -> list[float]:
        for window, state in zip(windows, states, strict=True):
            state.rnn = np.zeros((2, 1, STATE_SIZE), np.float32)
            state.rnn[0, 0, 0] = window[0]
        return super().run(windows, states, gain_db)


class Gate:
    """An executor whose worker hangs while the gate is closed."""

    def __init__(self) -> None:
        self.open = trio.Event()

    async def __call__(self, function: Callable[[], list[float]]) -> list[float]:
        await self.open.wait()
        return function()


@dataclass
class Listener:
    """A call's place in the lane. `results` are the answers that it was given."""

    place: VadStream
    results: trio.MemoryReceiveChannel[Scored]

    def submit(self, window: Window) -> None:
        self.place.submit(window)


@dataclass
class Lane:
    engine: VadEngine
    metrics: Metrics
    model: Model
    skipped: int = 0

    @contextmanager
    def stream(self) -> Iterator[Listener]:
        send, receive = trio.open_memory_channel[Scored](math.inf)
        with send, receive, self.engine.stream(send.send_nowait, self._skip) as place:
            yield Listener(place, receive)

    def _skip(self) -> None:
        self.skipped += 1


@asynccontextmanager
async def open_lane(
    executor: Executor = run_inline,
    model: Model | None = None,
    probe: CoughProbe | None = None,
    *,
    in_place: bool = False,
) -> AsyncIterator[Lane]:
    model, metrics = model or Model(), Metrics()
    engine = VadEngine(model, metrics, probe=probe, in_place=in_place, executor=executor)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(engine.run)
        yield Lane(engine, metrics, model)
        nursery.cancel_scope.cancel()


def window(value: int) -> Window:
    return Window(np.full(512, value, np.int16), value * 32.0)


async def answers(stream: Listener, count: int) -> list[int]:
    return [round((await stream.results.receive()).probability * 100) for _ in range(count)]


async def test_windows_of_several_streams_share_a_run_and_each_gets_its_own_answer(
    autojump_clock: MockClock,
) -> None:
    async with open_lane() as lane:
        with lane.stream() as one, lane.stream() as other:
            one.submit(window(1))
            other.submit(window(2))

            assert await answers(one, 1) == [1]
            assert await answers(other, 1) == [2]
        assert lane.model.batches == [2]
        assert lane.metrics.registry.get_sample_value("relay_vad_delay_seconds_count") == 2


async def test_each_answer_carries_the_bound_of_the_cough_probe_on_its_own_window(autojump_clock: MockClock) -> None:
    probe = CoughProbe(Weights([], [], [], [2.0] + [0.0] * (2 * STATE_SIZE - 1), 0.5))
    async with open_lane(model=RememberingModel(), probe=probe) as lane:
        with lane.stream() as one, lane.stream() as other:
            one.submit(window(1))
            other.submit(window(2))
            one.submit(window(3))

            bounds = [(await stream.results.receive()).voice_bound for stream in (one, other, one)]
            assert bounds == pytest.approx([2.5, 4.5, 6.5], abs=1e-3)


async def test_without_a_cough_probe_nothing_is_bounded(autojump_clock: MockClock) -> None:
    async with open_lane() as lane:
        with lane.stream() as stream:
            stream.submit(window(1))

            assert (await stream.results.receive()).voice_bound == math.inf


async def test_the_windows_of_a_stream_keep_their_order(autojump_clock: MockClock) -> None:
    async with open_lane() as lane:
        with lane.stream() as stream:
            for number in range(1, PENDING_MAX + 1):
                stream.submit(window(number))

            assert await answers(stream, PENDING_MAX) == list(range(1, PENDING_MAX + 1))
        assert lane.skipped == 0


async def test_when_the_lane_is_behind_the_oldest_windows_are_skipped_and_counted(autojump_clock: MockClock) -> None:
    gate = Gate()
    async with open_lane(gate) as lane:
        with lane.stream() as stream:
            stream.submit(window(1))
            await trio.sleep(0.1)
            for number in range(2, 2 + PENDING_MAX + 5):
                stream.submit(window(number))
                await trio.sleep(WINDOW_MS / 1000)
            gate.open.set()

            assert await answers(stream, 1 + PENDING_MAX) == [1, *range(7, 7 + PENDING_MAX)]
        assert lane.skipped == 5


async def test_of_what_comes_in_one_burst_nothing_is_skipped_that_has_not_waited_long(
    autojump_clock: MockClock,
) -> None:
    """As when the process has stood still for half a minute."""
    gate = Gate()
    async with open_lane(gate) as lane:
        with lane.stream() as stream:
            for number in range(BURST_MAX):
                stream.submit(window(number % 100))
            assert lane.skipped == 0
            stream.submit(window(1))
            assert lane.skipped == 1
            await trio.sleep(PENDING_MAX_S)
            stream.submit(window(1))
            assert lane.skipped == 2
            gate.open.set()

            assert len(await answers(stream, BURST_MAX)) == BURST_MAX


async def test_a_stream_with_a_backlog_does_not_starve_those_behind_it(autojump_clock: MockClock) -> None:
    """More streams than fit in a batch, all of them behind: everybody has a turn before anybody has two."""
    async with open_lane() as lane:
        with ExitStack() as stack:
            streams = [stack.enter_context(lane.stream()) for _ in range(BATCH_MAX + 10)]
            for stream in streams:
                for number in range(1, 4):
                    stream.submit(window(number))
            await answers(streams[-1], 1)

        assert len(lane.model.batches) <= 3


async def test_a_call_that_fails_at_an_answer_gets_no_more_and_harms_nobody_else(autojump_clock: MockClock) -> None:
    got: list[float] = []

    def judged(scored: Scored) -> None:
        got.append(scored.window.end_ms)
        raise ZeroDivisionError("the call's own fault")

    async with open_lane() as lane:
        with lane.engine.stream(judged, lambda: None) as broken, lane.stream() as other:
            for number in (1, 2):
                broken.submit(window(number))
                other.submit(window(number))
                assert await answers(other, 1) == [number]
            with pytest.raises(ZeroDivisionError):
                await broken.raise_failure()

    assert got == [window(1).end_ms]


async def test_a_call_that_does_not_fail_at_an_answer_raises_nothing(autojump_clock: MockClock) -> None:
    async with open_lane() as lane:
        with lane.stream() as stream, trio.move_on_after(1) as waited:
            stream.submit(window(1))
            await stream.place.raise_failure()

    assert waited.cancelled_caught


async def test_an_answer_is_given_in_the_context_of_its_own_call(autojump_clock: MockClock) -> None:
    def told(_: Scored) -> None:
        log.info("judged")

    async with open_lane() as lane:
        with ExitStack() as stack, capture_logs(processors=[merge_contextvars]) as logged:
            for call_id in ("one", "other"):
                with bound_contextvars(call_id=call_id):
                    place = stack.enter_context(lane.engine.stream(told, lambda: None))
                place.submit(window(1))
            await trio.sleep(1)

    assert [line["call_id"] for line in logged] == ["one", "other"]


async def test_a_stream_that_ends_while_the_model_runs_leaves_nothing(autojump_clock: MockClock) -> None:
    gate = Gate()
    async with open_lane(gate) as lane:
        with lane.stream() as gone:
            gone.submit(window(1))
            await trio.sleep(0.1)
            gone.submit(window(2))
        with lane.stream() as stream:
            stream.submit(window(3))
            gate.open.set()

            assert await answers(stream, 1) == [3]
        assert lane.model.batches == [1, 1]


async def test_a_stream_that_ends_before_the_model_ran_costs_no_run(autojump_clock: MockClock) -> None:
    async with open_lane() as lane:
        with lane.stream() as gone:
            gone.submit(window(1))
        await trio.sleep(1)

        assert lane.model.batches == []


@pytest.mark.parametrize("in_place", [False, True])
async def test_a_stream_that_ends_before_its_step_of_the_grid_costs_no_run(
    autojump_clock: MockClock, *, in_place: bool
) -> None:
    async with open_lane(in_place=in_place) as lane:
        with lane.stream() as gone:
            gone.submit(window(1))
            await wait_all_tasks_blocked()
        await trio.sleep(1)

        assert lane.model.batches == []


@pytest.mark.parametrize("in_place", [False, True])
async def test_a_model_that_fails_costs_its_windows_is_told_once_and_recovers(
    autojump_clock: MockClock, *, in_place: bool
) -> None:
    with capture_logs() as logged:
        async with open_lane(in_place=in_place) as lane:
            lane.model.failing = True
            with lane.stream() as stream:
                for number in range(1, 4):
                    stream.submit(window(number))
                    await trio.sleep(0.1)
                lane.model.failing = False
                stream.submit(window(9))

                assert await answers(stream, 1) == [9]
                lane.model.failing = True
                stream.submit(window(10))
                await trio.sleep(0.1)
            assert lane.skipped == 4
    assert [line["event"] for line in logged] == ["vad.failed", "vad.failed"]


ODD = Window(np.zeros(511, np.int16), 32.0)
"""No model takes a window of this length."""


class StrictModel(RememberingModel):
    """Takes windows of one length only, as the real one does."""

    def run(self, windows: Sequence[NDArray[np.int16]], states: Sequence[SileroState], gain_db: float) -> list[float]:
        if {len(window) for window in windows} != {512}:
            raise ValueError("a window has 512 samples")
        return super().run(windows, states, gain_db)


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("odd_first", [False, True])
async def test_a_window_that_cannot_be_judged_costs_nobody_else_an_answer(
    autojump_clock: MockClock, *, odd_first: bool, in_place: bool
) -> None:
    with capture_logs() as logged:
        async with open_lane(model=StrictModel(), in_place=in_place) as lane:
            with ExitStack() as stack:
                streams = [stack.enter_context(lane.stream()) for _ in range(4)]
                odd = streams.pop(0 if odd_first else 2)
                for number in (1, 2):
                    for stream in [odd, *streams] if odd_first else [*streams, odd]:
                        stream.submit(ODD if stream is odd else window(number))
                    for stream in streams:
                        assert await answers(stream, 1) == [number]
                await trio.sleep(0.1)
                assert lane.skipped == 2

                odd.submit(window(3))
                assert await answers(odd, 1) == [3]
    assert {line["event"] for line in logged} == {"vad.failed"}


async def test_a_call_that_fails_when_it_gets_no_answer_harms_nobody_else(autojump_clock: MockClock) -> None:
    def fail(*_: Scored) -> None:
        raise ZeroDivisionError("the call's own fault")

    async with open_lane(model=StrictModel()) as lane:
        with lane.engine.stream(fail, fail) as broken, lane.stream() as other:
            broken.submit(ODD)
            other.submit(window(1))
            assert await answers(other, 1) == [1]
            with pytest.raises(ZeroDivisionError):
                await broken.raise_failure()


class BrokenProbe(CoughProbe):
    def bounds(self, states: Sequence[SileroState]) -> list[float]:
        raise FloatingPointError("the probe broke")


async def test_a_cough_probe_that_fails_costs_windows_and_not_the_lane(autojump_clock: MockClock) -> None:
    with capture_logs() as logged:
        async with open_lane(probe=BrokenProbe(Weights([], [], [], [0.0] * (2 * STATE_SIZE), 0.0))) as lane:
            with lane.stream() as one, lane.stream() as other:
                for stream in (one, other, one):
                    stream.submit(window(1))
                await trio.sleep(1)
            assert lane.skipped == 3
    assert [line["event"] for line in logged] == ["vad.failed"]


async def test_a_second_window_waits_for_the_next_step_and_a_third_does_not(autojump_clock: MockClock) -> None:
    judged_at: list[int] = []
    async with open_lane() as lane:
        with lane.stream() as behind, lane.stream() as other:
            for number in (1, 2, 3):
                behind.submit(window(number))
            other.submit(window(1))
            for number in (1, 2, 3):
                assert await answers(behind, 1) == [number]
                judged_at.append(round(trio.current_time() / step_s(2)))

    assert lane.model.batches == [2, 1, 1]
    assert judged_at == [1, 1, 2]


async def test_what_is_due_on_one_step_of_the_grid_is_one_run(autojump_clock: MockClock) -> None:
    """Twenty calls, whose windows come in a different millisecond each: at most one run in 5 ms."""
    async with open_lane() as lane:
        with ExitStack() as stack:
            streams = [stack.enter_context(lane.stream()) for _ in range(20)]
            await trio.sleep_until(1.0002)
            for stream in streams:
                stream.submit(window(1))
                await trio.sleep(0.001)
            for stream in streams:
                assert await answers(stream, 1) == [1]

    assert sum(lane.model.batches) == 20
    assert len(lane.model.batches) <= 5


@pytest.mark.parametrize(
    ("calls", "tick_s", "waits_ms"),
    [(10, 0.002, {0, 2, 4}), (25, 0.005, {0, 5, 10, 15, 20}), (40, 0.01, {0, 10})],
)
async def test_what_comes_on_the_step_itself_is_judged_on_it(
    autojump_clock: MockClock, calls: int, tick_s: float, waits_ms: set[int]
) -> None:
    """As sockets are read on a tick of the same grid, whichever of the two tasks is woken first."""
    waited_ms = set()

    def judged(scored: Scored) -> None:
        waited_ms.add(round(trio.current_time() * 1000 - scored.window.end_ms))

    async with open_lane() as lane:
        with ExitStack() as stack:
            streams = [stack.enter_context(lane.engine.stream(judged, lambda: None)) for _ in range(calls)]
            for _ in range(20):
                await sleep_until(next_step(step_s(calls)))
                for stream in streams[: round(step_s(calls) / tick_s)]:
                    stream.submit(Window(np.zeros(512, np.int16), trio.current_time() * 1000))
                    await trio.sleep(tick_s)
            await trio.sleep(0.1)

    assert waited_ms == waits_ms


@pytest.mark.parametrize("calls", [21, 39, 40, 63, 64, 100])
def test_with_many_calls_a_step_of_the_grid_is_a_tick(calls: int) -> None:
    steps = step_s(calls) / (tick_s(calls * SOCKETS_PER_CALL) or math.nan)
    assert steps == pytest.approx(round(steps))


async def nowhere(_function: Callable[[], list[float]]) -> list[float]:
    raise AssertionError("nothing runs in the worker")


class TellingModel(Model):
    """Tells of its first run."""

    def __init__(self) -> None:
        super().__init__()
        self.has_run = trio.Event()

    def run(self, windows: Sequence[NDArray[np.int16]], states: Sequence[SileroState], gain_db: float) -> list[float]:
        self.has_run.set()
        return super().run(windows, states, gain_db)


async def test_a_quick_model_runs_in_place_a_bounded_batch_at_a_time(autojump_clock: MockClock) -> None:
    """Between two batches everybody else has a turn."""
    model = TellingModel()
    async with open_lane(nowhere, model, in_place=True) as lane:
        with ExitStack() as stack:
            streams = [stack.enter_context(lane.stream()) for _ in range(2 * BATCH_MAX + 1)]
            for stream in streams:
                stream.submit(window(1))
            await model.has_run.wait()
            assert len(model.batches) < 3
            for stream in streams:
                assert await answers(stream, 1) == [1]

    assert model.batches == [BATCH_MAX, BATCH_MAX, 1]


class SlowModel(Model):
    """Takes longer than a frame, as long as it is told to."""

    slow: bool = True

    def run(self, windows: Sequence[NDArray[np.int16]], states: Sequence[SileroState], gain_db: float) -> list[float]:
        if self.slow:
            done_s = time.thread_time() + IN_PLACE_MAX_S + 0.001
            while time.thread_time() < done_s:
                pass
        return super().run(windows, states, gain_db)


async def test_a_model_that_is_slow_in_place_goes_to_the_worker_for_a_while(autojump_clock: MockClock) -> None:
    in_worker = []

    async def worker(function: Callable[[], list[float]]) -> list[float]:
        in_worker.append(trio.current_time())
        return await run_inline(function)

    model = SlowModel()
    async with open_lane(worker, model, in_place=True) as lane:
        with lane.stream() as stream:
            for after_s, runs_in_worker in ((0, 0), (1, 1), (WORKER_S, 1), (WORKER_S + 1, 1)):
                await trio.sleep_until(after_s)
                stream.submit(window(7))
                assert await answers(stream, 1) == [7]
                assert len(in_worker) == runs_in_worker
                model.slow = False


async def test_a_model_that_a_busy_machine_holds_up_stays_in_place(autojump_clock: MockClock) -> None:
    """In the worker it would be held up as well."""

    class HeldUpModel(Model):
        def run(self, windows: Sequence[NDArray[np.int16]], *rest: Any) -> list[float]:
            time.sleep(IN_PLACE_MAX_S + 0.001)
            return super().run(windows, *rest)

    async with open_lane(nowhere, HeldUpModel(), in_place=True) as lane:
        with lane.stream() as stream:
            for number in range(3):
                stream.submit(window(number))
                assert await answers(stream, 1) == [number]


async def test_the_worker_of_the_daemon_gives_the_result_back() -> None:
    assert await run_in_worker(lambda: [0.5]) == [0.5]


async def test_leaving_does_not_wait_for_a_model_that_hangs() -> None:
    release = threading.Event()

    def hang() -> list[float]:
        release.wait(60)
        return []

    with trio.move_on_after(0.05) as scope:
        await run_in_worker(hang)
    release.set()

    assert scope.cancelled_caught
