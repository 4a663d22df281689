"""JSON text frames decoded into typed structs, with every failure named by one closed set of codes.

Error texts carry field paths and never a value: values are audio, transcripts, tokens and telephone numbers.
"""

import re
from enum import StrEnum
from typing import TypeVar

import msgspec

from relay.errors import RemoteProtocolError

T = TypeVar("T")

_LABEL_MAX_CHARS = 40
_NOT_LABEL = re.compile(r"[^a-zA-Z._-]+")
_PATH = re.compile(r"at `\$\.?([^`]*)`\Z")
_MISSING = re.compile(r"\AObject missing required field `([^`]*)`")


class WireCode(StrEnum):
    """Everything that can be wrong with one message of a peer; `RemoteProtocolError.code` is one of these."""

    NOT_TEXT = "NOT_TEXT"
    NOT_JSON = "NOT_JSON"
    NOT_OBJECT = "NOT_OBJECT"
    UNKNOWN_EVENT = "UNKNOWN_EVENT"
    FIELD_MISSING = "FIELD_MISSING"
    FIELD_INVALID = "FIELD_INVALID"
    PAYLOAD_NOT_BASE64 = "PAYLOAD_NOT_BASE64"
    PAYLOAD_EMPTY = "PAYLOAD_EMPTY"
    TRACK_UNEXPECTED = "TRACK_UNEXPECTED"
    MEDIA_FORMAT_UNSUPPORTED = "MEDIA_FORMAT_UNSUPPORTED"


def decode(decoder: msgspec.json.Decoder[T], text: str | bytes | msgspec.Raw, what: str) -> T:
    """One JSON document by `decoder`; `what` names the message in the error text.

    Raises `RemoteProtocolError` (NOT_JSON, NOT_OBJECT, FIELD_MISSING, FIELD_INVALID) whatever the input, nothing else.
    """
    try:
        return decoder.decode(text)
    except msgspec.ValidationError as error:
        raise field_error(error, what) from None
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise not_json(what) from None


def not_json(what: str) -> RemoteProtocolError:
    return RemoteProtocolError(f"{what} is not JSON", WireCode.NOT_JSON)


def field_error(error: msgspec.ValidationError, what: str) -> RemoteProtocolError:
    """NOT_OBJECT, FIELD_MISSING or FIELD_INVALID; the path of the field is read from msgspec's own text."""
    text = str(error)
    at = _PATH.search(text)
    path = at[1] if at else ""
    if not path and text.startswith("Expected `object`"):
        return RemoteProtocolError(f"{what} is not a JSON object", WireCode.NOT_OBJECT)
    if missing := _MISSING.match(text):
        field = f"{path}.{missing[1]}" if path else missing[1]
        return RemoteProtocolError(f"{what}: {field} is missing", WireCode.FIELD_MISSING)
    return RemoteProtocolError(f"{what}: {path or 'the whole'} has a wrong type or value", WireCode.FIELD_INVALID)


def label(text: str) -> str:
    """A peer's own name for something, made safe to log and count: at most 40 characters of [a-zA-Z._-]."""
    return _NOT_LABEL.sub("_", text[:_LABEL_MAX_CHARS])
