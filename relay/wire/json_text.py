"""JSON text frames decoded into typed structs, with every failure named by one closed set of codes.

msgspec explains a refusal in prose, which is not read: each field of a refused message is decoded alone. That finds the
one at fault and costs good messages nothing. Error texts carry field paths and never a value: values are audio,
transcripts, tokens and telephone numbers.
"""

import re
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, TypeVar, get_args, get_origin

import msgspec
from msgspec import Struct

from relay.errors import RemoteProtocolError

T = TypeVar("T")

_LABEL_MAX_CHARS = 40
_CUT = "..."
_object_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
_NOT_LABEL = re.compile(r"[^a-zA-Z._-]+")


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


@dataclass(frozen=True, slots=True)
class Misfit:
    """The first part of a document that does not fit its type.

    `code` is NOT_OBJECT, FIELD_MISSING or FIELD_INVALID. `path` leads there from the top, "" for the whole. `string` is
    what stands there, if that is a string. `tag` is the tag of the document, if there are several types and it has one
    of theirs.
    """

    code: WireCode
    path: str = ""
    string: str | None = field(default=None, repr=False)
    tag: str | None = None


def decode(decoder: msgspec.json.Decoder[T], text: str | bytes | msgspec.Raw, what: str) -> T:
    """One JSON document by `decoder`; `what` names the message in the error text.

    Raises `RemoteProtocolError` (NOT_JSON, NOT_OBJECT, FIELD_MISSING, FIELD_INVALID) whatever the input, nothing else.
    """
    try:
        return decoder.decode(text)
    except msgspec.ValidationError:
        raise field_error(find_misfit(decoder, text, what), what) from None
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise not_json(what) from None


def not_json(what: str) -> RemoteProtocolError:
    return RemoteProtocolError(f"{what} is not JSON", WireCode.NOT_JSON)


def field_error(wrong: Misfit, what: str) -> RemoteProtocolError:
    match wrong.code:
        case WireCode.NOT_OBJECT:
            text = f"{what} is not a JSON object"
        case WireCode.FIELD_MISSING:
            text = f"{what}: {wrong.path} is missing"
        case _:
            text = f"{what}: {wrong.path or 'the whole'} has a wrong type or value"
    return RemoteProtocolError(text, wrong.code)


def find_misfit(decoder: msgspec.json.Decoder[Any], text: str | bytes | msgspec.Raw, what: str) -> Misfit:
    """Why `decoder`, which is for a struct or for several that a tag tells apart, refused a document.

    Raises `RemoteProtocolError` (NOT_JSON): behind what was refused, the document may break off.
    """
    try:
        return _misfit_of(text, decoder.type, strict=decoder.strict)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise not_json(what) from None


def _misfit_of(text: str | bytes | msgspec.Raw, shape: Any, *, strict: bool) -> Misfit:
    parts = _parts(text)
    if parts is None:
        return Misfit(WireCode.NOT_OBJECT)
    tagged: tuple[type[Struct], ...] = get_args(shape)
    if not tagged:
        return _misfit_in(parts, shape, strict=strict)
    by_tag = {one.__struct_config__.tag: one for one in tagged}
    tag_field = tagged[0].__struct_config__.tag_field or ""
    if tag_field not in parts:
        return Misfit(WireCode.FIELD_MISSING, tag_field)
    tag = _string(parts[tag_field])
    if tag not in by_tag:
        return Misfit(WireCode.FIELD_INVALID, tag_field, tag)
    return replace(_misfit_in(parts, by_tag[tag], strict=strict), tag=tag)


def _misfit_in(parts: dict[str, msgspec.Raw], shape: type[Struct], *, strict: bool) -> Misfit:
    """In the decoder's order: what is there, as the document has it, then what is missing, as the struct has it."""
    fields = {known.encode_name: known for known in msgspec.structs.fields(shape)}
    for name, part in parts.items():
        if name in fields and not _fits(part, fields[name].type, strict=strict):
            return _misfit_at(name, part, fields[name].type, strict=strict)
    for name, known in fields.items():
        if known.required and name not in parts:
            return Misfit(WireCode.FIELD_MISSING, name)
    return Misfit(WireCode.FIELD_INVALID)


def _misfit_at(name: str, part: msgspec.Raw, kind: Any, *, strict: bool) -> Misfit:
    inner = _parts(part)
    if inner is not None and get_origin(kind) is dict:
        return Misfit(WireCode.FIELD_INVALID, f"{name}[...]")
    if inner is not None and isinstance(kind, type) and issubclass(kind, Struct):
        wrong = _misfit_in(inner, kind, strict=strict)
        return replace(wrong, path=f"{name}.{wrong.path}" if wrong.path else name)
    return Misfit(WireCode.FIELD_INVALID, name, _string(part))


def _parts(text: str | bytes | msgspec.Raw) -> dict[str, msgspec.Raw] | None:
    """The fields of a JSON object, undecoded, or None for another kind of JSON. Raises `msgspec.DecodeError`."""
    try:
        return _object_decoder.decode(text)
    except msgspec.ValidationError:
        msgspec.json.decode(text, type=msgspec.Raw)
        return None


def _string(text: msgspec.Raw) -> str | None:
    return msgspec.json.decode(text, type=str) if _fits(text, str, strict=True) else None


def _fits(text: msgspec.Raw, kind: Any, *, strict: bool) -> bool:
    try:
        msgspec.json.decode(text, type=kind, strict=strict)
    except msgspec.ValidationError:
        return False
    return True


def label(text: str) -> str:
    """A peer's own name for something, made safe to log and count: at most 40 characters of [a-zA-Z._-]."""
    return _NOT_LABEL.sub("_", shortened(text, _LABEL_MAX_CHARS))


def shortened(text: str, max_chars: int) -> str:
    """The text, or its beginning and three dots: that something was cut is seen."""
    return text if len(text) <= max_chars else text[: max_chars - len(_CUT)] + _CUT
