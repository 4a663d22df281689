"""Describes the JSON frames of Twilio's media socket, exactly as they stand on the wire, as typed structs.

Source: Twilio Media Streams, "WebSocket messages". Numbers come as strings, so decode them with `strict=False`.
"""

from typing import Annotated

from msgspec import Meta, Struct

_Count = Annotated[int, Meta(ge=0, le=2**53)]  # every reader of JSON can hold it (RFC 8259, section 6)
_Sid = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_-]{1,64}\Z")]
_Digit = Annotated[str, Meta(pattern=r"\A[0-9*#A-D]\Z")]


class _Frame(Struct, tag_field="event", rename="camel"):
    """A frame has the field `event`, which selects its struct."""


class ConnectedFrame(_Frame, tag="connected"):
    protocol: str
    version: str


class MediaFormat(Struct, rename="camel"):
    encoding: str
    sample_rate: _Count
    channels: _Count = 1


class _StartBody(Struct, rename="camel"):
    stream_sid: _Sid
    call_sid: _Sid
    account_sid: _Sid
    media_format: MediaFormat
    custom_parameters: dict[str, str] = {}


class StartFrame(_Frame, tag="start"):
    sequence_number: _Count
    start: _StartBody


class _MediaBody(Struct, gc=False):
    track: str
    timestamp: _Count
    payload: bytes
    chunk: _Count | None = None


class MediaFrame(_Frame, tag="media", gc=False):
    sequence_number: _Count
    media: _MediaBody


class _DtmfBody(Struct):
    digit: _Digit
    track: str = "inbound_track"


class DtmfFrame(_Frame, tag="dtmf"):
    sequence_number: _Count
    dtmf: _DtmfBody


class _MarkBody(Struct):
    name: str


class MarkFrame(_Frame, tag="mark"):
    sequence_number: _Count
    mark: _MarkBody


class _StopBody(Struct, rename="camel"):
    call_sid: _Sid


class StopFrame(_Frame, tag="stop"):
    sequence_number: _Count
    stop: _StopBody


RareFrame = ConnectedFrame | StartFrame | DtmfFrame | MarkFrame | StopFrame
AnyFrame = MediaFrame | RareFrame


class Payload(Struct):
    payload: bytes


class Name(Struct):
    name: str


class MediaOut(Struct, tag_field="event", tag="media", rename="camel"):
    stream_sid: str
    media: Payload


class MarkOut(Struct, tag_field="event", tag="mark", rename="camel"):
    stream_sid: str
    mark: Name


class ClearOut(Struct, tag_field="event", tag="clear", rename="camel"):
    stream_sid: str
