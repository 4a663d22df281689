"""Every parser that reads what comes from the network, in one form: bytes in, and only its documented errors out.

`tests/test_fuzzing.py` and `scripts/fuzz.py` feed them.
"""

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

import h11

from relay.errors import AssistantUnavailable, FormatMismatch, RemoteProtocolError
from relay.media.frames import TELEPHONE, WIDEBAND
from relay.media.media_type import judge
from relay.media.wav import decode_wav
from relay.net.asgi_request import AsgiRequest
from relay.net.link.fragments import MessageBounds
from relay.net.link.pace import OF_A_CALL
from relay.net.link.protocol import Side, WebSocketProtocol
from relay.net.plain_requests import PlainRequests
from relay.net.proxy_protocol import read_header
from relay.net.request_head import HEAD_MAX_BYTES
from relay.wire import browser, twilio, vapi
from relay.wire.client_address import TrustedProxies
from relay.wire.signature import TwilioValidator
from relay.wire.vapi_call import parse_created, parse_listed, parse_live, refuses_silence_timeout
from relay.wire.vapi_ended import family
from relay.wire.vapi_events import parse_event
from relay.wire.webhook_auth import WebhookRules, WebhookVerifier
from tests.support.recordings import chunk, layout, riff

PART_BYTES = 100
"""Of what comes in a stream, at a time."""


@dataclass(frozen=True, slots=True)
class NetworkParser:
    """`read` raises `errors` and nothing else. `seeds` are good input, for what changes it to begin with."""

    read: Callable[[bytes], object]
    errors: tuple[type[Exception], ...]
    seeds: tuple[bytes, ...]

    def __call__(self, data: bytes) -> None:
        with suppress(*self.errors):
            self.read(data)


def _text(data: bytes) -> str:
    """As a WebSocket's reader gives it: always valid."""
    return data.decode("utf-8", "replace")


def _parts(data: bytes) -> list[bytes]:
    return [data[at : at + PART_BYTES] for at in range(0, len(data), PART_BYTES)]


def _read_requests(data: bytes) -> None:
    """Requests behind each other, each answered. Nothing grows: what is kept has the bound of a head."""
    requests = PlainRequests(HEAD_MAX_BYTES)
    for part in [*_parts(data), b""]:
        requests.receive_data(part)
        while True:
            event = requests.next_event()
            if event is h11.NEED_DATA or event is h11.PAUSED or isinstance(event, h11.ConnectionClosed):
                break
            if isinstance(event, h11.EndOfMessage) and requests.our_state is h11.SEND_RESPONSE:
                _answer(requests)
        kept = len(requests.behind_upgrade)
        assert requests.their_state is not h11.IDLE or kept <= HEAD_MAX_BYTES + PART_BYTES


def _answer(requests: PlainRequests) -> None:
    requests.send(h11.Response(status_code=204, headers=[]))
    requests.send(h11.EndOfMessage())
    if requests.our_state is h11.DONE and requests.their_state is h11.DONE:
        requests.start_next_cycle()


def _read_frames(data: bytes) -> None:
    """The frames of a caller. Nothing is kept but a frame that is not whole."""
    protocol, now_s = WebSocketProtocol(Side.SERVER, MessageBounds(1000, 1000), OF_A_CALL), 0.0
    for part in _parts(data):
        protocol.feed(part)
        while not (protocol.is_hungry or protocol.is_over):
            protocol.next_event(now_s)
            now_s = max(now_s, protocol.due_s)
        assert len(protocol.take_answers()) < 300


def _read_query(data: bytes) -> None:
    scope = {
        "method": "GET",
        "path": "/",
        "client": ("203.0.113.9", 0),
        "query_string": data,
        "headers": [(b"content-length", data[:20]), (b"x", data)],
    }
    request = AsgiRequest(scope, _unused, _unused)
    request.query("after")
    request.header("x")
    assert request.content_length is None or request.content_length >= 0


async def _unused(*_: object) -> None:
    raise AssertionError


def _read_answer(data: bytes) -> None:
    status = 100 + int.from_bytes(data[:2], "big") % 500 if len(data) > 2 else 201
    refuses_silence_timeout(status, data[2:])
    parse_listed(200, data[2:], "a")
    parse_live(200, data[2:])
    parse_created(status, data[2:], TELEPHONE)


def _read_webhook_head(data: bytes) -> None:
    """The headers of a webhook of Vapi's, of each way in. Nobody who does not know the secret comes in."""
    credential, _, stamp = data.decode("latin-1").partition("\n")
    rules = (
        WebhookRules(),
        WebhookRules(auth="bearer", header="authorization"),
        WebhookRules(auth="hmac", header="x-signature", prefix="v1="),
        WebhookRules(auth="hmac", header="x-signature", encoding="base64", payload="{url}{method}{body}"),
    )
    for one in rules:
        header = {one.header: credential, one.timestamp_header: stamp}.get
        verifier = WebhookVerifier(one, ("a secret of the relay",), "https://relay.example.com/vapi/events")
        assert verifier.check_head(header, 1.8e9) or verifier.check_body(header, data)


def _read_signed(data: bytes) -> None:
    url, _, rest = data.decode("latin-1").partition("\n")
    signature, _, settings = rest.partition("\n")
    validator = TwilioValidator(("token",), {"key": "secret"})
    assert not validator.form_valid(url, [("CallSid", rest)], signature, settings)
    assert not validator.handshake_valid(unquote_to_bytes(url).decode("utf-8", "replace"), signature, settings)


def _read_media_type(data: bytes) -> None:
    header, _, head = data.partition(b"\n")
    media_type, *parameters = _text(header).split(";")
    judge(media_type, dict(one.partition("=")[::2] for one in parameters), head)


def _is_json(data: bytes) -> None:
    assert isinstance(json.loads(data), dict)


def _json(**message: object) -> bytes:
    return json.dumps(message).encode()


_FORMAT = {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1}
_START = {
    "accountSid": "AC1",
    "streamSid": "MZ1",
    "callSid": "CA1",
    "tracks": ["inbound"],
    "mediaFormat": _FORMAT,
    "customParameters": {"a": "b"},
}
_MEDIA = {"track": "inbound", "chunk": "1", "timestamp": "5", "payload": "//8="}
_REQUEST = b"POST /client?after=1 HTTP/1.1\r\nHost: a\r\n"

PARSERS = {
    "a header of the PROXY protocol": NetworkParser(
        read_header,
        (RemoteProtocolError,),
        (
            b"PROXY TCP4 203.0.113.7 192.0.2.1 56324 443\r\n",
            b"PROXY UNKNOWN\r\n",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xcb\x00\x71\x07\xc0\x00\x02\x01\xdc\x04\x01\xbb",
            b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x03\x02\x00\x00",
        ),
    ),
    "a message of Twilio": NetworkParser(
        lambda data: twilio.parse(_text(data)),
        (RemoteProtocolError,),
        (
            _json(event="start", sequenceNumber="1", streamSid="MZ1", start=_START),
            _json(event="media", sequenceNumber="2", streamSid="MZ1", media=_MEDIA),
            _json(event="mark", sequenceNumber="3", streamSid="MZ1", mark={"name": "t1.20"}),
            _json(event="stop", sequenceNumber="4", streamSid="MZ1", stop={"callSid": "CA1"}),
        ),
    ),
    "the name of a mark": NetworkParser(lambda data: twilio.parse_mark(_text(data)), (), (b"t1.20", b"1:20")),
    "a text of a browser": NetworkParser(
        lambda data: browser.parse(_text(data), WIDEBAND),
        (RemoteProtocolError,),
        (
            _json(type="start", sampleRate=48000, channels=1, encoding="pcm_s16le", token="a", resume="b", after=1),
            _json(type="audio", audio="AAAA", seq=1, sampleRate=8000),
            _json(type="played", turn=1, ms=20),
            _json(type="stop"),
        ),
    ),
    "a binary message of a browser": NetworkParser(
        lambda data: browser.parse(data, WIDEBAND), (RemoteProtocolError,), (b"\0\0\0\1\0\0\0\0\0\0\0\0\1\1",)
    ),
    "a batch of a browser": NetworkParser(
        lambda data: list(browser.parse_frames(data, WIDEBAND)), (), (b"\0\0\0\x0e\0\0\0\1\0\0\0\0\0\0\0\0\1\1",)
    ),
    "a message of Vapi": NetworkParser(
        lambda data: vapi.parse(_text(data)),
        (RemoteProtocolError,),
        (
            _json(type="transcript", role="user", transcriptType="final", transcript="a"),
            _json(message={"type": "status-update", "status": "ended", "endedReason": "customer-ended-call"}),
            _json(type="speech-update", status="started", role="user", turn=0),
        ),
    ),
    "an answer of Vapi": NetworkParser(
        _read_answer,
        (AssistantUnavailable,),
        (
            b"\0\x65"
            + _json(
                id="a", transport={"websocketCallUrl": "wss://a"}, monitor={"controlUrl": "https://a"}, status="ended"
            ),
            b"\1\x2c" + _json(message=["assistantOverrides.silenceTimeoutSeconds must not exist"], error="Bad Request"),
        ),
    ),
    "a webhook of Vapi": NetworkParser(
        lambda data: _is_json(parse_event(data).message),
        (RemoteProtocolError,),
        (
            _json(message={"type": "tool-calls", "toolCallList": [{"id": "a", "function": {"name": "b"}}]}),
            _json(
                message={"type": "end-of-call-report", "endedReason": "hangup", "costs": [{"cost": 1}], "messages": []}
            ),
            _json(message={"type": 'transcript[transcriptType="final"]', "timestamp": 1.5, "call": {"id": "a"}}),
        ),
    ),
    "who sends a webhook of Vapi": NetworkParser(
        _read_webhook_head, (), (b"v1=00ff\n1800000000", b"Bearer a\n1800000000000", b"AAAA\n1e400")
    ),
    "why Vapi ended a call": NetworkParser(lambda data: family(_text(data)), (), (b"pipeline-error-a-500-b",)),
    "HTTP requests": NetworkParser(
        _read_requests,
        (h11.RemoteProtocolError,),
        (
            _REQUEST + b"Content-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            _REQUEST + b"Transfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\nA: b\r\n\r\n",
            b"GET http://a/b HTTP/1.0\r\nConnection: keep-alive\r\nUpgrade: h2c\r\nExpect: 100-continue\r\n\r\n",
        ),
    ),
    "WebSocket frames": NetworkParser(
        _read_frames,
        (),
        (
            b"\x01\x81\0\0\0\0a\x89\x80\0\0\0\0\x80\xfe\0\x7e\0\0\0\0" + b"b" * 126,
            b"\x82\xff\0\0\0\0\0\1\0\0\0\0\0\0",
            b"\x88\x82\0\0\0\0\x03\xe8",
        ),
    ),
    "a query and headers": NetworkParser(_read_query, (), (b"after=1&a=%ff&b", b"12")),
    "addresses that proxies name": NetworkParser(
        lambda data: TrustedProxies(["0.0.0.0/0", "::/0"]).client_of("::1", _text(data).split("\n")),
        (),
        (b'1.2.3.4:5, [fe80::1%eth0]:80\n"::ffff:127.0.0.1"', b"unknown, 2001:db8::1"),
    ),
    "a signature": NetworkParser(_read_signed, (), (b"https://a:443/b?c=d\nAAAA\nv=1;k=key", b"wss://[::1]/\na\n")),
    "a recording": NetworkParser(
        decode_wav, (FormatMismatch,), (riff(chunk(b"fmt ", layout(1, 1, 8000, 16)), chunk(b"data", bytes(20))),)
    ),
    "a type of audio": NetworkParser(
        _read_media_type, (FormatMismatch,), (b"audio/l16;rate=8000\n\0\0", b"audio/wav\nRIFF")
    ),
}
