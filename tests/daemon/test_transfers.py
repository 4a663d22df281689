"""A caller who is transferred: what Twilio is answered, when nobody answers, and in whichever process it asks."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from xml.etree import ElementTree as ET

import httpx
import pytest
import trio
from structlog.testing import capture_logs

from relay.call.assistant import departure
from relay.config import EventsConfig, StateConfig, TransferConfig
from relay.metrics import Metrics
from relay.state import StateStore
from relay.state.memory import MemoryBackend, MemoryTables
from relay.state.store import inline
from relay.wire.vapi_actions import Transfer
from relay.wire.webhook_auth import WebhookRules
from tests.support.browserrig import browser
from tests.support.frontrig import PUBLIC, SID, FrontRig, front_config, open_front, ringing

NUMBER, SIP = "+4930123456", "sip:desk@pbx.example.com"
RULES = TransferConfig(allow=("+4930*", SIP), answer_timeout_s=20)
IN_PROGRESS = ringing(CallStatus="in-progress")
STREAM, GOODBYE = ["Connect", "Redirect"], ["Say", "Hangup"]
SECRET = "webhook-secret-of-the-test"


def store(tables: MemoryTables, owner: str) -> StateStore:
    return StateStore(MemoryBackend(owner, tables, wall=trio.current_time), Metrics(), executor=inline)


@asynccontextmanager
async def front(rules: TransferConfig = RULES, kept: StateStore | None = None) -> AsyncIterator[FrontRig]:
    async with open_front(front_config(transfer=rules), store=kept) as rig:
        yield rig


def verbs(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200
    return [element.tag for element in ET.fromstring(answer.text)]


async def transferred(rig: FrontRig, destination: str = NUMBER) -> None:
    """A call whose assistant has transferred it, and which is over."""
    await rig.token()
    with trio.fail_after(20):
        await rig.inner.connected.wait()
    call = rig.calls.find(SID)
    assert call is not None
    assert call.asked_by_webhook(Transfer(destination)) is None
    call.depart()
    await rig.until_over()
    await rig.calls.checkpoints.stored(SID)


async def dialed(rig: FrontRig, status: str, target: str = "/twilio/dialed") -> httpx.Response:
    return await rig.post(target, IN_PROGRESS | {"DialCallStatus": status})


@pytest.mark.parametrize(("destination", "noun"), [(NUMBER, "Number"), (SIP, "Sip")])
async def test_twilio_is_told_whom_to_dial_as_often_as_it_asks(destination: str, noun: str) -> None:
    async with front() as rig:
        await transferred(rig, destination)
        with capture_logs() as logs:
            answers = [await rig.post("/twilio/resume", IN_PROGRESS) for _ in range(2)]

        for answer in answers:
            dial = ET.fromstring(answer.text).find("Dial")
            assert verbs(answer) == ["Dial"]
            assert dial is not None
            assert dial.attrib == {"action": f"{PUBLIC}/twilio/dialed", "method": "POST", "timeout": "20"}
            assert dial.findtext(noun) == destination
        assert [line["call_sid"] for line in logs if line["event"] == "transfer.dialed"] == [SID, SID]
        assert destination not in str(logs)


async def test_a_call_that_still_says_its_farewell_ends_when_twilio_asks_how_to_go_on() -> None:
    async with front() as rig:
        await rig.token()
        call = rig.calls.find(SID)
        assert call is not None
        call.asked_by_webhook(Transfer(NUMBER))

        assert verbs(await rig.post("/twilio/resume", IN_PROGRESS)) == ["Dial"]
        await rig.until_over()


@pytest.mark.parametrize("kept", [True, False], ids=["with a store", "without"])
@pytest.mark.parametrize(
    ("status", "unanswered", "answer"),
    [
        ("completed", "assistant", ["Hangup"]),
        ("answered", "goodbye", ["Hangup"]),
        ("no-answer", "assistant", STREAM),
        ("busy", "assistant", STREAM),
        ("failed", "assistant", STREAM),
        ("nonsense", "assistant", STREAM),
        ("no-answer", "goodbye", GOODBYE),
    ],
)
async def test_what_follows_when_the_transfer_is_over(
    status: str, unanswered: Any, answer: list[str], *, kept: bool
) -> None:
    rules = TransferConfig(allow=RULES.allow, unanswered=unanswered)
    async with front(rules, store(MemoryTables(), "only") if kept else None) as rig:
        await transferred(rig)
        with capture_logs() as logs:
            assert verbs(await dialed(rig, status)) == answer

        (line,) = [line for line in logs if line["event"] == "transfer.ended"]
        assert (line["call_sid"], line["dial_status"]) == (SID, status)
        result = "answered" if answer == ["Hangup"] else "unanswered"
        assert rig.metric("relay_transfers_total", result=result) == 1
        assert (rig.calls.find(SID) is not None) == (answer == STREAM)


async def test_back_with_the_assistant_it_is_told_so_once_and_may_transfer_again() -> None:
    async with front() as rig:
        await transferred(rig)
        assert verbs(await dialed(rig, "busy")) == STREAM
        assert verbs(await dialed(rig, "busy")) == STREAM
        peer = await rig.inner.peer(1)
        with trio.fail_after(20):
            while not (notes := [it for it in peer.seen if isinstance(it, str) and "nobody answered" in it]):  # noqa: ASYNC110
                await trio.sleep(0.01)
        assert len(notes) == 1
        assert json.loads(notes[0])["triggerResponseEnabled"] is True
        call = rig.calls.find(SID)
        assert call is not None
        assert verbs(await rig.post("/twilio/resume", IN_PROGRESS)) == STREAM, "the old transfer is forgotten"
        call.asked_by_webhook(Transfer(SIP))
        assert verbs(await rig.post("/twilio/resume", IN_PROGRESS)) == ["Dial"]


async def test_of_a_call_that_nobody_knows_any_more_the_caller_hears_a_goodbye() -> None:
    async with front() as rig:
        assert verbs(await dialed(rig, "busy")) == GOODBYE
        assert verbs(await rig.post("/twilio/dialed", IN_PROGRESS)) == GOODBYE


async def test_another_process_knows_whom_to_dial_and_takes_the_caller_back() -> None:
    tables = MemoryTables()
    async with front(kept=store(tables, "first")) as first, front(kept=store(tables, "second")) as second:
        await transferred(first)

        assert verbs(await second.post("/twilio/resume", IN_PROGRESS)) == ["Dial"]
        assert verbs(await dialed(second, "no-answer")) == STREAM
        assert second.calls.find(SID) is not None
        assert await first.context.takeover.transfer_of(SID) is None


async def test_while_draining_a_caller_whom_nobody_answered_waits_for_the_next_process() -> None:
    tables = MemoryTables()
    async with front(kept=store(tables, "first")) as first, front(kept=store(tables, "second")) as second:
        await transferred(first)
        await first.calls.drain(0)
        answer = await dialed(first, "no-answer")
        assert verbs(answer) == ["Pause", "Redirect"]
        target = (ET.fromstring(answer.text).findtext("Redirect") or "").removeprefix(PUBLIC)

        assert verbs(await second.post(target, IN_PROGRESS)) == STREAM


async def test_a_browser_is_told_that_it_cannot_be_connected_to_a_telephone() -> None:
    async with front() as rig, browser(rig) as page:
        await page.start()
        await page.until("state")
        destination = {"type": "number", "number": NUMBER}
        rig.inner.peers[0].send(json.dumps({"type": "transfer-update", "destination": destination}))
        error = await page.until("error")

        assert (error["code"], error["error"]) == (
            "TRANSFER_NO_TELEPHONE",
            "the caller has no telephone, and cannot be connected to one",
        )


# -- by webhook


@asynccontextmanager
async def webhooks(rules: TransferConfig) -> AsyncIterator[tuple[FrontRig, str]]:
    """A relay that takes webhooks, with a live call, and Vapi's id of it."""
    config = front_config(
        {"vapi_webhook_secrets": (SECRET,)},
        webhooks=WebhookRules(),
        events=EventsConfig(),
        state=StateConfig(url="memory:"),
        transfer=rules,
    )
    async with open_front(config) as rig:
        await rig.token()
        with trio.fail_after(20):
            await rig.inner.connected.wait()
        call = rig.calls.find(SID)
        assert call is not None
        yield rig, str(call.summary()["assistant_call_id"])


async def tell(rig: FrontRig, call: str, kind: str, /, **fields: Any) -> dict[str, Any]:
    message = {"type": kind, "timestamp": 1, "call": {"id": call}} | fields
    answer = await rig.http.post("/vapi/events", json={"message": message}, headers={"x-vapi-secret": SECRET})
    assert answer.status_code == 200
    told: dict[str, Any] = answer.json()
    return told


def tools(*names: str, destination: str = NUMBER) -> list[dict[str, Any]]:
    arguments = json.dumps({"destination": destination})
    return [{"id": name, "type": "function", "function": {"name": name, "arguments": arguments}} for name in names]


async def test_a_tool_call_for_the_telephone_is_answered_by_the_relay_the_same_each_time() -> None:
    async with webhooks(RULES) as (rig, call):
        first = await tell(rig, call, "tool-calls", toolCallList=tools("transferCall"))
        again = await tell(rig, call, "tool-calls", toolCallList=tools("transferCall"))

        assert first == again == {"results": [{"toolCallId": "transferCall", "name": "transferCall", "result": "done"}]}
        assert verbs(await rig.post("/twilio/resume", IN_PROGRESS)) == ["Dial"]


@pytest.mark.parametrize(
    ("rules", "names", "destination", "error"),
    [
        (RULES, ["transferCall"], "+15005550006", "callers may not be connected to this destination"),
        (RULES, ["transferCall", "book"], NUMBER, "nothing answers this here"),
        (TransferConfig(), ["transferCall"], NUMBER, "nothing answers this here"),
    ],
    ids=["not allowed", "of the operator too", "nobody is allowed"],
)
async def test_any_other_tool_call_is_not(
    rules: TransferConfig, names: list[str], destination: str, error: str
) -> None:
    async with webhooks(rules) as (rig, call):
        told = await tell(rig, call, "tool-calls", toolCallList=tools(*names, destination=destination))

        assert [result["error"] for result in told["results"]] == [error] * len(names)
        assert verbs(await rig.post("/twilio/resume", IN_PROGRESS)) == STREAM


async def test_a_control_of_the_telephone_is_carried_out() -> None:
    async with webhooks(RULES) as (rig, call):
        forward = {"request": "forward", "destination": {"type": "number", "number": NUMBER}}
        assert await tell(rig, "another", "phone-call-control", **forward) == {}
        assert verbs(await rig.post("/twilio/resume", IN_PROGRESS)) == STREAM
        assert await tell(rig, call, "phone-call-control", **forward) == {}
        assert verbs(await rig.post("/twilio/resume", IN_PROGRESS)) == ["Dial"]


async def test_an_assistant_that_was_lost_and_talks_to_nobody_cannot_end_the_call() -> None:
    async with webhooks(RULES) as (rig, _):
        live = rig.calls.find(SID)
        assert live is not None
        lost = {"id": "lost", "assistantOverrides": {"metadata": {"relayCallId": live.id}}}
        with capture_logs() as logs:
            await tell(rig, "", "phone-call-control", call=lost, request="hang-up")
            told = await tell(rig, "", "tool-calls", call=lost, toolCallList=tools("transferCall"))

        assert "error" in told["results"][0]
        assert [line["call_id"] for line in logs if line["event"] == "webhook.accepted"] == [live.id] * 2
        assert [line for line in logs if line["event"] in {"assistant.hangs_up", "transfer.accepted"}] == []


async def test_a_hang_up_by_control_ends_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(departure, "QUIET_S", 0.05)
    async with webhooks(RULES) as (rig, call):
        assert await tell(rig, call, "phone-call-control", request="hang-up") == {}
        await rig.until_over()

        assert verbs(await rig.post("/twilio/resume", IN_PROGRESS)) == ["Hangup"]
