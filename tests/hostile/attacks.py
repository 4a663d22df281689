"""The attacks of a stranger, and of one who is let in: what each connection sends first, and what it goes on sending.
Bytes only."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random

from relay.bench import websocket
from relay.bench.relay_process import PUBLIC_URL

BLOCK_BYTES = 65_536
"""What a flood writes at a time."""
SLOW_S = 0.5
"""How often a slow peer sends a little."""
BROWSER_START = b'{"type":"start"}'
SESSION, TOKEN = b"<session>", b"<token>"
"""Stand in `more` for what a session is begun with."""
_FIN = 0x80
_CONTINUATION = 0
_HOST = "relay.test"
_FORM = b"CallSid=CA1&AccountSid=AC1&From=%2B15550100&CallStatus=ringing"


@dataclass(frozen=True, slots=True)
class Attack:
    """`opening` is what connection `n` begins with. If that asks for a WebSocket, what follows waits for the answer.

    `more` is sent again and again: as fast as the attacker may (`floods`), or every `SLOW_S`. Empty: nothing more.
    `first` goes before it, once. `reads`: it takes what the relay answers. `in_call`: all of it comes in a call, which
    has the opening of `entry`. `polls`: its requests are those of a browser's session, which `entry` begins.
    `makes_calls`: the relay dials assistants for it.
    """

    name: str
    opening: Callable[[int], bytes] = lambda _: b""
    first: bytes = b""
    more: bytes = b""
    floods: bool = False
    reads: bool = True
    in_call: bool = False
    polls: bool = False
    makes_calls: bool = False


def _fragment(payload: bytes, opcode: int) -> bytes:
    """A masked frame that is not the last of its message (RFC 6455, 5.4)."""
    whole = websocket.frame(payload, opcode, masked=True)
    return bytes((whole[0] & ~_FIN,)) + whole[1:]


def _flood(one: bytes) -> bytes:
    """So many of these frames, or whatever it is, that they fill a block."""
    return one * max(1, BLOCK_BYTES // len(one))


def _upgrade(origin: str = PUBLIC_URL) -> Callable[[int], bytes]:
    return lambda _: websocket.upgrade_request("/client", _HOST, {"Origin": origin})


def _request(line: str, *lines: str) -> bytes:
    return "\r\n".join((f"{line} HTTP/1.1", f"Host: {_HOST}", *lines)).encode() + websocket.HEAD_END


def _signed(n: int, length: str) -> bytes:
    """The head of a webhook with a wrong signature, whose body has this length."""
    kind = "Content-Type: application/x-www-form-urlencoded"
    return _request("POST /twilio/voice", kind, length, f"X-Twilio-Signature: wrong{n}")


def _post(n: int, body: bytes, length: int) -> bytes:
    return _signed(n, f"Content-Length: {length}") + body


def _valid_requests() -> bytes:
    """One after the other, for whatever answers without credentials."""
    gets = (_request(f"GET {path}") for path in ("/metrics", "/health", "/ready", "/", "/web/app.js", "/nothing"))
    return b"".join(gets) + _post(0, _FORM, len(_FORM))


def _session_request() -> bytes:
    bearer = f"Authorization: Bearer {TOKEN.decode()}"
    return _request(f"POST /client/{SESSION.decode()}/audio", "Content-Length: 0", bearer)


def _chunked(n: int) -> bytes:
    """Webhooks, and audio that nobody hears, in turn."""
    coding = "Transfer-Encoding: chunked"
    return _signed(n, coding) if n % 2 else _request("POST /webhook/audio", coding)


def _wrong_signature(n: int) -> bytes:
    """Webhooks and media sockets in turn."""
    if n % 2:
        return websocket.upgrade_request("/twilio/media", _HOST, {"X-Twilio-Signature": f"wrong{n}"})
    return _post(n, _FORM, len(_FORM))


def _garbage_messages() -> bytes:
    """Whole messages of which none means anything: text that is no JSON, and bytes."""
    random = Random(1)
    return b"".join(
        websocket.frame(random.randbytes(150).hex().encode(), websocket.TEXT, masked=True)
        + websocket.frame(random.randbytes(300), websocket.BINARY, masked=True)
        for _ in range(100)
    )


def _garbage(n: int) -> bytes:
    return Random(n).randbytes(2000)


ATTACKS = (
    Attack("silent"),
    Attack("slow head", lambda _: f"GET /client HTTP/1.1\r\nHost: {_HOST}\r\n".encode(), more=b"X-More: 1\r\n"),
    Attack("slow body", lambda n: _post(n, b"", 60_000), more=b"a"),
    Attack("no start", _upgrade()),
    Attack("wrong Origin", _upgrade("https://elsewhere.example")),
    Attack("wrong signature", _wrong_signature),
    Attack(
        "endless message",
        _upgrade(),
        first=_fragment(b"{", websocket.TEXT),
        more=_fragment(b" " * BLOCK_BYTES, _CONTINUATION),
        floods=True,
    ),
    Attack(
        "empty fragments",
        _upgrade(),
        first=_fragment(b"{", websocket.TEXT),
        more=_flood(_fragment(b"", _CONTINUATION)),
        floods=True,
    ),
    Attack("pings", _upgrade(), more=_flood(websocket.frame(b"", websocket.PING, masked=True)), floods=True),
    Attack("empty messages", _upgrade(), more=_flood(websocket.frame(b"", websocket.TEXT, masked=True)), floods=True),
    Attack(
        "64 KB messages",
        _upgrade(),
        more=websocket.frame(b"x" * BLOCK_BYTES, websocket.TEXT, masked=True),
        floods=True,
    ),
    Attack("valid requests", more=_flood(_valid_requests()), floods=True),
    Attack("answers never read", more=_flood(_valid_requests()), floods=True, reads=False),
    Attack("tiny chunks", _chunked, more=_flood(b"1\r\nx\r\n"), floods=True),
    Attack(
        "refused bodies",
        lambda _: _request("POST /client/token", "Content-Length: 1000000000"),
        more=bytes(BLOCK_BYTES),
        floods=True,
    ),
    Attack("garbage", _garbage, more=_garbage(0), floods=True),
)
_FLOODS_IN_CALLS = {"endless message", "empty fragments", "pings", "64 KB messages"}
IN_CALLS = (
    Attack(
        "forged Origin",
        _upgrade(),
        first=websocket.frame(BROWSER_START, websocket.TEXT, masked=True),
        makes_calls=True,
    ),
    Attack("requests of sessions", more=_flood(_session_request()), floods=True, polls=True, makes_calls=True),
    Attack("garbage in a call", more=_garbage_messages(), floods=True, in_call=True, makes_calls=True),
    *(
        replace(attack, name=f"{attack.name} in a call", in_call=True, makes_calls=True)
        for attack in ATTACKS
        if attack.name in _FLOODS_IN_CALLS
    ),
)
BY_NAME = {attack.name: attack for attack in (*ATTACKS, *IN_CALLS)}
