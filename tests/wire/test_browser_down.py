"""The messages that a browser is sent, in the form of either transport."""

import base64
import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.wire import browser_down
from relay.wire.browser_down import AssistantAudio, Text


@pytest.mark.parametrize(
    ("message", "fields"),
    [
        (browser_down.interrupt(3), {"type": "interrupt", "turn": 3}),
        (browser_down.resumed(3), {"type": "resumed", "turn": 3}),
        (browser_down.transcript("user", 'h"i', final=False), {"type": "partial", "role": "user", "text": 'h"i'}),
        (browser_down.transcript("assistant", "ä", final=True), {"type": "final", "role": "assistant", "text": "ä"}),
        (browser_down.speech("user", started=True), {"type": "speech", "status": "started", "role": "user"}),
        (browser_down.speech("assistant", started=False), {"type": "speech", "status": "stopped", "role": "assistant"}),
        (browser_down.state("ended", "idle"), {"type": "state", "status": "ended", "reason": "idle"}),
        (browser_down.error("ODD_BYTES", "what"), {"type": "error", "error": "what", "code": "ODD_BYTES"}),
        (
            browser_down.failure("LEG_LOST", "what", "assistant"),
            {"type": "error", "error": "what", "code": "LEG_LOST", "leg": "assistant"},
        ),
    ],
)
def test_texts_have_their_fields_and_a_number_by_either_transport(message: Text, fields: dict[str, object]) -> None:
    sent = browser_down.to_websocket(message, 17)

    assert isinstance(sent, str)
    assert json.loads(sent) == {**fields, "n": 17}
    assert json.loads(browser_down.to_polling(message, 17)) == {**fields, "n": 17}


@given(st.text(), st.integers(1, 2**53))
def test_whatever_was_said_goes_through_the_numbering_unchanged(said: str, n: int) -> None:
    sent = json.loads(browser_down.numbered_text(browser_down.transcript("user", said, final=True), n))

    assert (sent["text"], sent["n"]) == (said, n)


def test_audio_is_binary_over_a_websocket_and_json_over_polling() -> None:
    frame = AssistantAudio(turn=2, ms=40, pcm=b"\1\2\3\4")

    assert browser_down.to_websocket(frame, 9) == struct.pack(">III", 9, 40, 2) + b"\1\2\3\4"
    expected = {"type": "audio", "turn": 2, "seq": 9, "n": 9, "ms": 40, "audio": base64.b64encode(frame.pcm).decode()}
    assert json.loads(browser_down.to_polling(frame, 9)) == expected


def test_the_media_time_of_a_session_wraps_with_its_32_bits() -> None:
    frame = AssistantAudio(turn=2, ms=2**32 + 40, pcm=b"\1\2")

    assert browser_down.to_websocket(frame, 9) == struct.pack(">III", 9, 40, 2) + b"\1\2"
    assert json.loads(browser_down.to_polling(frame, 9))["ms"] == 40


def test_a_gap_names_the_first_and_the_last_message_that_are_gone() -> None:
    told = json.loads(browser_down.numbered_text(browser_down.gap(5, 9), 9))

    assert (told["type"], told["code"], told["n"]) == ("error", "MESSAGES_LOST", 9)
    assert "5 to 9" in told["error"]


def test_the_answer_to_a_poll_moves_the_cursor_only_by_what_it_carries() -> None:
    assert json.loads(browser_down.poll_answer([], 4)) == {"next": 4, "messages": []}
    answer = json.loads(browser_down.poll_answer([(5, browser_down.interrupt(1)), (6, browser_down.interrupt(2))], 4))
    assert answer["next"] == 6
    assert [message["n"] for message in answer["messages"]] == [5, 6]


def test_ready_and_the_answer_to_audio_name_the_sequence_number_that_is_wanted_next_and_ready_the_grace() -> None:
    ready = browser_down.ready("id", token="t", resume="r", rate_hz=16000, next_sequence=3, grace_s=30)

    assert json.loads(ready) == {
        "type": "ready",
        "sessionId": "id",
        "token": "t",
        "resume": "r",
        "sampleRate": 16000,
        "next": 3,
        "graceMs": 30_000,
    }
    assert json.loads(browser_down.audio_answer(4, 12)) == {"received": 4, "next": 12}
