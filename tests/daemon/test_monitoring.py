"""Health, readiness, metrics and the form of every error, over real HTTP."""

import re

import pytest
import trio
from structlog.testing import capture_logs

from relay import __version__
from relay.config import LimitsConfig
from relay.daemon import quart_app
from relay.errors import AssistantUnavailable
from tests.support.callrig import TONE
from tests.support.frontrig import OTHER_SID, SID, FrontRig, front_config, open_front, ringing


async def dial_fails(rig: FrontRig, sid: str) -> None:
    rig.inner.failure = AssistantUnavailable("no", "VAPI_UNREACHABLE", retriable=True)
    await rig.token(sid)
    await rig.until_over(sid)


async def test_health_says_what_runs() -> None:
    async with open_front() as rig:
        await rig.token()
        body = (await rig.http.get("/health")).json()

        assert body["status"] == "ok"
        assert body["activeSessions"] == 1
        assert body["bufferSize"] == 0
        assert body["version"] == __version__
        assert body["uptime_s"] >= 0


async def test_health_and_readiness_while_draining() -> None:
    async with open_front() as rig:
        await rig.calls.drain(0)
        health, ready = await rig.http.get("/health"), await rig.http.get("/ready")

        assert (health.status_code, health.json()["status"]) == (200, "draining")
        assert (ready.status_code, ready.json()["reason"], ready.json()["code"]) == (503, "draining", "NOT_READY")


async def test_ready_until_every_place_is_taken() -> None:
    async with open_front(front_config(limits=LimitsConfig(max_calls=1))) as rig:
        before = await rig.http.get("/ready")
        await rig.token()
        after = await rig.http.get("/ready")

        assert (before.status_code, before.json()) == (200, {"ready": True})
        assert (after.status_code, after.json()["reason"]) == (503, "full")


async def test_not_ready_and_degraded_after_a_dial_that_failed_until_one_works() -> None:
    async with open_front() as rig:
        await dial_fails(rig, SID)
        failed, health = await rig.http.get("/ready"), await rig.http.get("/health")
        rig.inner.failure = None
        await rig.token(OTHER_SID)
        with trio.fail_after(20):
            await rig.inner.connected.wait()
        again = await rig.http.get("/ready")

        assert (failed.status_code, failed.json()["reason"]) == (503, "assistants")
        assert (health.status_code, health.json()["status"]) == (200, "degraded")
        assert again.status_code == 200


async def test_metrics_are_prometheus_text_of_this_relay() -> None:
    async with open_front() as rig:
        await rig.token()
        await trio.sleep(0.05)
        answer = await rig.http.get("/metrics")

        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        assert re.search(r"^relay_calls_active 1\.0$", answer.text, re.MULTILINE)


async def test_what_waits_to_be_played_is_told_by_health_and_metrics() -> None:
    async with open_front() as rig:
        await rig.token()
        with trio.fail_after(20):
            await rig.inner.connected.wait()
        for _ in range(25):
            rig.inner.peers[0].send(TONE)
        await trio.sleep(0.1)
        health = (await rig.http.get("/health")).json()
        metrics = (await rig.http.get("/metrics")).text

        assert health["bufferSize"] > 0
        assert re.search(r"^relay_playout_buffer_seconds 0\.[1-9]", metrics, re.MULTILINE)


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/index.html", 404, "NOT_FOUND"),
        ("GET", "/nothing", 404, "NOT_FOUND"),
        ("GET", "/health/", 404, "NOT_FOUND"),
        ("GET", "/static/x", 404, "NOT_FOUND"),
        ("GET", "/twilio/media", 404, "NOT_FOUND"),
        ("GET", "/%ff%00", 404, "NOT_FOUND"),
        ("POST", "/health", 405, "METHOD_NOT_ALLOWED"),
        ("OPTIONS", "/health", 405, "METHOD_NOT_ALLOWED"),
        ("GET", "/twilio/voice", 405, "METHOD_NOT_ALLOWED"),
        ("BREW", "/health", 405, "METHOD_NOT_ALLOWED"),
    ],
)
async def test_errors_are_json_with_text_and_code(method: str, path: str, status: int, code: str) -> None:
    async with open_front() as rig:
        answer = await rig.http.request(method, path)

        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert set(answer.json()) == {"error", "code"}
        assert answer.headers["content-type"] == "application/json"


async def test_a_crash_in_an_endpoint_is_a_logged_json_500_and_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with open_front() as rig:

        def crash(sid: str) -> None:
            raise RuntimeError("inner text")

        monkeypatch.setattr(rig.calls, "answer", crash)
        with capture_logs() as logs:
            answer = await rig.post("/twilio/voice", ringing())

        assert answer.status_code == 500
        assert answer.json()["code"] == "INTERNAL_ERROR"
        assert "inner text" not in answer.text
        assert [line["path"] for line in logs if line["event"] == "request.failed"] == ["/twilio/voice"]
        assert (await rig.http.get("/health")).status_code == 200


async def test_a_body_that_does_not_come_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quart_app, "BODY_TIMEOUT_S", 0.2)
    async with open_front() as rig:
        stream = await trio.open_tcp_stream("127.0.0.1", rig.port)
        async with stream:
            head = (
                "POST /twilio/voice HTTP/1.1\r\nHost: x\r\nX-Twilio-Signature: A\r\n"
                "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 100\r\n\r\nCall"
            )
            await stream.send_all(head.encode())
            with trio.fail_after(5):
                answer = await stream.receive_some()

        assert answer.startswith(b"HTTP/1.1 408")


GARBAGE = [
    b"\r\n\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /twilio/voice HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    b"POST /twilio/voice HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST /twilio/voice HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
    b"GET /health HTTP/1.1\r\nHost: x\r\nX-Bad: \xff\xfe\r\n\r\n",
    b"GET /health HTTP/1.1\r\n\r\n",
]


@pytest.mark.parametrize("request_bytes", GARBAGE, ids=range(len(GARBAGE)))
async def test_garbage_on_the_port_costs_nobody_else_anything(request_bytes: bytes) -> None:
    async with open_front() as rig:
        stream = await trio.open_tcp_stream("127.0.0.1", rig.port)
        async with stream:
            await stream.send_all(request_bytes)
            with trio.move_on_after(0.2):
                await stream.receive_some()
        health = await rig.http.get("/health")

        assert health.status_code == 200
