"""Makes traces of calls, and hands them to a receiver of OpenTelemetry's from a thread of its own.

The states of the thread:

| state     | meaning                        | leaves when                                     | deadline           |
|-----------|--------------------------------|-------------------------------------------------|--------------------|
| waiting   | there is no span               | one comes -> gathering                          |                    |
| gathering | more may follow                | there are BATCH_MAX, or it is time -> exporting | GATHER_S           |
| exporting | the receiver is given a batch  | it has taken it -> waiting; it failed: the      | EXPORT_TIMEOUT_S,  |
|           |                                | batch is lost, and counted -> waiting           | repetitions and all|
| closing   | what waits is exported, once   | all is, or it is time: the rest is lost         | CLOSE_S            |

No call waits: of more than WAITING_MAX spans the newest are dropped, and counted.
"""

import queue
import secrets
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Protocol

import structlog
import trio

from relay.call.report.events import CallEnded, CallStarted
from relay.call.report.listeners import CallNews
from relay.call.report.spans import CallSpans, TracedSpan
from relay.config import TracingConfig
from relay.extras import extra

WAITING_MAX = 2048
"""Some minutes of twenty calls, two megabytes."""
BATCH_MAX = 64
"""A batch is made in 3 ms (measured), in which the event loop may have to wait."""
GATHER_S = 1.0
CLOSE_S = 0.5
"""At the end of the process, beside all else that has to be done before systemd ends it."""

log = structlog.get_logger(__name__)


class SpanReceiver(Protocol):
    """Where spans go."""

    def export(self, spans: Sequence[TracedSpan]) -> str | None:
        """Wait until they are taken; returns why they are lost, if so. Called from one thread."""
        ...

    def stop(self) -> None:
        """Give up what is under way, from any thread."""
        ...


def load_span_exporter(config: TracingConfig) -> SpanReceiver | None:
    """None: nothing is traced. Raises ConfigError if the extra is not installed."""
    if not config.endpoint:
        return None
    with extra("otel", "tracing.endpoint"):
        from relay.daemon.span_exporter import SpanExporter  # noqa: PLC0415 - 10 MB that only its users need

    return SpanExporter(config.endpoint)


class Tracer:
    """One per daemon. `dropped` is called with how many spans were lost, from either thread."""

    def __init__(self, receiver: SpanReceiver, dropped: Callable[[int], object]) -> None:
        self._receiver = receiver
        self._dropped = dropped
        self._calls: dict[str, tuple[CallSpans, int, float]] = {}
        self._waiting: queue.Queue[TracedSpan | None] = queue.Queue(WAITING_MAX)
        self._closing = threading.Event()
        self._failing = False
        self._thread = threading.Thread(target=self._run, name="traces", daemon=True)
        self._thread.start()

    def note(self, news: CallNews) -> None:
        """For `calls.listeners`. It never waits."""
        if isinstance(news.event, CallStarted):
            self._calls[news.call_id] = (CallSpans(), secrets.randbits(64), time.time() - news.at_s)
        if news.call_id not in self._calls:
            return
        spans, first_id, began_at = self._calls[news.call_id]
        for span in spans.note(news.event, news.at_s):
            try:
                self._waiting.put_nowait(TracedSpan(news.call_id, first_id, began_at, span))
            except queue.Full:
                self._dropped(1)
        if isinstance(news.event, CallEnded):
            del self._calls[news.call_id]

    def close(self) -> None:
        """Export what waits, within CLOSE_S. Not on the event loop."""
        self._closing.set()
        with suppress(queue.Full):
            self._waiting.put_nowait(None)  # wakes a thread that waits
        self._thread.join(CLOSE_S)
        self._receiver.stop()

    def _run(self) -> None:
        while not (self._closing.is_set() and self._waiting.empty()):
            if batch := self._gather():
                self._export(batch)

    def _gather(self) -> list[TracedSpan]:
        first = self._waiting.get()
        batch = [] if first is None else [first]
        until = time.monotonic() + GATHER_S
        while batch and len(batch) < BATCH_MAX:
            left_s = 0.0 if self._closing.is_set() else max(0.0, until - time.monotonic())
            try:
                span = self._waiting.get(timeout=left_s)
            except queue.Empty:
                break
            if span is not None:
                batch.append(span)
        return batch

    def _export(self, batch: Sequence[TracedSpan]) -> None:
        try:
            error = self._receiver.export(batch)
        except Exception as fault:  # noqa: BLE001 - a fault of the library must not end the thread
            error = f"{type(fault).__name__}: {fault}"
        if error is not None:
            self._dropped(len(batch))
        if (error is not None) is self._failing or self._closing.is_set():  # what is closing may have no log any more
            return
        self._failing = error is not None
        if error is not None:
            log.warning("tracing.failed", error=error, repeats=())
        else:
            log.info("tracing.recovered", repeats=())


@asynccontextmanager
async def open_tracer(receiver: SpanReceiver, dropped: Callable[[int], object]) -> AsyncIterator[Tracer]:
    """It takes news while the context is open. On leaving, what waits is exported, in CLOSE_S at most."""
    tracer = Tracer(receiver, dropped)
    try:
        yield tracer
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(tracer.close)
