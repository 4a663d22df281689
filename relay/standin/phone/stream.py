"""Twilio's side of a media stream is written here (Twilio docs, "Media Streams - WebSocket messages")."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from relay.media.frames import FRAME_MS

Clock = Literal["live", "exact"]

_FIRST_MS = 155
_WANDER_MS = (0, -2, 3, 1, -1, 4, -3, 2, -4, 1)
"""Recorded time stamps began at 155 or 171, and later ones were a few milliseconds off the step of 20."""


@dataclass(slots=True)
class StreamMessages:
    """The messages of one stream, in JSON. One `sequenceNumber` runs over all of them but `connected`.

    Numbers are strings, as Twilio writes them; the track of a `dtmf` is "inbound_track", that of a `media` "inbound".
    `clock`: the time stamps of `media` are like recorded ones, or count 20 ms from 0.
    """

    account_sid: str
    call_sid: str
    stream_sid: str
    clock: Clock = "live"
    _sequence: int = 0
    _chunk: int = 0
    _frame: int = 0

    def connected(self) -> str:
        return json.dumps({"event": "connected", "protocol": "Call", "version": "1.0.0"})

    def start(self, parameters: Mapping[str, str]) -> str:
        body = {
            "accountSid": self.account_sid,
            "streamSid": self.stream_sid,
            "callSid": self.call_sid,
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
            "customParameters": dict(parameters),
        }
        return self._numbered("start", body)

    def media(self, audio: bytes) -> str:
        """20 ms of mu-law."""
        self._chunk += 1
        stamp_ms = self._frame * FRAME_MS
        if self.clock == "live":
            stamp_ms += _FIRST_MS + _WANDER_MS[self._frame % len(_WANDER_MS)]
        self._frame += 1
        body = {
            "track": "inbound",
            "chunk": str(self._chunk),
            "timestamp": str(stamp_ms),
            "payload": base64.b64encode(audio).decode(),
        }
        return self._numbered("media", body)

    def discard(self) -> None:
        """20 ms of audio were not sent: only the time stamp of the next message shows it."""
        self._frame += 1

    def dtmf(self, digit: str) -> str:
        return self._numbered("dtmf", {"track": "inbound_track", "digit": digit})

    def mark(self, name: str) -> str:
        return self._numbered("mark", {"name": name})

    def stop(self) -> str:
        return self._numbered("stop", {"accountSid": self.account_sid, "callSid": self.call_sid})

    def _numbered(self, event: str, body: Mapping[str, Any]) -> str:
        self._sequence += 1
        message = {"event": event, "sequenceNumber": str(self._sequence), "streamSid": self.stream_sid, event: body}
        return json.dumps(message)
