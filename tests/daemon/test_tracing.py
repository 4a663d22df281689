"""Calls become traces, and neither a call nor the daemon waits for whoever takes them."""

import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

import pytest
import trio
from structlog.testing import capture_logs

from relay.call.report.assistant_events import DialFailed, Dialing
from relay.call.report.events import CallEnded, CallEvent, CallStarted, Speech
from relay.call.report.listeners import CallNews
from relay.call.report.spans import TracedSpan
from relay.config import TracingConfig
from relay.daemon import tracing
from relay.daemon.tracing import Tracer, load_span_exporter, open_tracer
from relay.errors import ConfigError
from relay.media.frames import TELEPHONE
from relay.metrics import Metrics
from relay.standin.assistant import Behaviour, open_assistant
from relay.standin.phone import PhoneOptions, open_phone
from relay.standin.phrases import spoken
from tests.support.daemons import AUTH_TOKEN, PUBLIC, VAPI_KEY, running_daemon, settings
from tests.support.otlp import open_otlp_receiver


class FakeReceiver:
    """Takes spans; while it is `held`, a batch waits as it does for a receiver that hangs."""

    def __init__(self, *answers: str | Exception | None) -> None:
        self.answers = list(answers)
        self.batches: list[list[str]] = []
        self.held = threading.Event()
        self.held.set()
        self.stopped = threading.Event()

    def export(self, spans: Sequence[TracedSpan]) -> str | None:
        while not (self.held.wait(0.01) or self.stopped.is_set()):
            pass
        self.batches.append([span.span.name for span in spans])
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, Exception):
            raise answer
        return answer

    def stop(self) -> None:
        self.stopped.set()

    async def wait(self, batches: int) -> None:
        with trio.fail_after(10):
            while len(self.batches) < batches:  # noqa: ASYNC110 - a thread fills it
                await trio.sleep(0.005)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "GATHER_S", 0.01)
    monkeypatch.setattr(tracing, "CLOSE_S", 0.2)


def call(tracer: Tracer, *events: CallEvent, call_id: str = "ab" * 16) -> None:
    for number, event in enumerate([CallStarted("CA1"), *events, CallEnded("idle", 1.0, "CA1", None, {})]):
        tracer.note(CallNews(call_id, float(number), event))


async def test_what_waits_is_exported_when_the_daemon_stops() -> None:
    receiver, metrics = FakeReceiver(), Metrics()
    async with open_tracer(receiver, metrics.spans_dropped.inc) as tracer:
        for _ in range(100):
            call(tracer, Dialing("main", "pcm"))

    assert sum(len(batch) for batch in receiver.batches) == 200
    assert max(len(batch) for batch in receiver.batches) <= tracing.BATCH_MAX
    assert receiver.stopped.is_set()
    assert metrics.spans_dropped._value.get() == 0


async def test_a_receiver_that_hangs_costs_no_call_anything_and_what_it_misses_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tracing, "WAITING_MAX", 50)
    receiver, metrics = FakeReceiver("interrupted"), Metrics()
    receiver.held.clear()
    with trio.fail_after(5), capture_logs() as logs:
        async with open_tracer(receiver, metrics.spans_dropped.inc) as tracer:
            for _ in range(1000):
                call(tracer)
            lost = metrics.spans_dropped._value.get()
        await trio.to_thread.run_sync(tracer._thread.join, 5)

    assert logs == []
    assert 1000 - 50 - tracing.BATCH_MAX <= lost <= 950
    assert tracer._calls == {}


async def test_a_row_of_failures_is_told_once_and_each_span_is_counted() -> None:
    receiver, metrics = FakeReceiver("code: 503", "code: 503", ValueError("a fault"), None, "code: 401"), Metrics()
    with capture_logs() as logs:
        async with open_tracer(receiver, metrics.spans_dropped.inc) as tracer:
            for number in range(5):
                call(tracer)
                await receiver.wait(number + 1)
            with trio.fail_after(10):
                while len(logs) < 3:  # noqa: ASYNC110 - a thread fills it
                    await trio.sleep(0.005)

    assert [(line["event"], line.get("error")) for line in logs] == [
        ("tracing.failed", "code: 503"),
        ("tracing.recovered", None),
        ("tracing.failed", "code: 401"),
    ]
    assert metrics.spans_dropped._value.get() == 4


async def test_a_call_whose_beginning_was_not_seen_has_no_trace() -> None:
    receiver = FakeReceiver()
    async with open_tracer(receiver, lambda _: None) as tracer:
        tracer.note(CallNews("cd" * 16, 1.0, Speech("assistant", started=True)))
        tracer.note(CallNews("cd" * 16, 2.0, CallEnded("idle", 1.0, "CA1", None, {})))
        call(tracer, Dialing("main", "pcm"), DialFailed("VAPI_UNREACHABLE", "no"))

    assert receiver.batches == [["dial", "call"]]


def test_it_is_off_unless_a_receiver_is_named() -> None:
    assert load_span_exporter(TracingConfig()) is None


def test_without_the_extra_it_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "relay.daemon.span_exporter", None)
    monkeypatch.delitem(sys.modules, "relay.daemon.span_exporter")
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http", None)
    with pytest.raises(ConfigError) as caught:
        load_span_exporter(TracingConfig("http://127.0.0.1:4318/v1/traces"))

    told = 'tracing.endpoint needs opentelemetry, which is not installed: install relay with its extra "otel"'
    assert str(caught.value) == told


async def test_a_real_call_with_an_interruption_and_a_lost_assistant_is_a_trace_at_a_real_receiver() -> None:
    async with (
        open_otlp_receiver() as receiver,
        open_assistant(key=VAPI_KEY, behaviour=Behaviour(first_audio_ms=0)) as assistant,
        running_daemon(settings(assistant.base_url) + f'[tracing]\nendpoint = "{receiver.url}"\n') as daemon,
        open_phone(daemon.url, PhoneOptions(auth_token=AUTH_TOKEN, public_url=PUBLIC)) as phone,
    ):
        assert await phone.wait_heard(500)
        await phone.say(spoken("request", TELEPHONE))
        first = await assistant.wait_call(1)
        await receiver.wait_for("interruption")
        first.drop()
        reconnect = await receiver.wait_for("reconnect")
        await phone.hang_up()
        whole = await receiver.wait_for("call")
        (started,) = daemon.events_of("call.started")
        (ended,) = daemon.events_of("call.ended")
        dropped = (await daemon.get("/metrics")).text

    spans: dict[str, list[Any]] = {}
    for span in receiver.spans:
        spans.setdefault(span.name, []).append(span)
    assert {span.trace_id for span in receiver.spans} == {started["call_id"]}
    assert set(spans) == {"call", "dial", "turn", "interruption", "reconnect"}
    assert {turn.attributes["relay.role"] for turn in spans["turn"]} == {"user", "assistant"}
    assert (whole.attributes["relay.end_reason"], whole.failed) == (ended["reason"], None)
    assert whole.ended_at_s - whole.began_at_s == pytest.approx(ended["duration_s"], abs=0.5)
    assert abs(time.time() - whole.ended_at_s) < 30
    assert [dial.parent_id for dial in spans["dial"]] == [whole.span_id, reconnect.span_id]
    assert all(whole.began_at_s <= it.began_at_s <= it.ended_at_s <= whole.ended_at_s for it in receiver.spans)
    assert "relay_spans_dropped_total 0.0" in dropped
