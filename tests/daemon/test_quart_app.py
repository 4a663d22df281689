"""Small requests: the form of every error, the bounds of bodies, and when a body is asked for, over real HTTP."""

import pytest
import trio
from structlog.testing import capture_logs

from relay.daemon import quart_app
from tests.support.frontrig import ACCOUNT, PUBLIC, FrontRig, open_front, ringing, signature


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


async def test_a_body_without_a_length_is_refused_once_it_is_too_long() -> None:
    """And is not kept until it ends, which it need never do."""
    head = webhook("/twilio/voice", 0, "AAAA", "Transfer-Encoding: chunked").replace("Content-Length: 0\r\n", "")
    chunk = "1000\r\n" + "x" * 0x1000 + "\r\n"
    async with open_front() as rig:
        answer = await raw(rig, head + chunk * (quart_app.BODY_MAX_BYTES // 0x1000 + 1), b"")

    assert answer.startswith(b"HTTP/1.1 413 ")
