"""Sends spans to a receiver of OpenTelemetry's, by OTLP over HTTP. It needs the extra `otel`.

The library makes and writes the spans; ids are ours, so that the id of a trace is that of its call.
"""

import logging
import socket
from collections.abc import Sequence

from opentelemetry.exporter.otlp.proto.http import trace_exporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.trace.propagation import set_span_in_context

from relay import __version__
from relay.call.report.spans import TracedSpan

EXPORT_TIMEOUT_S = 10.0
"""Of one batch, with its repetitions."""
_KINDS = {"call": SpanKind.SERVER, "dial": SpanKind.CLIENT}
_NS = 1_000_000_000
_LIBRARY = logging.getLogger(trace_exporter.__name__)


class SpanExporter:
    """For one thread."""

    def __init__(self, endpoint: str) -> None:
        self._exporter = trace_exporter.OTLPSpanExporter(endpoint=endpoint, timeout=EXPORT_TIMEOUT_S)
        self._ids, self._ended = _GivenIds(), _Ended()
        resource = {"service.name": "relay", "service.version": __version__, "host.name": socket.gethostname()}
        provider = TracerProvider(
            resource=Resource.create(resource), sampler=ALWAYS_ON, id_generator=self._ids, shutdown_on_exit=False
        )
        provider.add_span_processor(self._ended)
        self._tracer = provider.get_tracer("relay", __version__)
        self._said = _FirstLine()
        _LIBRARY.propagate = False  # our own line says it once
        _LIBRARY.addHandler(self._said)

    def export(self, spans: Sequence[TracedSpan]) -> str | None:
        """Wait until the receiver has taken the spans, EXPORT_TIMEOUT_S at most. Returns why it has not, if so."""
        for span in spans:
            self._make(span)
        ended, self._ended.spans = self._ended.spans, []
        self._said.text = ""
        taken = self._exporter.export(ended) is SpanExportResult.SUCCESS
        return None if taken else self._said.text

    def stop(self) -> None:
        """Give up what is under way. It may be called from another thread."""
        self._exporter.shutdown()  # type: ignore[no-untyped-call]
        _LIBRARY.removeHandler(self._said)

    def _make(self, traced: TracedSpan) -> None:
        span, trace_id = traced.span, int(traced.call_id, 16)
        self._ids.trace_id, self._ids.span_id = trace_id, traced.id_of(span.number)
        parent = None
        if span.parent is not None:
            flags = TraceFlags(TraceFlags.SAMPLED)
            parent = SpanContext(trace_id, traced.id_of(span.parent), is_remote=False, trace_flags=flags)
        made = self._tracer.start_span(
            span.name,
            context=None if parent is None else set_span_in_context(NonRecordingSpan(parent)),
            kind=_KINDS.get(span.name, SpanKind.INTERNAL),
            attributes={f"relay.{key}": value for key, value in {"call_id": traced.call_id, **span.attributes}.items()},
            start_time=_ns(traced, span.began_at_s),
        )
        if span.failed is not None:
            made.set_status(Status(StatusCode.ERROR, span.failed))
        made.end(_ns(traced, span.ended_at_s))


def _ns(traced: TracedSpan, at_s: float) -> int:
    return round((traced.began_at + at_s) * _NS)


class _GivenIds(IdGenerator):
    """Gives the ids that the next span is to have."""

    trace_id = span_id = 0

    def generate_trace_id(self) -> int:
        return self.trace_id

    def generate_span_id(self) -> int:
        return self.span_id


class _Ended(SpanProcessor):
    """Has the spans that have ended."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        self.spans.append(span)


class _FirstLine(logging.Handler):
    """Keeps what the exporter said first since `text` was emptied: it tells in its log alone why an export failed, and
    after repetitions no more than that there were too many."""

    text = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.text = self.text or record.getMessage()
