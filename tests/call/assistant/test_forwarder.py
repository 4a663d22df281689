"""What passes between the call and the assistant's socket besides audio."""

import pytest
import trio
from trio.testing import MockClock

from relay.call.assistant import pump
from relay.call.assistant.outgoing import NOTES_MAX
from relay.config import ReconnectConfig
from tests.support.callrig import PCM, open_rig
from tests.support.numbered import numbered, whole_and_in_order

BAD = [
    "",
    "{",
    "[]",
    "null",
    '"text"',
    "{}",
    '{"type": 5}',
    '{"type": "speech-update"}',
    '{"type": "speech-update", "status": "sometimes", "role": "assistant"}',
    '{"type": "transcript", "role": "user", "transcriptType": "partial", "transcript": 7}',
    '{"type": "status-update"}',
    '{"message": {"type": 5}}',
    "[" * 5000,
    '{"type": "' + "x" * 100_000 + '"}',
    "\ud800",
]


@pytest.mark.parametrize("message", BAD, ids=range(len(BAD)))
async def test_a_bad_message_is_counted_told_once_and_the_call_goes_on(message: str, autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        await rig.begin()
        for _ in range(3):
            rig.assistant.send(message)
        rig.assistant.say(numbered(0, 20))
        await trio.sleep(2)
        errors = rig.call.summary()["protocol_errors"]
        told = rig.events("assistant.bad_message") + rig.events("assistant.unknown_message")

        assert isinstance(errors, dict)
        assert list(errors.values()) == [3]
        assert len(told) == 1
        assert told[0]["call_id"] == rig.call.id
        assert whole_and_in_order(rig.phone.heard(), 0, 20)


async def test_many_unknown_types_are_one_label(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        await rig.begin()
        for number in range(50):
            rig.assistant.tell(type=f"invented-{number}")
        await trio.sleep(0.1)

        assert rig.call.summary()["protocol_errors"] == {"assistant.UNKNOWN_TYPE": 50}
        assert rig.metric("relay_protocol_errors_total", leg="assistant", code="UNKNOWN_TYPE") == 50
        assert len(rig.events("assistant.unknown_message")) == 1


async def test_known_messages_that_change_nothing_change_nothing(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        await rig.begin()
        rig.assistant.say(numbered(0, 50))
        rig.assistant.tell(type="hang")
        rig.assistant.tell(type="status-update", status="in-progress")
        rig.assistant.tell(type="model-output", output="hello <flush />")
        rig.assistant.tell(message={"type": "voice-input", "input": "hello"})
        rig.assistant.speech("started", "user")
        rig.assistant.transcript("hello")
        await trio.sleep(3)

        assert whole_and_in_order(rig.phone.heard(), 0, 50)
        assert rig.call.summary()["protocol_errors"] == {}


async def test_a_key_reaches_the_assistant_and_the_log_does_not_say_which(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        await rig.begin()
        rig.phone.press("7")
        await trio.sleep(0.1)
        (note,) = rig.assistant.told

        assert note["type"] == "add-message"
        assert "7" in note["message"]["content"]
        line = rig.event("caller.key_pressed")
        assert {key: value for key, value in line.items() if key not in {"event", "log_level", "call_id"}} == {}


async def test_keys_pressed_before_the_assistant_is_there_wait_and_are_bounded(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        rig.dialer.answer_after_s = 2.0
        call = rig.ring()
        phone = await rig.attach(call)
        for number in range(NOTES_MAX + 8):
            phone.press(str(number % 10))
        assistant = await rig.meet_assistant()
        await trio.sleep(0.5)

        assert len(assistant.told) == NOTES_MAX
        assert rig.event("assistant.notes_dropped")["code"] == "NOTES_FULL"
        assert call.summary()["notes_dropped"] == {"NOTES_FULL": 8}


async def test_what_was_said_is_in_the_log_at_debug_only(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        await rig.begin()
        rig.assistant.transcript("my number is 42", kind="final")
        rig.assistant.transcript("half", kind="partial")
        await trio.sleep(0.1)
    texts = [line for line in rig.logged if "my number" in str(line)]

    assert [(line["event"], line["log_level"]) for line in texts] == [("transcript.text", "debug")]
    assert rig.event("transcript.final")["characters"] == 15


async def test_the_assistant_is_announced(autojump_clock: MockClock) -> None:
    async with open_rig(PCM) as rig:
        await rig.begin()
        await trio.sleep(0.1)

        assert rig.event("assistant.dialing")["assistant"] == "fake"
        assert rig.event("assistant.ready")["assistant_call_id"] == "vapi-0"
        assert rig.event("caller.attached")["call_id"] == rig.call.id
        assert not any("wss://" in str(line) for line in rig.logged)


async def test_the_last_words_are_heard_though_a_send_failed_first(autojump_clock: MockClock) -> None:
    """The writer notices a closed socket before the reader has read what came before the goodbye."""
    async with open_rig() as rig:
        await rig.begin()
        await trio.sleep(1)
        rig.assistant.send(numbered(0, 100))
        rig.assistant.tell(type="status-update", status="ended", endedReason="assistant-ended-call")
        peer = rig.dialer.peers[0]
        peer.gone = True
        await rig.ended("assistant_ended", within_s=5)

        assert whole_and_in_order(rig.phone.heard(), 0, 100)


async def test_an_assistant_whose_socket_cannot_be_written_is_lost_even_if_it_can_be_read(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(reconnect=ReconnectConfig(max_attempts=0)) as rig:
        await rig.begin()
        rig.dialer.peers[0].gone = True
        await rig.ended("assistant_unavailable", within_s=pump.LAST_WORDS_S + 2)

        assert rig.dialer.hung_up == ["vapi-0"]


async def test_delay_up_is_measured_from_the_arrival(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        await rig.begin()
        await trio.sleep(1)
        rig.dialer.peers[0].slow_down(0.015)
        await trio.sleep(1)
        total = rig.metric("relay_frame_delay_seconds_sum", direction="up")
        count = rig.metric("relay_frame_delay_seconds_count", direction="up")

        assert count == pytest.approx(100, abs=2)
        assert total == pytest.approx(50 * 0.015, abs=0.05)
