"""The behaviour of the built-in assistant is set here: what it says, and the ways in which it is difficult."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from relay.media.frames import AudioFormat
from relay.standin.assistant.acts import Act
from relay.standin.assistant.chunks import Chunking
from relay.standin.assistant.order import Properties
from relay.standin.assistant.unsettled import Unsettled

ScriptName = Literal["demo", "echo", "tone", "file", "silent"]


@dataclass(frozen=True, slots=True)
class Behaviour:
    """One call's behaviour; the defaults are those of a healthy call.

    Several of these are questions that Vapi's documents leave open: pacing, chunk sizes, whether silence is sent, where
    the control URL is. The relay has to get along with either answer.

    script: "demo" greets, answers the first utterance with a 30 s description and every later one by saying it back;
        "tone" and "file" (with `audio`, a WAV) play one sound over and over, and begin it anew after an interruption;
        "silent" never speaks; "echo" sends the caller's own bytes back, untouched, `echo_delay_ms` later.
    agree: whether it takes the caller's speech for an interruption at all.
    detect_after_ms: how long the caller must have spoken for that.
    answer_interruption: whether the words that interrupted it get an answer. Those said during a first message that may
        not be interrupted get theirs behind it.
    stop_lag_ms: how long the old audio goes on after the interruption was recognised.
    think_ms: from the end of the caller's words to the answer; a `hang` is sent after 1.5 s of it.
    send_user_interrupted, send_speech_updates, send_transcripts: whether such messages are sent.
    downlink_silence: whether silence is sent while it does not speak, or nothing.
    burst: speech leaves as fast as the socket takes it, not in real time.
    chunking, seed: the sizes of the audio messages, and which of their random series it is.
    in_progress_ms, first_audio_ms: from the connection to the first status and to the first audio.
    monitor_in_reply: whether `POST /call` already names the control URL (else only `GET /call/{id}` does).
    properties: which properties of an order are taken: see `read_order`.
    granted_format: the format that a call gets, whatever was ordered; the answer names it.
    create_status: answer `POST /call` with this status instead (an error without a call).
    create_burst: how many `POST /call` in 21 s are served; one more, and all are answered with 429 for 21 s (0: none
        is ever served; None: all are; Vapi: about 200). Set to None, it leaves a lock-out that has begun to its end.
    slow_creates, slow_create_s: the first so many `POST /call` are answered so late, by default never.
    slow_create_makes_call: the call of a late answer exists from the beginning; otherwise the request came late.
    concurrency_limit: how many calls may be active.
    blocked_waits: a call above that limit waits in the queue for a place, as Vapi's documents say; otherwise it is over
        at once.
    refuse_handshake: the socket's handshake is answered with 404, and the call is over.
    ends_with_socket: the client ends a call by closing its socket; otherwise the call goes on, billed, without it.
    user_texts: what the caller's utterances are taken to say, in order; then what fits the script (see `Narrator`).
    acts: what the model does before it answers an utterance: one for each, in order, until there are no more.
    tools: the tools of every assistant; one with an "id" stands apart, and is asked for by that.
    unsettled: the answers to further questions that the documents leave open.
    """

    script: ScriptName = "demo"
    audio: Path | None = None
    agree: bool = True
    answer_interruption: bool = True
    detect_after_ms: float = 300.0
    stop_lag_ms: float = 0.0
    think_ms: float = 0.0
    send_user_interrupted: bool = True
    send_speech_updates: bool = True
    send_transcripts: bool = True
    downlink_silence: bool = True
    burst: bool = False
    chunking: Chunking = "live"
    seed: int = 1
    in_progress_ms: float = 140.0
    first_audio_ms: float = 500.0
    echo_delay_ms: float = 60.0
    monitor_in_reply: bool = True
    properties: Properties = "legacy"
    granted_format: AudioFormat | None = None
    create_status: int | None = None
    create_burst: int | None = None
    slow_creates: int = 0
    slow_create_s: float = math.inf
    slow_create_makes_call: bool = True
    concurrency_limit: int = 10
    blocked_waits: bool = False
    refuse_handshake: bool = False
    ends_with_socket: bool = True
    user_texts: tuple[str, ...] = ()
    acts: tuple[Act, ...] = ()
    tools: tuple[Mapping[str, Any], ...] = ()
    unsettled: Unsettled = field(default_factory=Unsettled)


def as_documented(behaviour: Behaviour) -> Behaviour:
    """The same, with Vapi's documents taken at their word where public code relies on something else.

    Properties of older schemas are refused, the control URL is told by `GET /call/{id}` only, a call above the limit
    waits, and closing its socket does not end a call.
    """
    return replace(
        behaviour,
        properties="schema",
        monitor_in_reply=False,
        blocked_waits=True,
        ends_with_socket=False,
    )
