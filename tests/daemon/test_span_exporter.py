"""Spans reach a receiver of OTLP over HTTP as they are, and it is told why where they do not."""

from collections.abc import AsyncIterator

import pytest
import trio

from relay import __version__
from relay.call.report.spans import Span, TracedSpan
from relay.daemon import span_exporter
from relay.daemon.span_exporter import SpanExporter
from tests.support.otlp import OtlpReceiver, open_otlp_receiver

CALL = "0123456789abcdef0123456789abcdef"
SPANS = (
    TracedSpan(CALL, 7, 1000.0, Span("dial", 1, 0, 0.5, 1.25, "VAPI_UNREACHABLE", {"assistant": "main"})),
    TracedSpan(CALL, 7, 1000.0, Span("call", 0, None, 0.0, 60.0, None, {"end_reason": "idle", "generation": 2})),
)


@pytest.fixture
async def receiver() -> AsyncIterator[OtlpReceiver]:
    async with open_otlp_receiver() as opened:
        yield opened


async def export(exporter: SpanExporter) -> str | None:
    try:
        return await trio.to_thread.run_sync(exporter.export, SPANS)
    finally:
        exporter.stop()


async def test_a_trace_has_the_id_of_its_call_and_its_spans_are_in_each_other(receiver: OtlpReceiver) -> None:
    lost = await export(SpanExporter(receiver.url))

    dial, call = receiver.spans
    assert lost is None
    assert {span.trace_id for span in receiver.spans} == {CALL}
    assert (call.name, call.parent_id, dial.parent_id) == ("call", "", call.span_id)
    assert (dial.began_at_s, dial.ended_at_s) == (1000.5, 1001.25)
    assert (call.kind, dial.kind) == ("SPAN_KIND_SERVER", "SPAN_KIND_CLIENT")
    assert (call.failed, dial.failed) == (None, "VAPI_UNREACHABLE")
    assert call.attributes == {"relay.call_id": CALL, "relay.end_reason": "idle", "relay.generation": 2}
    assert receiver.resources[0]["service.name"] == "relay"
    assert receiver.resources[0]["service.version"] == __version__


@pytest.mark.parametrize(("status", "told"), [(401, "401"), (500, "500"), (404, "404")])
async def test_a_receiver_that_refuses_is_told_of_by_its_answer(receiver: OtlpReceiver, status: int, told: str) -> None:
    receiver.status = status

    assert told in (await export(SpanExporter(receiver.url)) or "")


async def test_a_receiver_that_is_down_is_tried_again_and_then_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(span_exporter, "EXPORT_TIMEOUT_S", 0.2)

    assert await export(SpanExporter("http://127.0.0.1:9/v1/traces"))


async def test_who_stops_waits_for_no_repetition(receiver: OtlpReceiver) -> None:
    receiver.status = 503
    exporter = SpanExporter(receiver.url)
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, exporter.export, SPANS)
            await receiver.wait(lambda: receiver.requests > 0)
            exporter.stop()

    assert receiver.spans == []
