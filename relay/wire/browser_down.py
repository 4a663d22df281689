"""Writes the messages that a browser is sent, as text or bytes.

The same messages travel over a WebSocket and over HTTP polling, in the form of `relay.wire.browser`. Every message has
a number `n` of one rising sequence; it is not known before the message is sent, so it is put in last.
"""

from typing import Literal

import msgspec
from msgspec import Struct

from relay.wire.browser import HEADER

_encoder = msgspec.json.Encoder()


class AssistantAudio(Struct, frozen=True):
    """A frame of the assistant's audio. `ms` is media time since the session began, `pcm` is mono, 16 bits."""

    turn: int
    ms: int
    pcm: bytes


class Text(Struct, frozen=True):
    """A text message as JSON, still without its number."""

    body: bytes


Message = AssistantAudio | Text
Numbered = tuple[int, Message]
Role = Literal["user", "assistant"]


def interrupt(turn: int) -> Text:
    """The page must stop now, and drop every frame of turns up to `turn`."""
    return _text(type="interrupt", turn=turn)


def resumed(turn: int) -> Text:
    """It was a false alarm that interrupted `turn`: what was not heard of it follows, as a turn of its own."""
    return _text(type="resumed", turn=turn)


def transcript(role: Role, text: str, *, final: bool) -> Text:
    """Somebody said this: for good, or so far."""
    return _text(type="final" if final else "partial", role=role, text=text)


def speech(role: Role, *, started: bool) -> Text:
    """Somebody began or stopped to speak."""
    return _text(type="speech", status="started" if started else "stopped", role=role)


def state(status: Literal["live", "reconnecting", "degraded", "ended"], reason: str) -> Text:
    """The call stands like this from now on."""
    return _text(type="state", status=status, reason=reason)


def error(code: str, what: str) -> Text:
    """The client did something wrong. `what` says what happened and what to do."""
    return _text(type="error", error=what, code=code)


def refusal(code: str, what: str, session_id: str = "") -> str:
    """Return the error in place of `ready`, which has no number. `session_id` is the id with which to ask again, if the
    session is another process's."""
    where = {"sessionId": session_id} if session_id else {}
    return _encoder.encode({"type": "error", "error": what, "code": code, **where}).decode()


def failure(code: str, what: str, leg: Literal["assistant", "relay"]) -> Text:
    """Something failed behind the relay, or in it."""
    return _text(type="error", error=what, code=code, leg=leg)


def gap(first: int, last: int) -> Text:
    """These messages cannot be had any more. It is sent with the number of the last of them."""
    return error("MESSAGES_LOST", f"messages {first} to {last} are gone: they waited for too long")


def ready(session_id: str, *, token: str, resume: str, rate_hz: int, next_sequence: int, grace_s: float) -> str:
    """Return the answer to `start`. It belongs to the transport, not to the session, and has no number.

    `next` is the sequence number that is wanted next: after a `resume`, where the client's audio goes on. `graceMs` is
    how long the session lives without a connection.
    """
    format_and_place = {"sampleRate": rate_hz, "next": next_sequence, "graceMs": round(grace_s * 1000)}
    values = {"sessionId": session_id, "token": token, "resume": resume, **format_and_place}
    return _encoder.encode({"type": "ready", **values}).decode()


def _text(**values: object) -> Text:
    return Text(_encoder.encode(values))


def numbered_text(message: Text, n: int) -> str:
    """Return the JSON of a text message with its number."""
    return f'{message.body[:-1].decode()},"n":{n}}}'


def to_websocket(message: Message, n: int) -> str | bytes:
    """Return the message as one WebSocket message."""
    if isinstance(message, Text):
        return numbered_text(message, n)
    return HEADER.pack(n, message.ms % 2**32, message.turn) + message.pcm


def to_polling(message: Message, n: int) -> str:
    """Return the message as one entry of a poll's answer."""
    if isinstance(message, Text):
        return numbered_text(message, n)
    entry = {"type": "audio", "turn": message.turn, "seq": n, "ms": message.ms % 2**32, "audio": message.pcm, "n": n}
    return _encoder.encode(entry).decode()


def poll_answer(messages: list[Numbered], after: int) -> bytes:
    """Return the body of the answer to a poll: `next` is the cursor of the next one."""
    last = messages[-1][0] if messages else after
    entries = ",".join(to_polling(message, n) for n, message in messages)
    return f'{{"next":{last},"messages":[{entries}]}}'.encode()


def audio_answer(received: int, next_sequence: int) -> bytes:
    """Return the body of the answer to audio that came by HTTP."""
    return _encoder.encode({"received": received, "next": next_sequence})
