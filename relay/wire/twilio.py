"""Turns the text frames of Twilio's media socket into events, and writes the three messages that may be sent back.

Implements Twilio Media Streams, "WebSocket messages", for a bidirectional `<Connect><Stream>`. Events are
frozen msgspec structs (a frozen dataclass costs 0.7 us more, 50 times a second for each call); their `repr`
shows no audio, digit or parameter.
"""

import re

import msgspec
from msgspec import Struct

from relay.errors import LocalProtocolError, MessageUnsupported, RemoteProtocolError, StartUnusable
from relay.media.frames import TELEPHONE, AudioFormat
from relay.wire.json_text import WireCode, field_error, find_misfit, label, not_json
from relay.wire.twilio_frames import (
    AnyFrame,
    ClearOut,
    ConnectedFrame,
    DtmfFrame,
    MarkFrame,
    MarkOut,
    MediaFormat,
    MediaFrame,
    MediaOut,
    Name,
    Payload,
    RareFrame,
    StartFrame,
    StopFrame,
)

# Bounded, so that no foreign name is read as a huge number.
_MARK_NAME = re.compile(r"t(0|[1-9][0-9]{0,8}):(0|[1-9][0-9]{0,9})")


class Connected(Struct, frozen=True):
    """The socket is open. This is the first message; the stream is not known yet."""

    protocol: str
    version: str


class StreamStart(Struct, frozen=True):
    """The stream begins. `parameters` are the TwiML's `<Parameter>` pairs, the one-time token among them."""

    stream_sid: str
    call_sid: str
    account_sid: str
    format: AudioFormat
    parameters: dict[str, str]
    sequence: int

    def __repr__(self) -> str:
        return f"StreamStart(stream_sid={self.stream_sid!r}, call_sid={self.call_sid!r}, sequence={self.sequence})"


class Media(Struct, frozen=True, gc=False):
    """Caller audio, mu-law 8 kHz, at least one byte. `timestamp_ms` is media time since the stream's start.

    `sequence` counts every message of the stream that has one, `chunk` those of the track.
    """

    sequence: int
    chunk: int | None
    timestamp_ms: int
    payload: bytes

    def __repr__(self) -> str:
        return f"Media(sequence={self.sequence}, timestamp_ms={self.timestamp_ms}, {len(self.payload)} bytes)"


class Dtmf(Struct, frozen=True):
    """The caller pressed a key: one of 0-9, *, #, A-D."""

    digit: str
    sequence: int

    def __repr__(self) -> str:
        return f"Dtmf(sequence={self.sequence})"


class MarkEcho(Struct, frozen=True):
    """A mark of ours came back: everything before it was played, or thrown away by a `clear`."""

    name: str
    sequence: int


class StreamStop(Struct, frozen=True):
    """The stream or the call ended."""

    call_sid: str
    sequence: int


Event = Connected | StreamStart | Media | Dtmf | MarkEcho | StreamStop


# Not strict: Twilio writes its numbers as strings.
_decoder: msgspec.json.Decoder[AnyFrame] = msgspec.json.Decoder(AnyFrame, strict=False)
_encoder = msgspec.json.Encoder()


def parse(message: str | bytes) -> Event:
    """Return the event in one WebSocket message. Unknown fields are passed over, unknown events are not.

    Raises `RemoteProtocolError` with a `WireCode`, and nothing else, whatever the input: `StartUnusable` for a `start`,
    `MessageUnsupported` for what is well formed.
    """
    if not isinstance(message, str):
        raise RemoteProtocolError("Twilio sent a binary message; its stream is text only", WireCode.NOT_TEXT)
    try:
        frame = _decoder.decode(message)
    except msgspec.ValidationError:
        raise _explain(message) from None
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise not_json("Twilio message") from None
    if isinstance(frame, MediaFrame):
        return _media_event(frame)
    return _rare_event(frame)


def _media_event(frame: MediaFrame) -> Media:
    body = frame.media
    if body.track != "inbound":
        raise _unexpected_track("media")
    if not body.payload:
        raise MessageUnsupported("Twilio media: the payload is empty", WireCode.PAYLOAD_EMPTY)
    return Media(frame.sequence_number, body.chunk, body.timestamp, body.payload)


def _rare_event(frame: RareFrame) -> Event:
    match frame:
        case ConnectedFrame(protocol=protocol, version=version):
            return Connected(protocol, version)
        case StartFrame(start=start, sequence_number=sequence):
            audio_format = _telephone_only(start.media_format)
            return StreamStart(
                start.stream_sid, start.call_sid, start.account_sid, audio_format, start.custom_parameters, sequence
            )
        case DtmfFrame(dtmf=dtmf, sequence_number=sequence):
            if dtmf.track not in ("inbound_track", "inbound"):
                raise _unexpected_track("dtmf")
            return Dtmf(dtmf.digit, sequence)
        case MarkFrame(mark=mark, sequence_number=sequence):
            return MarkEcho(mark.name, sequence)
        case StopFrame(stop=stop, sequence_number=sequence):
            return StreamStop(stop.call_sid, sequence)


def _telephone_only(offered: MediaFormat) -> AudioFormat:
    if (offered.encoding, offered.sample_rate, offered.channels) == ("audio/x-mulaw", 8000, 1):
        return TELEPHONE
    raise StartUnusable(
        f"Twilio offers {label(offered.encoding)} {offered.sample_rate} Hz x{offered.channels}; this leg takes "
        "audio/x-mulaw 8000 Hz x1 only: remove audioFormat and sampleRate from the <Stream>",
        WireCode.MEDIA_FORMAT_UNSUPPORTED,
    )


def _unexpected_track(event: str) -> MessageUnsupported:
    return MessageUnsupported(
        f"Twilio {event} of another track than inbound: only <Connect><Stream> is served", WireCode.TRACK_UNEXPECTED
    )


def _explain(message: str) -> RemoteProtocolError:
    """Return the reason why a message was refused. Looks at it a second time, field by field: few come here."""
    wrong = find_misfit(_decoder, message, "Twilio message")
    if wrong.path == "event" and wrong.string is not None:
        return MessageUnsupported(f"Twilio sent the unknown event {label(wrong.string)!r}", WireCode.UNKNOWN_EVENT)
    what = f"Twilio {wrong.tag or 'message'}"
    if wrong.path == "media.payload" and wrong.string is not None:
        return RemoteProtocolError(f"{what}: the payload is not base64", WireCode.PAYLOAD_NOT_BASE64)
    error = field_error(wrong, what)
    return StartUnusable(str(error), error.code) if wrong.tag == "start" else error


def media(stream_sid: str, payload: bytes) -> str:
    """Twilio is to play this mu-law audio, of any length but none, behind what it has in its queue."""
    if not payload:
        raise LocalProtocolError("a Twilio media message without audio")
    return _encoder.encode(MediaOut(stream_sid, Payload(payload))).decode()


def mark(stream_sid: str, name: str) -> str:
    """Twilio is to send a `MarkEcho` when all audio before this was played, or was thrown away by a `clear`."""
    return _encoder.encode(MarkOut(stream_sid, Name(name))).decode()


def clear(stream_sid: str) -> str:
    """Twilio is to empty its queue. Every pending mark comes back at once."""
    return _encoder.encode(ClearOut(stream_sid)).decode()


def mark_name(turn: int, position_ms: int) -> str:
    """Return the name of the mark after `position_ms` of turn `turn`: its echo says what was heard of which turn."""
    name = f"t{turn}:{position_ms}"
    if _MARK_NAME.fullmatch(name) is None:
        raise LocalProtocolError(f"no mark can be named for turn {turn} at {position_ms} ms")
    return name


def parse_mark(name: str) -> tuple[int, int] | None:
    """Return (turn, position_ms) of a name made by `mark_name`; None for any other."""
    found = _MARK_NAME.fullmatch(name)
    return (int(found[1]), int(found[2])) if found else None
