"""Measures what the speech detector costs a call: all calls in one lane, with either engine, and one run a window.

The callers speak in real time, spread over a window, in one process with nothing else in it. What the same callers cost
without a detector is measured beside it and taken off: in a call that is the price of the audio, not of the detector.
"""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import trio
from rich.table import Table

from relay.call.caller.vad_engine import Scored, VadEngine
from relay.media.cough_probe import CoughProbe
from relay.media.detector import WINDOW_MS, Detector, DetectorSettings
from relay.media.features import level_dbfs
from relay.media.frames import WIDEBAND
from relay.media.silero import SileroModel
from relay.media.windows import Window, WindowCutter
from relay.metrics import Metrics
from relay.standin.phrases import spoken

CALLS = (1, 20, 50)
ROUNDS = 5
"""Each way is measured so often, in turns, and the median counts: a shared machine is not the same for long."""
LAST_ANSWER_S = 0.3
"""So long after the last window the lane has answered, or it is not waited for."""
GAIN_DB = DetectorSettings().model_gain_db
WINDOW_S = WINDOW_MS / 1000


class CostRow(msgspec.Struct, frozen=True):
    """The cost with so many calls: ms of CPU per call and second of audio, and how long a window waits in the lane.

    The lane runs numpy in place, or onnxruntime in its worker thread. `lane_to_inline` is the first cost divided by the
    one of running numpy for each window by itself, `answer_ms` the "p50" and "p99" of the wait with numpy.
    """

    calls: int
    lane_cpu_ms_per_call_second: float
    onnxruntime_cpu_ms_per_call_second: float
    inline_cpu_ms_per_call_second: float
    lane_to_inline: float
    answer_ms: dict[str, float]


class VadCost(msgspec.Struct, frozen=True):
    """The cost for each number of calls. Each figure comes from `seconds` of speech, all rounds together."""

    seconds: float
    rows: list[CostRow]

    def as_json(self) -> dict[str, Any]:
        return dict(msgspec.to_builtins(self))

    def table(self) -> Table:
        table = Table(title=f"the speech detector, {self.seconds:g} s each: CPU, ms per call and second")
        for heading in ("calls", "in one lane", "onnxruntime", "inline", "ratio", "answer, p50 / p99 ms"):
            table.add_column(heading, justify="right")
        for row in self.rows:
            lane = (row.lane_cpu_ms_per_call_second, row.onnxruntime_cpu_ms_per_call_second)
            cpu = (*lane, row.inline_cpu_ms_per_call_second)
            answer = f"{row.answer_ms['p50']:.1f} / {row.answer_ms['p99']:.1f}"
            table.add_row(str(row.calls), *(f"{ms:.1f}" for ms in cpu), f"{row.lane_to_inline:.2f}", answer)
        return table


def vad_cost(seconds: float, calls: Sequence[int] = CALLS) -> VadCost:
    """Measure each number of calls. Each takes four times `seconds`. Raises `ConfigError` without the model."""
    model, onnxruntime = SileroModel.load(16000, "numpy"), SileroModel.load(16000, "onnxruntime")
    probe = CoughProbe.load(model.rate_hz)
    speech = np.frombuffer(spoken("description", WIDEBAND), np.int16)
    windows = WindowCutter(model.window_samples, model.rate_hz).push(speech)
    return VadCost(
        seconds, [_measure(_Load(model, onnxruntime, probe, windows, number, seconds / ROUNDS)) for number in calls]
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Load:
    """Has `calls` callers speak for `seconds`. `answers_ms` collects how long their windows waited in the lane."""

    model: SileroModel
    onnxruntime: SileroModel
    probe: CoughProbe
    windows: Sequence[Window]
    calls: int
    seconds: float
    answers_ms: list[float] = field(default_factory=list)

    def lane(self) -> VadEngine:
        """As the daemon has it."""
        return VadEngine(self.model, Metrics(), probe=self.probe, gain_db=GAIN_DB, in_place=True)

    def onnxruntime_lane(self) -> VadEngine:
        return VadEngine(self.onnxruntime, Metrics(), probe=self.probe, gain_db=GAIN_DB)

    async def cpu_ms(self, engine: VadEngine, call: Callable[[VadEngine, float], Awaitable[None]]) -> float:
        """Return the CPU time per call and second, in ms, with this done for each call."""
        before_s = time.process_time()
        async with trio.open_nursery() as lane:
            lane.start_soon(engine.run)
            async with trio.open_nursery() as callers:
                for number in range(self.calls):
                    callers.start_soon(call, engine, number / self.calls)
            lane.cancel_scope.cancel()
        return (time.process_time() - before_s) * 1000 / self.calls / self.seconds

    async def undetected(self, _engine: VadEngine, part: float) -> None:
        await self._speak(part, lambda _window: None)

    async def inline(self, _engine: VadEngine, part: float) -> None:
        detector, state = Detector(), self.model.new_state()

        def judge(window: Window) -> None:
            (probability,) = self.model.run([window.samples], [state], GAIN_DB)
            (bound,) = self.probe.bounds([state])
            detector.push(level_dbfs(window.samples), probability, window.end_ms, bound)

        await self._speak(part, judge)

    async def in_lane(self, engine: VadEngine, part: float) -> None:
        await self._in_lane(engine, part, self.answers_ms)

    async def in_onnxruntime_lane(self, engine: VadEngine, part: float) -> None:
        await self._in_lane(engine, part, [])

    async def _in_lane(self, engine: VadEngine, part: float, answers_ms: list[float]) -> None:
        detector = Detector()
        submitted_s: dict[float, float] = {}

        def judge(scored: Scored) -> None:
            waited_s = trio.current_time() - submitted_s.pop(scored.window.end_ms)
            answers_ms.append(waited_s * 1000)
            detector.push(scored.level_dbfs, scored.probability, scored.window.end_ms, scored.voice_bound)

        with engine.stream(judge, lambda: None) as stream:

            def submit(window: Window) -> None:
                submitted_s[window.end_ms] = trio.current_time()
                stream.submit(window)

            await self._speak(part, submit)
            await trio.sleep(LAST_ANSWER_S)

    async def _speak(self, part: float, act: Callable[[Window], None]) -> None:
        """Act on one call's windows, each when its time has come; `part` of a window shifts it against other calls."""
        start_s = trio.current_time() + part * WINDOW_S
        for number in range(int(self.seconds / WINDOW_S)):
            await trio.sleep_until(start_s + number * WINDOW_S)
            act(Window(self.windows[number % len(self.windows)].samples, (number + 1) * WINDOW_MS))


def _measure(load: _Load) -> CostRow:
    ways = (
        (load.lane, load.undetected),
        (load.lane, load.inline),
        (load.lane, load.in_lane),
        (load.onnxruntime_lane, load.in_onnxruntime_lane),
    )
    rounds = [[trio.run(load.cpu_ms, engine(), way) for engine, way in ways] for _ in range(ROUNDS)]
    undetected_ms, inline_ms, lane_ms, onnxruntime_ms = np.median(rounds, axis=0).tolist()
    p50, p99 = np.percentile(load.answers_ms, [50, 99]).tolist()
    return CostRow(
        calls=load.calls,
        lane_cpu_ms_per_call_second=round(lane_ms - undetected_ms, 2),
        onnxruntime_cpu_ms_per_call_second=round(onnxruntime_ms - undetected_ms, 2),
        inline_cpu_ms_per_call_second=round(inline_ms - undetected_ms, 2),
        lane_to_inline=round((lane_ms - undetected_ms) / (inline_ms - undetected_ms), 3),
        answer_ms={"p50": round(p50, 2), "p99": round(p99, 2)},
    )
