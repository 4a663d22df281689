"""Whatever is sent to the webhooks and the media socket, the relay answers, and lives on with nothing left behind."""

import json
import re
from typing import Any

import trio
from hypothesis import example, given, settings
from hypothesis import strategies as st
from trio_websocket import ConnectionClosed

from tests.support.frontrig import PUBLIC, STREAM_SID, FrontRig, open_front, ringing, signature, start
from tests.support.leaks import resources, resources_return_to

EXAMPLES = settings(max_examples=15)

WEBHOOKS = ("/twilio/voice", "/twilio/resume", "/twilio/status")
POSTS = st.tuples(st.sampled_from(WEBHOOKS), st.binary(max_size=300))
FIELDS = st.lists(st.tuples(st.sampled_from(["CallSid", "AccountSid", "StreamEvent", "x"]), st.text(max_size=40)))
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
EVENTS = st.sampled_from(["connected", "start", "media", "dtmf", "mark", "stop", "clear"])
BODIES = st.dictionaries(st.sampled_from(["payload", "timestamp", "track", "name", "digit", "callSid"]), VALUES)
MESSAGES = st.builds(
    lambda event, body, number: json.dumps(
        {"event": event, "streamSid": STREAM_SID, "sequenceNumber": number, event: body}
    ),
    EVENTS,
    BODIES,
    VALUES,
)
NOISE = st.lists(st.text(max_size=60) | st.binary(max_size=60) | MESSAGES, max_size=25)


@EXAMPLES
@given(bodies=st.lists(POSTS, max_size=8), forms=st.lists(FIELDS, max_size=8))
@example(
    bodies=[],
    forms=[[("CallSid", "0")], [("CallSid", "0"), ("CallSid", "1")], [("CallSid", "0"), ("x", ""), ("x", "")]],
)
def test_no_body_of_a_webhook_breaks_anything(
    bodies: list[tuple[str, bytes]], forms: list[list[tuple[str, str]]]
) -> None:
    async def send() -> None:
        async with open_front() as rig:
            for path, body in bodies:
                headers = {"Content-Type": "application/x-www-form-urlencoded", "X-Twilio-Signature": "AAAA"}
                assert (await rig.http.post(path, content=body, headers=headers)).status_code in {400, 403}
            for form in forms:
                status = (await rig.post("/twilio/voice", form)).status_code
                assert status in ({200} if _named(form) else {400, 403})
            assert len(rig.calls) == len({name for form in forms if (name := _named(form))})
            assert (await rig.http.get("/health")).status_code == 200

    trio.run(send)


def _named(form: list[tuple[str, str]]) -> str | None:
    """The call that a form, which is signed, does name: it has one CallSid, and that is nothing unheard of."""
    sids = [value for name, value in form if name == "CallSid"]
    return sids[0] if len(sids) == 1 and re.fullmatch("[A-Za-z0-9_-]{1,64}", sids[0]) else None


UPGRADE = (
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
VISIBLE = st.integers(0x21, 0x7E).map(lambda code: bytes([code]))
PIECES = st.sampled_from(
    b"/ // ? # % %00 %ff %2f .. : @ [ http:// client twilio voice media audio calls events web webhook session= after= "
    b"health".split()
)
TARGETS = st.lists(PIECES | VISIBLE, min_size=1, max_size=12).map(b"".join)
METHODS = st.sampled_from([b"GET", b"POST", b"HEAD", b"OPTIONS", b"DELETE", b"TRACE", b"X"])
HOSTS = st.sampled_from([b"a", b"", b"[", b"a:b", b"a b", b"a@b/c?d", b"\xff"])


@EXAMPLES
@given(requests=st.lists(st.tuples(METHODS, TARGETS, HOSTS, st.booleans()), min_size=1, max_size=20))
@example(requests=[(b"GET", b"?", b"a", False), (b"GET", b"?", b"a", True), (b"OPTIONS", b"*", b"[", False)])
def test_no_target_of_a_request_is_a_fault_of_the_relay(requests: list[tuple[bytes, bytes, bytes, bool]]) -> None:
    async def send() -> None:
        async with open_front() as rig:
            for method, target, host, upgrade in requests:
                head = method + b" " + target + b" HTTP/1.1\r\nHost: " + host + b"\r\nContent-Length: 0\r\n"
                assert 200 <= await _status(rig.port, head + (UPGRADE if upgrade else b"") + b"\r\n") < 500
            assert (await rig.http.get("/health")).status_code == 200

    trio.run(send)


async def _status(port: int, request: bytes) -> int:
    answer = b""
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(request)
        with trio.fail_after(20):
            while b"\r\n" not in answer:
                part = await stream.receive_some()
                assert part, "closed without an answer"
                answer += part
    return int(answer.split()[1])


@EXAMPLES
@given(before=NOISE, after=NOISE)
def test_no_message_of_a_media_socket_breaks_anything(before: list[str | bytes], after: list[str | bytes]) -> None:
    async def send() -> None:
        async with open_front() as rig:
            await rig.http.get("/health")
            held = await resources()
            token = await rig.token()
            await _talk(rig, [*before, start(token), *after])
            form = ringing(CallStatus="completed")
            headers = {"X-Twilio-Signature": signature(f"{PUBLIC}/twilio/status", form)}
            assert (await rig.http.post("/twilio/status", data=form, headers=headers)).status_code in {200, 204}
            await rig.until_over()
            await resources_return_to(held)
            failed = rig.metric("relay_calls_total", end_reason="error")

            assert failed == 0

    trio.run(send)


async def _talk(rig: FrontRig, messages: list[str | bytes]) -> None:
    async with rig.socket() as peer:
        try:
            for message in messages:
                await peer.send(message)
            await trio.sleep(0.02)
        except ConnectionClosed:
            return
