"""Whatever of Twilio's is answered with 4xx is a log line and a count, over real HTTP; nothing else is."""

from typing import Any

import httpx
import pytest
import trio
from structlog.testing import capture_logs
from trio_websocket import ConnectionRejected

from relay.config import TwilioConfig
from relay.daemon import quart_app
from tests.support.frontrig import PUBLIC_WSS, FrontRig, front_config, open_front, ringing, signature
from tests.support.peers import dialled

FORM_TYPE = {"Content-Type": "application/x-www-form-urlencoded"}
SIGNED = {"X-Twilio-Signature": "AAAA"}

REFUSED: list[tuple[str, str, dict[str, str], bytes, int, str | None, str]] = [
    ("GET", "/twilio/voice", {}, b"", 405, "METHOD_NOT_ALLOWED", "/twilio/voice"),
    ("HEAD", "/twilio/status", {}, b"", 405, "METHOD_NOT_ALLOWED", "/twilio/status"),
    ("HEAD", "/client", SIGNED, b"", 405, None, "other"),
    ("POST", "/twilio/voice", {}, b"", 403, "AUTH_REJECTED", "/twilio/voice"),
    ("POST", "/twilio/status", SIGNED, b"a=b", 400, "FORM_EXPECTED", "/twilio/status"),
    ("POST", "/twilio/resume", SIGNED | FORM_TYPE, b"a=" + bytes(70_000), 413, "BODY_TOO_LARGE", "/twilio/resume"),
    ("POST", "/twilio/voices", {}, b"", 404, "NOT_FOUND", "other"),
    ("POST", "/twilio/voice/", {}, b"", 404, "NOT_FOUND", "other"),
    ("POST", "/Twilio/Voice", {}, b"", 404, "NOT_FOUND", "other"),
    ("POST", "//twilio/voice", SIGNED, b"", 400, "FORM_EXPECTED", "other"),
    ("POST", "/twilio//voice", SIGNED, b"", 404, "NOT_FOUND", "other"),
    ("POST", "/voice", SIGNED, b"", 404, "NOT_FOUND", "other"),
    ("POST", "/", SIGNED, b"", 405, "METHOD_NOT_ALLOWED", "other"),
]


def rejected(logs: list[Any]) -> list[tuple[str, int, str | None]]:
    return [(line["endpoint"], line["status"], line["code"]) for line in logs if line["event"] == "webhook.rejected"]


def counted(rig: FrontRig, endpoint: str) -> float:
    return rig.metric("relay_webhooks_rejected_total", endpoint=endpoint)


@pytest.mark.parametrize(("method", "path", "headers", "body", "status", "code", "endpoint"), REFUSED)
async def test_every_request_of_twilios_that_is_refused_is_logged_and_counted(
    *, method: str, path: str, headers: dict[str, str], body: bytes, status: int, code: str | None, endpoint: str
) -> None:
    async with open_front() as rig:
        with capture_logs() as logs:
            url = httpx.URL(f"http://127.0.0.1:{rig.port}", raw_path=path.encode())
            answer = await rig.http.request(method, url, content=body, headers=headers)

        assert answer.status_code == status
        assert rejected(logs) == [(path, status, code)]
        assert counted(rig, endpoint) == 1


async def test_a_flood_of_wrong_signatures_is_counted_and_said_once() -> None:
    async with open_front() as rig:
        with capture_logs() as logs:
            for _ in range(50):
                await rig.http.post("/twilio/voice", content=b"a=b", headers=SIGNED | FORM_TYPE)

        assert [line["event"] for line in logs] == ["auth.rejected", "webhook.rejected"]
        assert {line["client"] for line in logs} == {"127.0.0.1"}
        assert counted(rig, "/twilio/voice") == 50


async def test_a_body_that_does_not_come_is_one_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quart_app, "BODY_TIMEOUT_S", 0.1)
    async with open_front() as rig, await trio.open_tcp_stream("127.0.0.1", rig.port) as stream:
        head = "POST /twilio/voice HTTP/1.1\r\nHost: x\r\nX-Twilio-Signature: A\r\nContent-Length: 9\r\n\r\n"
        with capture_logs() as logs, trio.fail_after(10):
            await stream.send_all(head.encode())
            answer = bytearray()
            while b"BODY_TIMEOUT" not in answer:
                answer += await stream.receive_some()

        assert rejected(logs) == [("/twilio/voice", 408, "BODY_TIMEOUT")]


async def test_a_disabled_twilio_is_told_in_the_same_way() -> None:
    async with open_front(front_config(twilio=TwilioConfig(enabled=False))) as rig:
        with capture_logs() as logs:
            await rig.post("/twilio/voice", ringing())

        assert rejected(logs) == [("/twilio/voice", 404, "NOT_FOUND")]


@pytest.mark.parametrize(
    ("path", "headers", "told"),
    [
        ("/twilio/media", [], ("/twilio/media", 403, "AUTH_REJECTED")),
        ("/twilio/medium", [], ("/twilio/medium", 404, "NOT_FOUND")),
        ("/media", [("x-twilio-signature", "AAAA")], ("/media", 404, "NOT_FOUND")),
    ],
)
async def test_so_is_a_stream_that_is_refused(
    path: str, headers: list[tuple[str, str]], told: tuple[str, int, str]
) -> None:
    async with open_front() as rig:
        with capture_logs() as logs:
            try:
                async with dialled(rig.port, path=path, headers=[(a.encode(), b.encode()) for a, b in headers]):
                    pass
            except* ConnectionRejected:
                pass

        assert rejected(logs) == [told]


async def test_what_is_served_and_what_others_ask_in_vain_is_not() -> None:
    async with open_front() as rig:
        with capture_logs() as logs:
            assert (await rig.post("/twilio/voice", ringing())).status_code == 200
            assert (await rig.http.get("/nothing")).status_code == 404
            assert (await rig.http.post("/health")).status_code == 405
            async with dialled(
                rig.port,
                path="/twilio/media",
                headers=[(b"x-twilio-signature", signature(PUBLIC_WSS + "/twilio/media").encode())],
            ):
                pass

        assert rejected(logs) == []
        assert counted(rig, "other") == counted(rig, "/twilio/media") == 0


async def test_what_is_shown_of_a_path_is_bounded_and_printable() -> None:
    async with open_front() as rig:
        with capture_logs() as logs:
            await rig.http.post("/twilio/%0a%1b[31m" + "x" * 500)

        ((endpoint, _, _),) = rejected(logs)
        assert endpoint.startswith("/twilio/??[31mxxx")
        assert len(endpoint) == 100
