"""Whatever of Twilio's is answered with 4xx is a log line and a count, over real HTTP; nothing else is."""

from typing import Any

import httpx
import pytest
import trio
from structlog.testing import capture_logs
from trio_websocket import ConnectionRejected

from relay.config import TwilioConfig
from relay.daemon import quart_app
from tests.support.frontrig import (
    ACCOUNT,
    PUBLIC,
    PUBLIC_WSS,
    FrontRig,
    front_config,
    open_front,
    ringing,
    signature,
)
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


async def raw(rig: FrontRig, request: str, body: bytes) -> bytes:
    """What is answered to this head; the body goes out when it is asked for."""
    async with await trio.open_tcp_stream("127.0.0.1", rig.port) as stream:
        await stream.send_all(request.encode())
        answer = b""
        with trio.fail_after(10):
            async for part in stream:
                answer += part
                if answer.startswith(b"HTTP/1.1 100 ") and answer.count(b"\r\n\r\n") == 1:
                    await stream.send_all(body)
        return answer


def webhook(target: str, length: int, signed: str, *more: str) -> str:
    lines = [
        f"POST {target} HTTP/1.1",
        "Host: relay.internal:8080",
        "Content-Type: application/x-www-form-urlencoded",
        f"X-Twilio-Signature: {signed}",
        f"Content-Length: {length}",
        "Connection: close",
        *more,
    ]
    return "\r\n".join([*lines, "", ""])


FORM = f"CallSid=CA1&AccountSid={ACCOUNT}"
SIGNATURE = signature(f"{PUBLIC}/twilio/voice?a=1", {"CallSid": "CA1", "AccountSid": ACCOUNT})


@pytest.mark.parametrize("origin", ["", PUBLIC, "http://relay.internal:8080"])
@pytest.mark.parametrize("more", [(), ("Expect: 100-continue",)], ids=["", "expect"])
async def test_a_webhook_is_served_in_every_form_and_the_signature_is_over_the_public_address(
    origin: str, more: tuple[str, ...]
) -> None:
    request = webhook(f"{origin}/twilio/voice?a=1", len(FORM), SIGNATURE, *more)
    async with open_front() as rig:
        answer = await raw(rig, request if more else request + FORM, FORM.encode())

    assert answer.count(b"HTTP/1.1 100 ") == len(more)
    assert b"HTTP/1.1 200 " in answer
    assert b"<Connect>" in answer


@pytest.mark.parametrize(
    ("target", "length", "signed", "status"),
    [
        ("/twilio/voice", 70_000, "AAAA", 413),
        ("/twilio/voice", 10, "", 403),
        ("/twilio/nothing", 10, "AAAA", 404),
        ("/webhook/audio", 20_000_000, "", 413),
    ],
)
async def test_a_body_that_would_be_refused_is_never_asked_for(
    target: str, length: int, signed: str, status: int
) -> None:
    async with open_front() as rig:
        answer = await raw(rig, webhook(target, length, signed, "Expect: 100-continue"), b"")

    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
