"""A report of the daemon, the assistant or the telephone becomes a line of the story, or nothing."""

from typing import Any

import pytest

from relay.demo.event import from_log, from_message, from_phone, wall_s

RECONNECTED = {"gap_ms": 191.5, "replayed_ms": 2440, "dropped_ms": 0}
FLUSHED = {"turn": 2, "flushed_ms": 214.4, "onset_to_clear_ms": 90, "decide_to_clear_ms": 1, "heard_ms": 8000}


@pytest.mark.parametrize(
    ("event", "values", "text"),
    [
        ("call.started", {}, "the phone rings: a call slot is taken"),
        ("speech.started", {"onset_ms": 100, "decided_ms": 180}, "speech detected, 80 ms of it were enough"),
        ("speech.ended", {"at_ms": 100, "decided_ms": 356}, "end of speech, 256 ms of silence were enough"),
        ("bargein.flushed", FLUSHED, "stopped turn 2: clear sent, 214 ms flushed"),
        ("bargein.silent", {"clear_to_silent_ms": 3.2}, "Twilio confirms: silent 3 ms after clear"),
        ("bargein.resumed", {"paused_ms": 240}, "not speech after all: playback resumed after 240 ms"),
        ("bargein.false", {}, "a false alarm: what was held is played"),
        ("assistant.ready", {}, "the assistant is connected"),
        ("caller.attached", {}, "the caller's media stream is attached"),
        ("bargein.settled", {"by": "new_turn"}, "the interruption is settled: a new turn begins"),
        ("bargein.settled", {"by": "other"}, "the interruption is settled: other"),
        ("assistant.dialing", {}, "dialling the assistant"),
        ("assistant.lost", {"error": "reset"}, "the assistant is lost: reset"),
        ("assistant.reconnected", RECONNECTED, "reconnected after 192 ms: 2440 ms of the caller's audio to replay"),
        ("caller.lost", {"error": "reset"}, "the caller's media stream is lost: reset"),
        ("caller.reattached", {"gap_ms": 512.3}, "the caller is back after 512 ms"),
        ("playout.hole", {"hole_ms": 40.0}, "a hole of 40 ms in the playback"),
        ("call.ended", {"reason": "caller_hangup"}, "the call is over: caller_hangup"),
    ],
)
def test_lines_of_the_daemons_log(event: str, values: dict[str, Any], text: str) -> None:
    told = from_log({"event": event, "level": "info", **values}, 1.5)

    assert told is not None
    assert (told.at_s, told.who, told.text.partition(", 0 ms dropped")[0]) == (1.5, "relay", text)


def test_an_unknown_line_is_told_only_if_it_is_a_warning() -> None:
    assert from_log({"event": "something.new", "level": "info"}, 0.0) is None

    told = from_log({"event": "store.down", "level": "warning", "call_id": "x", "error": "gone"}, 0.0)

    assert told is not None
    assert told.tone == "trouble"
    assert told.text == "store.down {'error': 'gone'}"


@pytest.mark.parametrize(
    ("message", "outgoing", "text"),
    [
        ({"type": "end-call"}, False, "was told that the call ends"),
        ({"type": "add-message"}, False, None),
        ({"type": "user-interrupted"}, True, "noticed it as well: user-interrupted"),
        ({"type": "speech-update", "role": "user", "status": "started", "turn": 1}, True, "hears the caller speak"),
        ({"type": "speech-update", "role": "user", "status": "stopped", "turn": 1}, True, None),
        (
            {"type": "speech-update", "role": "assistant", "status": "started", "turn": 2},
            True,
            "sends its first audio of exchange 2",
        ),
        (
            {"type": "speech-update", "role": "assistant", "status": "stopped", "turn": 2},
            True,
            "has sent its last audio",
        ),
        (
            {"type": "transcript", "role": "user", "transcriptType": "partial", "transcript": "Hi"},
            True,
            'partial: "Hi ..."',
        ),
        (
            {"type": "transcript", "role": "user", "transcriptType": "final", "transcript": "Hi."},
            True,
            'final: "Hi."',
        ),
        ({"type": "transcript", "role": "assistant", "transcriptType": "final", "transcript": "Hi."}, True, None),
    ],
)
def test_messages_of_the_assistants_socket(message: dict[str, Any], outgoing: bool, text: str | None) -> None:
    told = from_message(message, 0.0, outgoing=outgoing)

    assert (told.text if told else None) == text


@pytest.mark.parametrize(
    ("kind", "detail", "text"),
    [
        ("stream.started", {}, "media stream open: signed, with a one-time token"),
        ("stream.ended", {"how": "hung-up"}, "media stream hung-up"),
    ],
)
def test_the_telephones_stream_has_a_beginning_and_an_end(kind: str, detail: dict[str, Any], text: str) -> None:
    told = from_phone(kind, detail, 1.5)

    assert told is not None
    assert (told.at_s, told.who, told.text) == (1.5, "phone", text)


def test_what_the_telephone_notices() -> None:
    cleared = from_phone("clear", {"n_bytes": 800, "detail": ""}, 0.0)
    warned = from_phone("warning", {"n_bytes": 0, "detail": "31951: not JSON"}, 0.0)

    assert cleared is not None
    assert warned is not None
    assert cleared.text == "clear received, 100 ms thrown away"
    assert warned.tone == "trouble"
    assert from_phone("mark-returned", {}, 0.0) is None


def test_the_time_of_a_line_is_read() -> None:
    assert wall_s({"timestamp": "1970-01-01T00:00:02.500Z"}) == 2.5
