"""Runs the speech model for all calls in one lane: what is due on one step of a time grid is judged as one batch.

A batch of sixteen windows costs no more than six single ones, and one wake-up instead of sixteen. A call has one window
in a batch, as each goes on from the one before. So that a step has one run, a second window of a call waits for the
next step; only who has more is judged again on the same one, until one window waits. A quick model runs in place, a
bounded batch at a time; a slow one in a worker thread, whose hop costs more than a quick model does. No call waits for
the lane: a window goes in without blocking. Nor does the lane wait for a call: it hands each answer to a plain function
of the call, as no task has to be woken for that.
"""

import math
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import copy_context
from functools import partial
from itertools import islice
from typing import Protocol

import numpy as np
import structlog
import trio
from msgspec import Struct
from numpy.typing import NDArray

from relay.media.cough_probe import CoughProbe
from relay.media.detector import WINDOW_MS
from relay.media.features import levels_dbfs
from relay.media.silero import SileroState
from relay.media.windows import Window
from relay.metrics import Metrics
from relay.wakeup import Signal, next_step, sleep_until

Executor = Callable[[Callable[[], list[float]]], Awaitable[list[float]]]

STEPS_S = ((40, 0.020), (21, 0.025), (10, 0.006), (0, 0.002))
"""From so many streams on, the step of the grid: wider ones with many calls, as a run costs much for one window and
little for each more, and the megabyte of its weights drives all else out of the processor's cache. From 21 calls on
each is a multiple of the tick on which sockets are read (see `relay.net.link.shared_reader`), and what is read on the
lane's own step is judged on it: so a window waits for 13 ms on average with 25 calls, 5 from 40 on, and 2.5 with
ten."""
EACH_STEP = 10
"""With so many streams nearly every step has windows: the lane wakes on each, and not for the first window as well."""
BATCH_MAX = 64
"""Windows in a batch, as many as a step has at 100 calls. In place: under a millisecond, for which all audio waits."""
IN_PLACE_MAX_S = 0.020
"""CPU time. A run in place that takes more, a frame of 20 ms, is followed by `WORKER_S` of runs in the worker."""
WORKER_S = 10.0
PENDING_MAX = 40
"""Windows of one call (1.28 s) that may wait; the oldest is skipped when there are more and it has waited as long."""
PENDING_MAX_S = PENDING_MAX * WINDOW_MS / 1000
BURST_MAX = int(30_000 // WINDOW_MS)
"""When this process has stood still, the audio of all the time comes at once, and none of it has waited yet: unless it
is judged, no pause in it may be left out, and the assistant stays behind."""

log = structlog.get_logger(__name__)


class SpeechModel(Protocol):
    """The part of `relay.media.silero.SileroModel` that the lane needs."""

    def new_state(self) -> SileroState: ...

    def run(
        self, windows: Sequence[NDArray[np.int16]], states: Sequence[SileroState], gain_db: float
    ) -> list[float]: ...


class Scored(Struct, frozen=True, gc=False):
    """The answers for one window: its level, the model's, and the cough probe's bound on the model's log-odds."""

    window: Window
    level_dbfs: float
    probability: float
    voice_bound: float = math.inf


class WindowQueue(Protocol):
    """Takes the windows of one call, in order: see `VadStream`."""

    def submit(self, window: Window) -> None: ...

    async def raise_failure(self) -> None: ...


class SpeechLane(Protocol):
    """Judges the windows of calls: see `VadEngine`."""

    def stream(
        self, judged: Callable[[Scored], None], skipped: Callable[[], None]
    ) -> AbstractContextManager[WindowQueue]: ...


class VadStream:
    """The windows of one call, in order."""

    def __init__(
        self,
        state: SileroState,
        wake: Callable[["VadStream"], None],
        judged: Callable[[Scored], None],
        skipped: Callable[[], None],
    ) -> None:
        self.state = state
        self.pending: deque[tuple[Window, float]] = deque()
        self._wake = wake
        self._judged = judged
        self._skipped = skipped
        self._context = copy_context()
        self._closed = False
        self._failure: Exception | None = None
        self._failed = Signal()

    def submit(self, window: Window) -> None:
        """Queue a window; the oldest waiting one is skipped, and counted, when the lane is behind."""
        now = trio.current_time()
        waiting = len(self.pending)
        if waiting == BURST_MAX or (waiting >= PENDING_MAX and now >= self.pending[0][1] + PENDING_MAX_S):
            self.pending.popleft()
            self._skipped()
        self.pending.append((window, now))
        self._wake(self)

    def deliver(self, scored: Scored) -> None:
        """Give the call an answer, in the context in which it opened the stream: its log lines bear its id.

        If it fails at that, neither the lane nor another call does: see `raise_failure`.
        """
        self._tell(partial(self._judged, scored))

    def skip(self) -> None:
        """Tell the call that there is no answer for a window. As `deliver`."""
        self._tell(self._skipped)

    def _tell(self, tell: Callable[[], None]) -> None:
        if self._closed or self._failure is not None:
            return
        try:
            self._context.run(tell)
        except Exception as failure:  # noqa: BLE001 - raised again where it belongs
            self._failure = failure
            self._failed.fire()

    async def raise_failure(self) -> None:
        """Raise what the call raised at an answer, once it has: for a task of the call. No more answers follow."""
        while self._failure is None:
            await self._failed.wait()
        raise self._failure

    def close(self) -> None:
        """Forget what waits, and give no more answers."""
        self.pending.clear()
        self._closed = True


async def run_in_worker(function: Callable[[], list[float]]) -> list[float]:
    """The lane's executor in the daemon; tests on a virtual clock run the model inline instead."""
    return await trio.to_thread.run_sync(function, abandon_on_cancel=True)


def step_s(streams: int) -> float:
    """The step of the grid with so many streams."""
    return next(step for least, step in STEPS_S if streams >= least)


class VadEngine:
    """The lane. `run` is its one task; `stream` gives a call its place for as long as the context is open.

    `in_place` is for a model that only computes, and never waits for anything.
    """

    def __init__(
        self,
        model: SpeechModel,
        metrics: Metrics,
        *,
        probe: CoughProbe | None = None,
        gain_db: float = 0.0,
        in_place: bool = False,
        executor: Executor = run_in_worker,
    ) -> None:
        self._model = model
        self._probe = probe
        self._gain_db = gain_db
        self._metrics = metrics
        self._in_place = in_place
        self._worker_until = -math.inf
        self._executor = executor
        self._ready: dict[VadStream, None] = {}
        """Streams with windows that wait for the next step."""
        self._due: dict[VadStream, None] = {}
        """Streams with windows that are judged on this step."""
        self._some_ready = Signal()
        self._open_streams = 0
        self._failing = False

    @contextmanager
    def stream(self, judged: Callable[[Scored], None], skipped: Callable[[], None]) -> Iterator[VadStream]:
        """`judged` is called with each answer, in the lane's task: it must not block. What it raises comes out of the
        stream's `raise_failure`. `skipped` is called for each window that gets no answer."""
        stream = VadStream(self._model.new_state(), self._wake, judged, skipped)
        self._open_streams += 1
        try:
            yield stream
        finally:
            self._open_streams -= 1
            self._ready.pop(stream, None)
            self._due.pop(stream, None)
            stream.close()

    def _wake(self, stream: VadStream) -> None:
        self._ready[stream] = None
        self._some_ready.fire()

    async def run(self) -> None:
        """Serve all streams until cancelled. A model that fails costs its windows, never the daemon."""
        while True:
            while not self._ready and self._open_streams < EACH_STEP:
                await self._some_ready.wait()
            await sleep_until(next_step(step_s(self._open_streams)))
            await trio.lowlevel.checkpoint()  # first the sockets are read, by a task that the same step wakes
            self._due, self._ready = self._ready, {}
            while self._due:  # not if its streams have ended meanwhile
                await self._run_batch()
                if self._due:  # a long backlog is judged a batch at a time
                    await trio.lowlevel.checkpoint()

    async def _run_batch(self) -> None:
        streams = list(islice(self._due, BATCH_MAX))
        batch = [stream.pending.popleft() for stream in streams]
        for stream in streams:
            del self._due[stream]
            if len(stream.pending) > 1:
                self._due[stream] = None  # behind those that were not in this batch
            elif stream.pending:
                self._ready[stream] = None
        windows = [window.samples for window, _ in batch]
        answers = await self._judge(windows, [stream.state for stream in streams])
        now = trio.current_time()
        for stream, (window, submitted_at), answer in zip(streams, batch, answers, strict=True):
            self._metrics.vad_delay.observe(now - submitted_at)
            if answer is None:
                stream.skip()
            else:
                stream.deliver(Scored(window, *answer))

    async def _judge(
        self, windows: list[NDArray[np.int16]], states: list[SileroState]
    ) -> Sequence[tuple[float, float, float] | None]:
        """The level, the probability and the bound of each window; None where there is no answer.

        When a batch fails each of its windows is tried alone, so that a call costs nobody else an answer.
        """
        try:
            answers = await self._judge_at_once(windows, states)
        except Exception:
            if len(windows) > 1:
                alone = zip(windows, states, strict=True)
                return [answer for window, state in alone for answer in await self._judge([window], [state])]
            if not self._failing:
                log.exception("vad.failed", repeats=())
            self._failing = True
            return [None]
        self._failing = False
        return answers

    async def _judge_at_once(
        self, windows: list[NDArray[np.int16]], states: list[SileroState]
    ) -> list[tuple[float, float, float]]:
        levels = levels_dbfs(windows)
        judge = partial(self._model.run, windows, states, self._gain_db)
        in_place = self._in_place and trio.current_time() >= self._worker_until
        probabilities = self._judge_in_place(judge) if in_place else await self._executor(judge)
        bounds = self._probe.bounds(states) if self._probe else [math.inf] * len(states)
        return list(zip(levels, probabilities, bounds, strict=True))

    def _judge_in_place(self, judge: Callable[[], list[float]]) -> list[float]:
        began_s = time.thread_time()
        try:
            return judge()
        finally:
            if time.thread_time() - began_s > IN_PLACE_MAX_S:
                self._worker_until = trio.current_time() + WORKER_S
