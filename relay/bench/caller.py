"""A caller of the load rings, takes the token out of the TwiML, and plays Twilio's side of the media socket."""

import base64
import http.client
import json
import re
import socket
import time
from collections import deque
from dataclasses import dataclass, field
from urllib.parse import urlencode

import msgspec

from relay.bench import websocket
from relay.bench.loudspeaker import Loudspeaker
from relay.bench.reactor import LoadLink, Reactor
from relay.bench.relay_process import AUTH_TOKEN, PUBLIC_URL
from relay.bench.sounds import TELEPHONE_HZ, CallerTrack
from relay.media.frames import FRAME_MS
from relay.standin.phone.signature import sign

FRAME_S = FRAME_MS / 1000
ACCOUNT_SID = "AC" + "0" * 32
SETUP_TIMEOUT_S = 10.0
MEDIA_HEADERS = {
    "User-Agent": "Twilio.TmeWs/1.0",
    "X-Twilio-Signature": sign(AUTH_TOKEN, f"wss://{PUBLIC_URL.removeprefix('https://')}/twilio/media"),
}
_TOKEN = re.compile(r'<Parameter name="token" value="([^"]+)"')


class SetupFailed(Exception):
    """The relay did not take a call; the text says what it answered."""


class Refused(SetupFailed):
    """The relay answered a call as a full house does."""


class _Payload(msgspec.Struct):
    """Either `media` (`payload` in base64) or `mark` (`name`)."""

    payload: str = ""
    name: str = ""


class _FromRelay(msgspec.Struct):
    """A message of the relay, as far as a caller needs it."""

    event: str
    media: _Payload | None = None
    mark: _Payload | None = None


_decoder = msgspec.json.Decoder(_FromRelay)


@dataclass(slots=True)
class CallerRecord:
    """`sent[k]` is when the last byte of frame k was written, `clears` when each came, and of a sampled call `received`
    what came, in mu-law."""

    sent: list[float] = field(default_factory=list)
    received: list[tuple[float, bytes]] = field(default_factory=list)
    clears: list[float] = field(default_factory=list)


def ring(port: int, call_sid: str, path: str = "/twilio/voice") -> str:
    """Place this call with the relay on `port`, or ask on at another `path`; blocks. Returns the token for its media
    socket. Raises Refused, SetupFailed."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SETUP_TIMEOUT_S)
    form = {"CallSid": call_sid, "AccountSid": ACCOUNT_SID, "From": "+15550100", "To": "+15550101"}
    signature = sign(AUTH_TOKEN, PUBLIC_URL + path, form)
    headers = {"Content-Type": "application/x-www-form-urlencoded", "X-Twilio-Signature": signature}
    try:
        connection.request("POST", path, urlencode(form), headers)
        answer = connection.getresponse()
        twiml = answer.read().decode()
    finally:
        connection.close()
    found = _TOKEN.search(twiml)
    if answer.status != 200 or found is None:
        refused = answer.status == 200 and "<Hangup" in twiml
        raise (Refused if refused else SetupFailed)(f"{path} answered {answer.status}: {twiml[:200]}")
    return found[1]


def opening_messages(call_sid: str, stream_sid: str, token: str) -> list[bytes]:
    """What a media socket begins with: `connected` and `start`."""
    start = {
        "accountSid": ACCOUNT_SID,
        "streamSid": stream_sid,
        "callSid": call_sid,
        "tracks": ["inbound"],
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": TELEPHONE_HZ, "channels": 1},
        "customParameters": {"token": token},
    }
    messages: list[dict[str, object]] = [
        {"event": "connected", "protocol": "Call", "version": "1.0.0"},
        {"event": "start", "sequenceNumber": "1", "start": start, "streamSid": stream_sid},
    ]
    return [_encoded(message) for message in messages]


def _encoded(message: dict[str, object]) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode()


class LoadCaller:
    """Speaks the track in a loop from its `offset`, one frame every 20 ms; plays, marks and clears as Twilio does.

    Nothing is played, but with a loss of the `echo`: `_played_until` is when it would be, and a mark goes back with the
    first frame after its time.
    """

    def __init__(
        self,
        number: int,
        port: int,
        track: CallerTrack,
        offset: int,
        *,
        sampled: bool,
        echo_loss_db: float | None = None,
    ) -> None:
        self._port = port
        self._track = track
        self.offset = offset
        self.record = CallerRecord()
        self.frames_sent = 0
        self._sampled = sampled
        self._loudspeaker = None if echo_loss_db is None else Loudspeaker(echo_loss_db)
        self._call_sid = f"CA{number:032x}"
        self._stream_sid = f"MZ{number:032x}"
        # A frame's message is put together from bytes: no JSON is encoded fifty times a second for each call.
        self._suffix = f'"}},"streamSid":"{self._stream_sid}"}}'.encode()
        self._sequence = 1
        self._started_at = 0.0
        self._played_until = 0.0
        self._marks: deque[tuple[float, str]] = deque()
        self._link: LoadLink | None = None

    @property
    def place(self) -> int:
        """The frame of the track that is said next."""
        return (self.offset + self.frames_sent) % len(self._track.frames)

    @property
    def lost(self) -> bool:
        """Whether its socket was there and is gone."""
        return self._link is not None and self._link.closed

    def dial(self, reactor: Reactor, path: str = "/twilio/voice") -> None:
        """Place the call; blocks until the media socket is open. With /twilio/resume as `path` it attaches to a call
        that lives. Raises Refused, SetupFailed."""
        token = ring(self._port, self._call_sid, path)
        sock, early = self._connect()
        self._link = LoadLink(sock, reactor, self._take, client=True)
        self._link.feed(early)
        for message in opening_messages(self._call_sid, self._stream_sid, token):
            self._link.send(message, websocket.TEXT)
        self._started_at = time.monotonic() + FRAME_S
        reactor.at(self._started_at, self._tick)

    def drop(self) -> None:
        """Lose the socket, without a goodbye."""
        if self._link is not None:
            self._link.close()

    def hang_up(self) -> None:
        """Send `stop`, as Twilio does when the caller hangs up."""
        if self._link is not None:
            self._sequence += 1
            stop = {"accountSid": ACCOUNT_SID, "callSid": self._call_sid}
            self._say(
                {
                    "event": "stop",
                    "sequenceNumber": str(self._sequence),
                    "stop": stop,
                    "streamSid": self._stream_sid,
                }
            )

    def _connect(self) -> tuple[socket.socket, bytes]:
        """The media socket after its handshake, and what came behind that."""
        sock = socket.create_connection(("127.0.0.1", self._port), SETUP_TIMEOUT_S)
        try:
            return sock, self._shake_hands(sock)
        except BaseException:
            sock.close()
            raise

    def _shake_hands(self, sock: socket.socket) -> bytes:
        sock.sendall(websocket.upgrade_request("/twilio/media", f"127.0.0.1:{self._port}", MEDIA_HEADERS))
        head = b""
        while websocket.HEAD_END not in head:
            data = sock.recv(4096)
            if not data:
                raise SetupFailed(f"/twilio/media closed during the handshake: {head[:200]!r}")
            head += data
        if b" 101 " not in head.split(b"\r\n", 1)[0]:
            raise SetupFailed(f"/twilio/media answered {head[:200]!r}")
        return head.split(websocket.HEAD_END, 1)[1]

    def _tick(self) -> float | None:
        """Say the frame that is due; returns when the next one is."""
        assert self._link is not None
        if self._link.closed:
            return None
        count = self.frames_sent
        self._sequence += 1
        self._link.send(
            b'{"event":"media","sequenceNumber":"%d","media":{"track":"inbound","chunk":"%d","timestamp":"%d","payload":"'
            % (self._sequence, count + 1, count * FRAME_MS)
            + self._payload()
            + self._suffix,
            websocket.TEXT,
        )
        now = time.monotonic()
        self.frames_sent = count + 1
        self.record.sent.append(now)
        self._echo_marks(now)
        return self._started_at + self.frames_sent * FRAME_S

    def _payload(self) -> bytes:
        if self._loudspeaker is None:
            return self._track.payloads[self.place]
        return self._loudspeaker.payload(self._track.frames[self.place])

    def _take(self, opcode: int, payload: bytes) -> None:
        now = time.monotonic()
        if opcode != websocket.TEXT:
            return
        message = _decoder.decode(payload)
        if message.media is not None:
            audio = base64.b64decode(message.media.payload)
            self._played_until = max(self._played_until, now) + len(audio) / TELEPHONE_HZ
            if self._loudspeaker is not None:
                self._loudspeaker.play(audio)
            if self._sampled:
                self.record.received.append((now, audio))
        elif message.mark is not None:
            self._marks.append((self._played_until, message.mark.name))
        elif message.event == "clear":
            self._played_until = now
            if self._loudspeaker is not None:
                self._loudspeaker.clear()
            self.record.clears.append(now)
            self._marks = deque((now, name) for _, name in self._marks)
            self._echo_marks(now)

    def _echo_marks(self, now: float) -> None:
        while self._marks and self._marks[0][0] <= now:
            _, name = self._marks.popleft()
            self._sequence += 1
            self._say(
                {
                    "event": "mark",
                    "sequenceNumber": str(self._sequence),
                    "streamSid": self._stream_sid,
                    "mark": {"name": name},
                }
            )

    def _say(self, message: dict[str, object]) -> None:
        assert self._link is not None
        self._link.send(_encoded(message), websocket.TEXT)
