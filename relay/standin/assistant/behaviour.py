"""How the built-in assistant behaves: what it says, and the ways in which it can be difficult."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from relay.standin.assistant.chunks import Chunking

Script = Literal["demo", "echo", "tone", "file", "silent"]


@dataclass(frozen=True, slots=True)
class Behaviour:
    """One call's conduct; the defaults are those of a healthy call.

    script: "demo" greets, answers the first utterance with a 30 s description and every later one by saying it back;
        "tone" and "file" (with `audio`, a WAV) play one sound over and over, and begin it anew after an interruption;
        "silent" never speaks; "echo" sends the caller's own bytes back, untouched, `echo_delay_ms` later.
    agree: whether it takes the caller's speech for an interruption at all.
    answer_interruption: whether the words that interrupted it get an answer.
    stop_lag_ms: how long the old audio goes on after the interruption was recognised.
    think_ms: from the end of the caller's words to the answer; a `hang` is sent after 1.5 s of it.
    burst: speech leaves as fast as the socket takes it, not in real time.
    first_audio_ms: from the connection to the first audio.
    monitor_in_reply: whether `POST /call` already names the control URL (else only `GET /call/{id}` does).
    create_status: answer `POST /call` with this status instead (an error without a call).
    user_texts: what the caller's utterances are taken to say, in order; without one, "(1.4 s of speech)".
    """

    script: Script = "demo"
    audio: Path | None = None
    agree: bool = True
    answer_interruption: bool = False
    detect_after_ms: float = 300.0
    stop_lag_ms: float = 0.0
    think_ms: float = 0.0
    send_user_interrupted: bool = True
    send_speech_updates: bool = True
    send_transcripts: bool = True
    downlink_silence: bool = True
    burst: bool = False
    chunking: Chunking = "irregular"
    seed: int = 1
    in_progress_ms: float = 140.0
    first_audio_ms: float = 500.0
    echo_delay_ms: float = 60.0
    monitor_in_reply: bool = True
    create_status: int | None = None
    concurrency_limit: int = 10
    refuse_handshake: bool = False
    user_texts: tuple[str, ...] = ()
