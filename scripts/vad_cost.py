"""What the speech detector costs per call: all calls in one lane, against a run of the model per window in place.

    .venv/bin/python scripts/vad_cost.py

Prints CPU milliseconds per call and second of audio for 1, 20 and 50 calls that speak in real time, in one process with
nothing but the detector in it; for the lane also how long a window waits for its answer.
"""

import statistics
import time
from collections.abc import Callable

import numpy as np
import trio

from relay.call.vad_engine import VadEngine
from relay.media.detector import Detector, DetectorSettings
from relay.media.features import model_input
from relay.media.frames import WIDEBAND
from relay.media.silero import SileroModel
from relay.media.windows import Window, WindowCutter
from relay.metrics import Metrics
from relay.standin.phrases import spoken

SECONDS = 8
WINDOW_S = 0.032
CALLS = (1, 20, 50)
GAIN_DB = DetectorSettings().model_gain_db


async def speak(windows: list[Window], part: float, act: Callable[[Window], None]) -> None:
    """One call's windows, each when its time has come; `part` of a window shifts the call against the others."""
    start = trio.current_time() + part * WINDOW_S
    for number, window in enumerate(windows[: int(SECONDS / WINDOW_S)]):
        await trio.sleep_until(start + number * WINDOW_S)
        act(window)


async def call_in_lane(engine: VadEngine, windows: list[Window], part: float, delays_ms: list[float]) -> None:
    detector = Detector()
    sent_at: dict[float, float] = {}
    with engine.stream(lambda: None) as stream:

        async def judge() -> None:
            async for scored in stream.results:
                delays_ms.append((trio.current_time() - sent_at.pop(scored.window.end_ms)) * 1000)
                detector.push(scored.window.samples, scored.probability, scored.window.end_ms)

        def submit(window: Window) -> None:
            sent_at[window.end_ms] = trio.current_time()
            stream.submit(window)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(judge)
            await speak(windows, part, submit)
            await trio.sleep(0.3)
            nursery.cancel_scope.cancel()


async def call_inline(model: SileroModel, windows: list[Window], part: float) -> None:
    detector, state = Detector(), model.new_state()

    def run(window: Window) -> None:
        probability = model.run([model_input(window.samples, GAIN_DB)], [state])[0]
        detector.push(window.samples, probability, window.end_ms)

    await speak(windows, part, run)


async def cost(model: SileroModel, windows: list[Window], calls: int, delays_ms: list[float] | None) -> float:
    """CPU ms per call-second: in the lane if `delays_ms` takes its delays, else inline."""
    engine = VadEngine(model, Metrics(), gain_db=GAIN_DB)
    before_s = time.process_time()
    async with trio.open_nursery() as lane:
        lane.start_soon(engine.run)
        async with trio.open_nursery() as callers:
            for number in range(calls):
                part = number / calls
                if delays_ms is None:
                    callers.start_soon(call_inline, model, windows, part)
                else:
                    callers.start_soon(call_in_lane, engine, windows, part, delays_ms)
        lane.cancel_scope.cancel()
    return (time.process_time() - before_s) * 1000 / calls / SECONDS


def main() -> None:
    model = SileroModel.load(16000)
    samples = np.frombuffer(spoken("description", WIDEBAND), np.int16)
    windows = WindowCutter(model.window_samples, model.rate_hz).push(samples)
    for calls in CALLS:
        delays_ms: list[float] = []
        lane_ms = trio.run(cost, model, windows, calls, delays_ms)
        inline_ms = trio.run(cost, model, windows, calls, None)
        p99 = statistics.quantiles(delays_ms, n=100)[98]
        print(
            f"{calls:3d} calls: lane {lane_ms:5.1f} ms, inline {inline_ms:5.1f} ms of CPU per call-second; "
            f"answer after {statistics.median(delays_ms):.1f} ms, 99 % within {p99:.1f} ms"
        )


if __name__ == "__main__":
    main()
