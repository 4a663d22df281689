"""The assistant transfers the caller, or hangs up: what it says is heard first, whatever happens meanwhile."""

import json
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from relay.call.assistant.departure import FAREWELL_MAX_S, QUIET_S, SAME_S
from relay.config import BargeInConfig, SessionConfig, TransferConfig
from relay.media.frames import AudioFormat, Encoding
from relay.wire.vapi_actions import Action, HangUp, Transfer
from tests.support.callrig import SID, TONE, Assistant, LoudnessModel, Rig, open_rig
from tests.support.numbered import numbered, whole_and_in_order

NUMBER = "+4930123456"
ALLOWED = TransferConfig(allow=("+4930*",))
TRANSFER, HANG_UP = "transferCall", "endCall"
REASONS = {TRANSFER: "transferred", HANG_UP: "assistant_ended"}


def call_tool(assistant: Assistant, name: str, destination: str = NUMBER) -> None:
    arguments = json.dumps({"destination": destination} if name == TRANSFER else {})
    tool = {"id": "call_1", "type": "function", "function": {"name": name, "arguments": arguments}}
    assistant.tell(type="tool-calls", toolCallList=[tool])


def destination(rig: Rig) -> str | None:
    return rig.calls.transfer_of(SID)


def told(assistant: Assistant) -> list[Any]:
    return [it for it in assistant.told if it["type"] == "add-message"]


@pytest.mark.parametrize("tool", [TRANSFER, HANG_UP])
async def test_what_the_assistant_says_with_it_is_heard_to_its_end(tool: str, autojump_clock: MockClock) -> None:
    async with open_rig(transfer=ALLOWED) as rig:
        await rig.begin()
        call_tool(rig.assistant, tool)
        await trio.sleep(1)
        rig.assistant.say(numbered(0, 150))
        await trio.sleep(3)
        assert not rig.events("call.ended")
        await rig.ended(REASONS[tool], within_s=2)

        assert whole_and_in_order(rig.phone.heard(), 0, 150)
        assert destination(rig) == (NUMBER if tool == TRANSFER else None)
        assert [it["type"] for it in rig.assistant.told] == ["end-call"]


async def test_a_transfer_is_told_in_the_log_without_the_number_and_counted(autojump_clock: MockClock) -> None:
    async with open_rig(transfer=ALLOWED) as rig:
        await rig.begin()
        call_tool(rig.assistant, TRANSFER)
        rig.assistant.tell(type="transfer-update", destination={"type": "number", "number": NUMBER})
        await rig.ended("transferred", within_s=QUIET_S + 1)

        assert rig.event("transfer.accepted")["allowed_by"] == "+4930*"
        assert rig.metric("relay_transfers_total", result="accepted") == 1
        assert NUMBER not in str(rig.logged)


async def test_an_assistant_that_never_stops_talking_is_left_in_the_end(autojump_clock: MockClock) -> None:
    async with open_rig(transfer=ALLOWED) as rig:
        await rig.begin()
        call_tool(rig.assistant, TRANSFER)
        rig.assistant.say(TONE * 3000)
        await trio.sleep(FAREWELL_MAX_S - 1)
        assert not rig.events("call.ended")
        await rig.ended("transferred", within_s=2)


@pytest.mark.parametrize("tool", [TRANSFER, HANG_UP])
@pytest.mark.parametrize("how", ["ended", "closed", "lost", "faulty"])
async def test_when_the_assistant_s_socket_ends_at_once_what_is_queued_is_heard_and_nobody_is_dialled(
    how: str, tool: str, autojump_clock: MockClock
) -> None:
    async with open_rig(transfer=ALLOWED) as rig:
        await rig.begin()
        rig.assistant.send(numbered(0, 100))
        call_tool(rig.assistant, tool)
        await trio.sleep(0.02)
        match how:
            case "ended":
                rig.assistant.tell(type="status-update", status="ended", endedReason="assistant-forwarded-call")
            case "faulty":
                rig.assistant.tell(type="status-update", status="ended", endedReason="pipeline-error-transfer-failed")
            case "closed":
                rig.assistant.peer.close()
            case "lost":
                rig.dialer.sockets[0].dead.set()
        await rig.ended(REASONS[tool], within_s=4)

        assert whole_and_in_order(rig.phone.heard(), 0, 100)
        assert destination(rig) == (NUMBER if tool == TRANSFER else None)
        assert len(rig.dialer.asked) == 1


async def test_a_caller_who_interrupts_the_farewell_is_transferred_all_the_same_and_sooner(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(model=LoudnessModel(), transfer=ALLOWED, barge_in=BargeInConfig(agreement="off")) as rig:
        await rig.begin()
        call_tool(rig.assistant, TRANSFER)
        rig.assistant.say(TONE * 500)
        await trio.sleep(2)
        rig.phone.say(TONE * 100)
        await trio.sleep(0.6)
        rig.assistant.stop()
        rig.assistant.interrupted()
        await rig.ended("transferred", within_s=5)

        assert len(rig.events("bargein.flushed")) == 1
        assert destination(rig) == NUMBER


async def test_a_caller_who_hangs_up_meanwhile_is_transferred_to_nobody(autojump_clock: MockClock) -> None:
    async with open_rig(transfer=ALLOWED) as rig:
        await rig.begin()
        call_tool(rig.assistant, TRANSFER)
        await trio.sleep(0.5)
        rig.phone.stop()
        await rig.ended("caller_hangup")

        assert destination(rig) is None


async def test_a_caller_whose_stream_breaks_off_meanwhile_is_connected_at_once(autojump_clock: MockClock) -> None:
    async with open_rig(transfer=ALLOWED) as rig:
        await rig.begin()
        call_tool(rig.assistant, TRANSFER)
        rig.assistant.say(TONE * 500)
        await trio.sleep(1)
        rig.phone.peer.lose()
        await trio.sleep(0.3)

        assert destination(rig) == NUMBER
        await rig.ended("transferred", within_s=1)


@pytest.mark.parametrize("rules", [TransferConfig(), TransferConfig(allow=("+1*", "sip:*"))])
async def test_a_destination_that_is_not_allowed_is_refused_and_the_conversation_goes_on(
    rules: TransferConfig, autojump_clock: MockClock
) -> None:
    async with open_rig(transfer=rules) as rig:
        await rig.begin()
        call_tool(rig.assistant, TRANSFER)
        rig.assistant.tell(type="transfer-update", destination={"type": "number", "number": NUMBER})
        await trio.sleep(5)

        assert rig.event("transfer.refused")["code"] == "TRANSFER_NOT_ALLOWED"
        assert rig.metric("relay_transfers_total", result="refused") == 1
        (note,) = told(rig.assistant)
        assert (note["message"]["role"], note["triggerResponseEnabled"]) == ("system", True)
        assert NUMBER not in str(rig.logged)
        assert not rig.events("call.ended")
        assert destination(rig) is None


async def test_another_try_later_is_another_refusal_and_what_is_allowed_is_done(autojump_clock: MockClock) -> None:
    async with open_rig(transfer=ALLOWED) as rig:
        await rig.begin()
        for wrong in ("+15005550006", "+15005550007", "+15005550007"):
            call_tool(rig.assistant, TRANSFER, wrong)
        await trio.sleep(SAME_S + 1)
        call_tool(rig.assistant, TRANSFER, "+15005550007")
        await trio.sleep(1)
        assert len(told(rig.assistant)) == len(rig.events("transfer.refused")) == 3
        call_tool(rig.assistant, TRANSFER)
        await rig.ended("transferred", within_s=3)


async def test_the_first_request_stands(autojump_clock: MockClock) -> None:
    async with open_rig(transfer=ALLOWED) as rig:
        await rig.begin()
        call_tool(rig.assistant, TRANSFER)
        call_tool(rig.assistant, HANG_UP)
        call_tool(rig.assistant, TRANSFER, "+4930999999")
        await rig.ended("transferred", within_s=3)

        assert destination(rig) == NUMBER
        assert not rig.events("transfer.refused")


async def test_a_browser_cannot_be_connected_to_a_telephone_but_can_be_left(autojump_clock: MockClock) -> None:
    async with open_rig(transfer=ALLOWED) as rig:
        rig.call = rig.calls.answer(SID, AudioFormat(Encoding.PCM_S16LE, 16000), browsers_id="b1")
        assistant = await rig.meet_assistant()
        await trio.sleep(1)
        call_tool(assistant, TRANSFER)
        await trio.sleep(1)
        assert rig.event("transfer.refused")["code"] == "TRANSFER_NO_TELEPHONE"
        call_tool(assistant, HANG_UP)
        await rig.ended("assistant_ended", within_s=3)


@pytest.mark.parametrize(("action", "reason"), [(Transfer(NUMBER), "transferred"), (HangUp(), "assistant_ended")])
@pytest.mark.parametrize("lost", [False, True])
async def test_a_webhook_asks_as_the_socket_does_also_when_that_is_lost(
    lost: bool, action: Action, reason: str, autojump_clock: MockClock
) -> None:
    async with open_rig(transfer=ALLOWED) as rig:
        await rig.begin()
        if lost:
            rig.dialer.connect_after_s = 5.0
            rig.dialer.sockets[0].dead.set()
            await trio.sleep(1)
        assert rig.call.asked_by_webhook(action) is None
        await rig.ended(reason, within_s=4)


async def test_a_webhook_is_told_why_not(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        await rig.begin()

        assert rig.call.asked_by_webhook(Transfer(NUMBER)) == "callers may not be connected to this destination"


async def test_the_longest_call_ends_though_the_assistant_is_about_to_leave(autojump_clock: MockClock) -> None:
    async with open_rig(transfer=ALLOWED, session=SessionConfig(max_duration_s=5)) as rig:
        await rig.begin()
        call_tool(rig.assistant, TRANSFER)
        rig.assistant.say(TONE * 1000)
        await rig.ended("max_duration", within_s=6)

        assert destination(rig) is None
