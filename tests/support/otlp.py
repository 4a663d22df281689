"""A receiver of OpenTelemetry's: OTLP over HTTP, decoded with OpenTelemetry's own messages."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import trio
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from relay.standin.http import Request, Response, serve_connection


@dataclass(frozen=True, slots=True)
class ReceivedSpan:
    """A span as it came over the wire. Ids are in hexadecimal; `parent_id` is empty for the span of a call."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    began_at_s: float
    ended_at_s: float
    kind: str
    failed: str | None
    attributes: dict[str, Any]


@dataclass
class OtlpReceiver:
    """`status` is what it answers. `resources` are the attributes of whoever sent spans."""

    url: str = ""
    status: int = 200
    requests: int = 0
    spans: list[ReceivedSpan] = field(default_factory=list)
    resources: list[dict[str, Any]] = field(default_factory=list)
    _changed: trio.Event = field(default_factory=trio.Event)

    async def wait(self, holds: Callable[[], bool]) -> None:
        with trio.fail_after(20):
            while not holds():
                await self._changed.wait()

    async def wait_for(self, name: str) -> ReceivedSpan:
        """The first span of this name, once it is here."""
        await self.wait(lambda: any(span.name == name for span in self.spans))
        return next(span for span in self.spans if span.name == name)

    async def serve(self, stream: trio.SocketStream) -> None:
        async def refuse(*_: Any) -> None:
            raise AssertionError("nothing here is a WebSocket")

        await serve_connection(stream, self._take, refuse)

    async def _take(self, request: Request) -> Response:
        await trio.lowlevel.checkpoint()
        assert (request.method, request.target) == ("POST", "/v1/traces")
        self.requests += 1
        if self.status == 200:
            for group in ExportTraceServiceRequest.FromString(request.body).resource_spans:
                self.resources.append(_values(group.resource.attributes))
                self.spans += [_received(span) for scope in group.scope_spans for span in scope.spans]
        self._changed.set()
        self._changed = trio.Event()
        return Response(self.status, b"")


def _values(attributes: Any) -> dict[str, Any]:
    return {it.key: getattr(it.value, it.value.WhichOneof("value")) for it in attributes}


def _received(span: Span) -> ReceivedSpan:
    return ReceivedSpan(
        span.name,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        span.start_time_unix_nano / 1e9,
        span.end_time_unix_nano / 1e9,
        Span.SpanKind.Name(span.kind),
        span.status.message if span.status.code == Status.STATUS_CODE_ERROR else None,
        _values(span.attributes),
    )


@asynccontextmanager
async def open_otlp_receiver() -> AsyncIterator[OtlpReceiver]:
    receiver = OtlpReceiver()
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        receiver.url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}/v1/traces"
        nursery.start_soon(trio.serve_listeners, receiver.serve, [listener])
        yield receiver
        nursery.cancel_scope.cancel()
