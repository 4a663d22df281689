"""Runs the speech model for all calls in one lane: windows are collected for a moment and judged as one batch.

A hop to a worker thread costs as much as the model itself, and a batch of sixteen windows little more than three single
ones, so one lane for the daemon carries what a hop per window cannot. The audio of a call never waits for it: a window
goes in without blocking, its probability comes back through the stream's own bounded channel.
"""

import math
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import structlog
import trio
from numpy.typing import NDArray

from relay.media.cough_probe import CoughProbe
from relay.media.detector import WINDOW_MS
from relay.media.features import model_input
from relay.media.silero import SileroState
from relay.media.windows import Window
from relay.metrics import Metrics
from relay.wakeup import Signal

Executor = Callable[[Callable[[], list[float]]], Awaitable[list[float]]]

COLLECT_MIN_S = 0.002
COLLECT_MAX_S = 0.006
COLLECT_PER_STREAM_S = 0.0003
"""How long the lane waits for the windows of other calls before it runs the model: with many calls a little longer, as
the answer to all of them together then comes no later."""
BATCH_MAX = 64
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

    def run(self, windows: Sequence[NDArray[np.float32]], states: Sequence[SileroState]) -> list[float]: ...


@dataclass(frozen=True, slots=True)
class Scored:
    """The answers for one window: the model's, and the cough probe's bound on its log-odds."""

    window: Window
    probability: float
    voice_bound: float = math.inf


class VadStream:
    """The windows of one call, in order."""

    def __init__(self, state: SileroState, wake: Callable[["VadStream"], None], skipped: Callable[[], None]) -> None:
        self.state = state
        self.pending: deque[tuple[Window, float]] = deque()
        self.skipped = skipped
        """To be called for each window that the model did not judge."""
        self._wake = wake
        self._send, self.results = trio.open_memory_channel[Scored](PENDING_MAX)

    def submit(self, window: Window) -> None:
        """Queue a window; the oldest waiting one is skipped, and counted, when the lane is behind."""
        now = trio.current_time()
        waiting = len(self.pending)
        if waiting == BURST_MAX or (waiting >= PENDING_MAX and now >= self.pending[0][1] + PENDING_MAX_S):
            self.pending.popleft()
            self.skipped()
        self.pending.append((window, now))
        self._wake(self)

    def deliver(self, scored: Scored) -> None:
        """Give the call an answer. Never waits: if the call reads none, this one is skipped, and counted."""
        try:
            self._send.send_nowait(scored)
        except trio.WouldBlock:
            self.skipped()
        except trio.ClosedResourceError:
            return  # the call ended while the model ran

    def close(self) -> None:
        """Forget what waits; whoever reads `results` is at the end."""
        self.pending.clear()
        self._send.close()
        self.results.close()


async def run_in_worker(function: Callable[[], list[float]]) -> list[float]:
    """The lane's executor in the daemon; tests on a virtual clock run the model inline instead."""
    return await trio.to_thread.run_sync(function, abandon_on_cancel=True)


class VadEngine:
    """The lane. `run` is its one task; `stream` gives a call its place for as long as the context is open."""

    def __init__(
        self,
        model: SpeechModel,
        metrics: Metrics,
        *,
        probe: CoughProbe | None = None,
        gain_db: float = 0.0,
        executor: Executor = run_in_worker,
    ) -> None:
        self._model = model
        self._probe = probe
        self._gain_db = gain_db
        self._metrics = metrics
        self._executor = executor
        self._ready: dict[VadStream, None] = {}
        self._some_ready = Signal()
        self._open_streams = 0
        self._failing = False

    @contextmanager
    def stream(self, skipped: Callable[[], None]) -> Iterator[VadStream]:
        """`skipped` is called for each window that gets no answer."""
        stream = VadStream(self._model.new_state(), self._wake, skipped)
        self._open_streams += 1
        try:
            yield stream
        finally:
            self._open_streams -= 1
            self._ready.pop(stream, None)
            stream.close()

    def _wake(self, stream: VadStream) -> None:
        self._ready[stream] = None
        self._some_ready.fire()

    async def run(self) -> None:
        """Serve all streams until cancelled. A model that fails costs its windows, never the daemon."""
        while True:
            while not self._ready:
                await self._some_ready.wait()
            await trio.sleep(min(COLLECT_MAX_S, max(COLLECT_MIN_S, self._open_streams * COLLECT_PER_STREAM_S)))
            while self._ready:
                await self._run_batch()

    async def _run_batch(self) -> None:
        streams = list(self._ready)[:BATCH_MAX]
        batch = [stream.pending.popleft() for stream in streams]
        for stream in streams:
            del self._ready[stream]
            if stream.pending:
                self._ready[stream] = None  # behind those that were not in this batch
        windows = [model_input(window.samples, self._gain_db) for window, _ in batch]
        states = [stream.state for stream in streams]
        probabilities = await self._score(windows, states)
        bounds = self._probe.bounds(states) if self._probe else [math.inf] * len(states)
        now = trio.current_time()
        for stream, (window, submitted_at), probability, bound in zip(
            streams, batch, probabilities, bounds, strict=True
        ):
            self._metrics.vad_delay.observe(now - submitted_at)
            if math.isnan(probability):
                stream.skipped()
            else:
                stream.deliver(Scored(window, probability, bound))

    async def _score(self, windows: list[NDArray[np.float32]], states: list[SileroState]) -> list[float]:
        try:
            probabilities = await self._executor(lambda: self._model.run(windows, states))
        except Exception:
            if not self._failing:
                log.exception("vad.failed", windows=len(windows))
            self._failing = True
            return [math.nan] * len(windows)
        self._failing = False
        return probabilities
