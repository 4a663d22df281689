"""The simulated caller against small relays that behave, and against some that do not."""

import base64
import wave
from pathlib import Path

import numpy as np
import pytest
import trio

from relay.standin.phone import Phone, PhoneEvent, PhoneOptions, open_phone
from relay.standin.phone.lips import Lips
from tests.support.small_relay import BEEP, OPTIONS, PUBLIC, TOKEN, MediaLeg, listen, small_relay


async def test_marks_come_back_when_played_and_are_counted() -> None:
    answered: list[str] = []

    async def speak(leg: MediaLeg) -> None:
        await leg.started()
        await leg.media(BEEP)
        await leg.send("mark", mark={"name": "after"})
        answered.append((await leg.wait("mark"))["mark"]["name"])
        await leg.send("clear")

    async with small_relay(speak) as small, open_phone(small.url, OPTIONS) as phone:
        await phone.wait_ended()
    result = phone.result()
    assert answered == ["after"]
    assert (result.end, result.marks_returned, result.marks_cleared, len(result.clears)) == ("twiml_completed", 1, 0, 1)
    assert result.heard_ms == pytest.approx(200, abs=20)
    assert BEEP in phone.players[0].heard


async def test_a_clear_returns_the_marks_at_once_and_the_rest_is_never_heard() -> None:
    async def interrupt(leg: MediaLeg) -> None:
        await leg.started()
        await leg.media(BEEP * 50)
        await leg.send("mark", mark={"name": "late"})
        await trio.sleep(0.2)
        await leg.send("clear")
        assert (await leg.wait("mark"))["mark"]["name"] == "late"

    events: list[PhoneEvent] = []
    options = PhoneOptions(auth_token=TOKEN, public_url=PUBLIC, on_event=events.append)
    async with small_relay(interrupt) as small, open_phone(small.url, options) as phone:
        await phone.wait_ended()
    result = phone.result()
    assert result.marks_cleared == 1
    assert result.clears[0]["cleared_ms"] > 9000
    assert result.heard_ms < 1000
    assert [event.kind for event in events] == ["stream.started", "clear", "stream.ended"]


async def test_wrong_messages_are_warnings_and_the_call_goes_on() -> None:
    async def blunder(leg: MediaLeg) -> None:
        await leg.started()
        await leg.socket.send_message(b"\xff" * 160)
        await leg.send("clear", extra=1)
        leg.sid, right = "MZwrong", leg.sid
        await leg.media(BEEP)
        leg.sid = right
        await leg.send("mark", mark={"name": "m"})
        await leg.wait("mark")

    async with small_relay(blunder) as small, open_phone(small.url, OPTIONS) as phone:
        await phone.wait_ended()
    result = phone.result()
    assert [warning[:5] for warning in result.warnings] == ["31950", "31951", "31951"]
    assert not result.ok
    assert result.heard_ms == 0


async def test_the_caller_can_hang_up_while_no_stream_is_open() -> None:
    async with small_relay(listen, voice="<Pause length='60'/>") as small, open_phone(small.url, OPTIONS) as phone:
        await phone.wait_until(lambda: bool(phone.steps))
        with trio.fail_after(20):
            await phone.hang_up()
    assert phone.result().end == "caller_hangup"


async def test_waiting_ends_with_the_call() -> None:
    async def leave(leg: MediaLeg) -> None:
        await leg.started()

    async with small_relay(leave) as small, open_phone(small.url, OPTIONS) as phone:
        assert not await phone.wait_heard(100)
        assert not await phone.wait_quiet(60_000)
        with pytest.raises(RuntimeError, match="no stream"):
            await phone.send_dtmf("1")


async def test_quiet_is_noticed_after_what_was_heard() -> None:
    async def speak(leg: MediaLeg) -> None:
        await leg.started()
        await leg.media(BEEP * 2)
        await listen(leg)

    async with small_relay(speak) as small, open_phone(small.url, OPTIONS) as phone:
        assert await phone.wait_heard(300)
        assert await phone.wait_quiet(200)
        assert phone.heard_audible_ms == pytest.approx(400, abs=40)


async def test_what_it_says_has_left_when_say_returns() -> None:
    async with small_relay(listen) as small, open_phone(small.url, OPTIONS) as phone:
        await phone.wait_streaming()
        saying = await phone.say(BEEP)
        assert saying.ended_s is not None
        await phone.hang_up()
        heard = b"".join(base64.b64decode(m["media"]["payload"]) for m in small.legs[0].messages if "media" in m)

    assert BEEP in heard
    assert phone.result().said_ms >= 200


async def test_a_key_that_is_pressed_reaches_the_relay() -> None:
    pressed: list[str] = []

    async def wait_for_a_key(leg: MediaLeg) -> None:
        await leg.started()
        pressed.append((await leg.wait("dtmf"))["dtmf"]["digit"])

    async with small_relay(wait_for_a_key) as small, open_phone(small.url, OPTIONS) as phone:
        await phone.wait_streaming()
        await phone.send_dtmf("5")
        await phone.wait_ended()

    assert pressed == ["5"]


async def test_what_never_comes_true_is_given_up_in_time() -> None:
    async with small_relay(listen) as small, open_phone(small.url, OPTIONS) as phone:
        await phone.wait_streaming()
        with pytest.raises(trio.TooSlowError):
            await phone.wait_until(lambda: False, timeout_s=0.05)


async def test_the_recording_has_the_caller_on_the_left_and_the_relay_on_the_right(tmp_path: Path) -> None:
    async def speak(leg: MediaLeg) -> None:
        await leg.started()
        await leg.media(b"\x80" * 1600)
        await listen(leg)

    async with small_relay(speak) as small, open_phone(small.url, OPTIONS) as phone:
        await phone.wait_streaming()
        await phone.say(b"\x00" * 800)
        assert await phone.wait_quiet(100)
    phone.write_wav(tmp_path / "call.wav")
    with wave.open(str(tmp_path / "call.wav")) as file:
        left, right = np.frombuffer(file.readframes(1 << 20), "<i2").reshape(-1, 2).T

    assert left[left != 0].tolist() == [-32124] * 800
    assert right[right != 0].tolist() == [32124] * 1600


def test_before_anything_was_heard_its_result_is_that_of_a_call_under_way() -> None:
    phone = Phone(OPTIONS, "CA1", 0.0, Lips(0.0), ended_s=0.0)

    assert (phone.result().end, phone.result().streams, phone.result().ok) == ("in-progress", 0, False)
    phone.drop()
    assert not phone.is_streaming
