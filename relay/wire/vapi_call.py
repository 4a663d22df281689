"""Writes the request that creates a call at Vapi, and reads the answer.

Sources: Vapi's API reference (`POST /call`, `CreateCallDTO`, `VapiWebsocketTransport`) and its "WebSocket transport",
"Call timeout settings" and "Call concurrency" pages.
"""

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from relay.errors import AssistantUnavailable, LocalProtocolError
from relay.media.frames import AudioFormat, Encoding
from relay.wire.json_text import shortened
from relay.wire.vapi import CLIENT_MESSAGES
from relay.wire.vapi_server import SERVER_MESSAGES

SILENCE_TIMEOUT = "silenceTimeoutSeconds"

_MAX_DURATION_S = (10, 43200)  # the schema of maxDurationSeconds
_SILENCE_TIMEOUT_S = (5, 3600)  # what Vapi's own web client allows
_RATES_HZ = range(8000, 48001, 50)  # whole samples in 20 ms
_NAME_MAX_CHARS = 40  # the schema of CreateCallDTO
_RATE_LOCK_OUT_S = 30.0  # a lock-out of 21 s was measured, which no header announces
_CONCURRENCY_LOCK_OUT_S = 5.0  # a place becomes free with any call of the account that ends
_MESSAGE_READ_CHARS = 4000  # of Vapi's error text: more is not worth the search for secrets in it
_MESSAGE_MAX_CHARS = 200
_CALL_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_URL = re.compile(r"[\x21-\x7e]{1,2048}")
_ADDRESS = re.compile(r"[a-z]{2,12}://\S+", re.IGNORECASE)
_LONG_WORD = re.compile(r"[A-Za-z0-9_+/=.-]{20,}")

# status: code, whether the same request may succeed later, what to do
_FAILURES = {
    400: ("VAPI_BAD_REQUEST", False, "refused the request: check the assistant's settings and the plan's limits"),
    401: ("VAPI_UNAUTHORIZED", False, "did not accept the key: VAPI_API_KEY must be the private key"),
    402: ("VAPI_PAYMENT_REQUIRED", False, "wants payment: check the credits and the plan of the account"),
    403: ("VAPI_FORBIDDEN", False, "forbids it: the key may not create calls with this assistant"),
    404: (
        "VAPI_NOT_FOUND",
        False,
        "does not know the assistant: check assistant_id and that the key is of its account",
    ),
    409: ("VAPI_CONFLICT", False, "reports a conflict with the state of the account"),
    429: ("VAPI_RATE_LIMITED", True, "limits the rate of requests: fewer calls at once, or a larger plan"),
}


class CallCreated(Struct, frozen=True):
    """A call waits for its socket. Whoever has one of the URLs has the call: the `repr` shows neither.

    `format` is that of its audio, both ways: the one that was granted, which need not be the one that was asked for.
    `hand_off_refused`: it is with the configured assistant, as the one that had the conversation cannot be asked for.
    """

    call_id: str
    socket_url: str
    control_url: str | None
    format: AudioFormat
    hand_off_refused: bool = False

    def __repr__(self) -> str:
        return f"CallCreated(call_id={self.call_id!r})"


class LiveCall(Struct, frozen=True):
    """A call that is to be ended, as `GET /call/{id}` shows it. Whoever has the URL has the call."""

    ended: bool
    control_url: str | None

    def __repr__(self) -> str:
        return f"LiveCall(ended={self.ended})"


def call_request(
    assistant_id: str,
    audio_format: AudioFormat,
    *,
    max_duration_s: float,
    first_message_interruptions: bool,
    metadata: Mapping[str, str],
    name: str,
    first_message_waits: bool = False,
    silence_timeout_s: float | None = None,
    variables: Mapping[str, str] | None = None,
    server: Mapping[str, Any] | None = None,
    more_server_messages: Iterable[str] = (),
) -> dict[str, Any]:
    """Return the body of `POST /call` for one assistant over the WebSocket transport, the same format both ways.

    Times are brought into the range that Vapi takes, rounded up; `name` is cut to 40 characters.
    `first_message_waits`: no greeting, the caller speaks first. `silence_timeout_s` is in no schema any more, though
    the guide still names it: a service that refuses properties it does not know refuses the whole call for it. Without
    it the assistant's own setting holds. `variables` fill the placeholders of the assistant's prompt. `server` is
    that of `webhook_server`, in place of the assistant's own; `more_server_messages` it gets beside SERVER_MESSAGES.

    Raises `LocalProtocolError` for an empty assistant or a format that the transport has not.
    """
    if not assistant_id:
        raise LocalProtocolError("no assistant_id: Vapi takes exactly one assistant")
    overrides: dict[str, Any] = {
        "maxDurationSeconds": _clamped(max_duration_s, *_MAX_DURATION_S),
        "firstMessageInterruptionsEnabled": first_message_interruptions,
        "backgroundSound": "off",
        "clientMessages": list(CLIENT_MESSAGES),
        "metadata": dict(metadata),
    }
    if first_message_waits:
        overrides["firstMessageMode"] = "assistant-waits-for-user"
    if variables:
        overrides["variableValues"] = dict(variables)
    if server is not None:
        overrides |= {"server": dict(server), "serverMessages": [*SERVER_MESSAGES, *more_server_messages]}
    if silence_timeout_s is not None:
        overrides[SILENCE_TIMEOUT] = _clamped(silence_timeout_s, *_SILENCE_TIMEOUT_S)
    return {
        "assistantId": assistant_id,
        "assistantOverrides": overrides,
        "name": name[:_NAME_MAX_CHARS],
        "transport": {
            "provider": "vapi.websocket",
            "conversationType": "voice",
            "audioFormat": _audio_format(audio_format),
        },
    }


def parse_live(status: int, body: bytes) -> LiveCall | None:
    """Return the call in the answer to `GET /call/{id}`; None where the answer is none about a call."""
    answer = _json_object(body)
    if status != 200 or answer is None:
        return None
    return LiveCall(answer.get("status") == "ended", _control_url(answer))


def parse_listed(status: int, body: bytes, name: str) -> list[str]:
    """Return the ids of the calls of this name in the answer to `GET /call`; none where it is no list of calls."""
    try:
        calls = msgspec.json.decode(body) if status == 200 else None
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        calls = None
    named = [it for it in calls if isinstance(it, dict) and it.get("name") == name] if isinstance(calls, list) else []
    ids = [it.get("id") for it in named]
    return [it for it in ids if isinstance(it, str) and _CALL_ID.fullmatch(it)]


def refuses_silence_timeout(status: int, body: bytes) -> bool:
    """Whether the answer to `POST /call` says that the limit of silence is no property that Vapi knows."""
    return status == 400 and SILENCE_TIMEOUT.encode() in body


def parse_created(status: int, body: bytes, asked: AudioFormat, private: Iterable[str] = ()) -> CallCreated:
    """Return the call in the answer to `POST /call`, which asked for this format.

    Raises `AssistantUnavailable`, with a code for each failure and a text for the operator that holds neither the key,
    nor a URL, nor any of the `private` texts of the request, whatever the answer. A call that is blocked exists, and
    waits for a place ("Call concurrency"); that it can be connected to afterwards nobody documents, so it is of no use.
    """
    answer = _json_object(body)
    if status not in (200, 201):
        raise _failure(status, body, answer, private)
    if answer is None:
        raise AssistantUnavailable(
            "Vapi accepted the call with an answer that is no JSON object: check api_base and any proxy",
            "VAPI_BAD_RESPONSE",
            retriable=False,
        )
    if _at(answer, "subscriptionLimits", "concurrencyBlocked") is True:
        raise AssistantUnavailable(
            "Vapi blocks the call: too many at once for the plan; end some or add concurrency to the account",
            "VAPI_CONCURRENCY_BLOCKED",
            retriable=True,
            call_id=_call_id(answer),
            control_url=_control_url(answer),
            locked_out_s=_CONCURRENCY_LOCK_OUT_S,
        )
    return _created(answer, asked)


def _clamped(seconds: float, least: int, most: int) -> int:
    return math.ceil(min(max(seconds, least), most))


def _audio_format(audio_format: AudioFormat) -> dict[str, Any]:
    if audio_format.encoding not in (Encoding.PCM_S16LE, Encoding.MULAW) or audio_format.channels != 1:
        raise LocalProtocolError(f"Vapi takes pcm_s16le or mulaw, one channel, not {audio_format}")
    return {"format": audio_format.encoding.value, "container": "raw", "sampleRate": audio_format.rate_hz}


def _created(answer: dict[str, Any], asked: AudioFormat) -> CallCreated:
    call_id, control_url = _call_id(answer), _control_url(answer)
    if call_id is None:
        raise AssistantUnavailable(
            "Vapi accepted the call without a usable id: check api_base and any proxy",
            "VAPI_BAD_RESPONSE",
            retriable=False,
        )
    socket_url = _url(_at(answer, "transport", "websocketCallUrl"), ("wss", "ws"))
    if socket_url is None:
        raise AssistantUnavailable(
            "Vapi accepted the call without a usable transport.websocketCallUrl: is the WebSocket transport "
            "enabled for the account?",
            "VAPI_NO_SOCKET_URL",
            retriable=False,
            call_id=call_id,
            control_url=control_url,
        )
    granted = _granted(_at(answer, "transport", "audioFormat"), asked)
    if granted is None:
        raise AssistantUnavailable(
            f"Vapi grants a format that the relay cannot speak, and not the one asked for, {asked}: "
            "try another audio_format or sample_rate_hz",
            "VAPI_FORMAT_UNUSABLE",
            retriable=False,
            call_id=call_id,
            control_url=control_url,
        )
    return CallCreated(call_id, socket_url, control_url, granted)


def _call_id(answer: dict[str, Any]) -> str | None:
    call_id = answer.get("id")
    return call_id if isinstance(call_id, str) and _CALL_ID.fullmatch(call_id) else None


def _control_url(answer: dict[str, Any]) -> str | None:
    return _url(_at(answer, "monitor", "controlUrl"), ("https", "http"))


def _granted(told: Any, asked: AudioFormat) -> AudioFormat | None:
    """Return the format of the call, None when it is not usable, or not clear.

    What the answer leaves out is as it was asked for, as long as the rest is.
    """
    if told is None:
        return asked
    if not isinstance(told, dict) or told.get("container") not in (None, "raw"):
        return None
    encoding, rate_hz = told.get("format"), told.get("sampleRate")
    if encoding in (None, asked.encoding.value) and rate_hz in (None, asked.rate_hz):
        return asked
    if not isinstance(rate_hz, int | float) or rate_hz not in _RATES_HZ:
        return None
    if encoding not in (Encoding.PCM_S16LE.value, Encoding.MULAW.value):
        return None
    return AudioFormat(Encoding(encoding), int(rate_hz))


def _failure(status: int, body: bytes, answer: dict[str, Any] | None, private: Iterable[str]) -> AssistantUnavailable:
    if status == 403 and b"error code: 1010" in body:
        code, retriable, advice = (
            "VAPI_CLOUDFLARE_1010",
            False,
            "is guarded by Cloudflare, which refused our User-Agent: let no proxy remove or replace it",
        )
    elif 500 <= status <= 599:
        code, retriable, advice = "VAPI_SERVER_ERROR", True, "failed on its own side: see status.vapi.ai"
    else:
        unexpected = ("VAPI_UNEXPECTED_STATUS", False, "gave an answer nobody documents: check api_base and any proxy")
        code, retriable, advice = _FAILURES.get(status, unexpected)
    said = _message(answer, private)
    text = f"Vapi answered {status} and {advice}" + (f" (it says: {said})" if said else "")
    locked_out_s = _RATE_LOCK_OUT_S if status == 429 else 0.0
    return AssistantUnavailable(text, code, retriable=retriable, locked_out_s=locked_out_s)


def _json_object(body: bytes) -> dict[str, Any] | None:
    try:
        answer = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    return answer if isinstance(answer, dict) else None


def _at(answer: dict[str, Any], outer: str, inner: str) -> Any:
    part = answer.get(outer)
    return part.get(inner) if isinstance(part, dict) else None


def _url(value: Any, schemes: tuple[str, ...]) -> str | None:
    if not isinstance(value, str) or _URL.fullmatch(value) is None:
        return None
    try:
        parts = urlsplit(value)
        usable = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return None
    return value if usable else None


def _message(answer: dict[str, Any] | None, private: Iterable[str]) -> str:
    """Return Vapi's own words on one line, at most 200 characters, with whatever may be a secret taken out."""
    message = (answer or {}).get("message")
    lines = message if isinstance(message, list) else [message]
    text = " ".join(line for line in lines if isinstance(line, str))[:_MESSAGE_READ_CHARS]
    for part in private:
        text = re.sub(rf"(?<!\w){re.escape(part)}(?!\w)", "***", text)
    text = _LONG_WORD.sub(_unless_digits, _ADDRESS.sub("***", text))
    printable = "".join(letter if letter.isprintable() else " " for letter in text)
    return shortened(" ".join(printable.split()), _MESSAGE_MAX_CHARS)


def _unless_digits(word: re.Match[str]) -> str:
    """A long word with a digit may be a key; one without is the name of a property."""
    return "***" if any(letter.isdigit() for letter in word[0]) else word[0]
