"""Whole calls whose assistant tells by webhooks, strictly as Vapi does; and events that a killed relay had accepted."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from relay.media.frames import TELEPHONE
from relay.net.poster import Poster
from relay.standin.assistant import Assistant, Behaviour, open_assistant
from relay.standin.assistant.acts import Act
from relay.standin.assistant.bodies import secrets_of
from relay.standin.assistant.credentials import BearerCredential, Credential, HmacCredential
from relay.standin.assistant.unsettled import Unsettled
from relay.standin.http import Response
from relay.standin.phone import PhoneOptions, open_phone
from relay.standin.phrases import spoken
from tests.support.daemons import AUTH_TOKEN, PUBLIC, VAPI_KEY, Daemon, environment, running_daemon, settings
from tests.support.ports import free_port
from tests.support.receivers import EVENTS_SECRET, Receiver, open_receiver

OLD, NEW = "old-secret-of-the-test", "new-secret-of-the-test"
CREDENTIALS: dict[str, Credential] = {"bearer": BearerCredential(NEW), "hmac": HmacCredential(NEW)}


@dataclass
class Rig:
    daemon: Daemon
    assistant: Assistant
    receiver: Receiver
    options: PhoneOptions


def environ(state: Path | None = None) -> dict[str, str]:
    more = {} if state is None else {"STATE_DIRECTORY": str(state)}
    return environment(VAPI_WEBHOOK_SECRET=f"{OLD},{NEW}", RELAY_EVENTS_SECRET=EVENTS_SECRET, **more)


def configured(assistant_url: str, receiver_url: str, port: int, auth: str = "secret", state: str = "memory:") -> str:
    vapi = f'[vapi]\nwebhooks = true\nwebhook_auth = "{auth}"\nwebhook_credential_id = "{auth}"'
    text = settings(assistant_url, port=port, state=state).replace("[vapi]", vapi)
    return text.replace(PUBLIC, f"http://127.0.0.1:{port}") + f'[events]\nforward_url = "{receiver_url}"\n'


@asynccontextmanager
async def opened(behaviour: Behaviour, receiver: Receiver, auth: str = "secret", more: str = "") -> AsyncIterator[Rig]:
    port = free_port()
    async with open_assistant(key=VAPI_KEY, behaviour=behaviour, credentials=CREDENTIALS) as assistant:
        text = configured(assistant.base_url, receiver.url, port, auth) + more
        async with running_daemon(text, environ()) as daemon:
            options = PhoneOptions(auth_token=AUTH_TOKEN, public_url=f"http://127.0.0.1:{port}")
            yield Rig(daemon, assistant, receiver, options)


async def until(receiver: Receiver, kind: str) -> dict[str, Any]:
    """The first event of this type."""
    number = 1
    while True:
        bodies = await receiver.wait(number)
        if bodies[-1]["event"]["type"] == kind:
            return bodies[-1]
        number += 1


@pytest.mark.parametrize("auth", ["secret", "bearer", "hmac"])
async def test_a_whole_call_is_told_by_webhooks_in_order_and_nothing_secret_is_passed_on_or_logged(auth: str) -> None:
    async with (
        open_receiver() as receiver,
        opened(Behaviour(in_progress_ms=0, first_audio_ms=0), receiver, auth) as rig,
        open_phone(rig.daemon.url, rig.options) as phone,
    ):
        assert await phone.wait_heard(300)
        call = await rig.assistant.wait_call(1)
        await phone.hang_up()
        report = await until(receiver, "end-of-call-report")
        rig.daemon.signal()  # lines wait a moment for others, and are written at the end at the latest
        await rig.daemon.process.wait()
        log = rig.daemon.log()
        text = rig.daemon.log_path.read_text() + json.dumps(receiver.bodies)

    (started,) = [line for line in log if line["event"] == "call.started"]
    assert {(it["call_id"], it["call_sid"]) for it in receiver.bodies} == {(started["call_id"], started["call_sid"])}
    assert report["event"]["endedReason"] == call.ended_reason
    assert [it["event"]["type"] for it in receiver.bodies][-1] == "end-of-call-report"
    assert set(receiver.deliveries.values()) == {1}
    assert rig.assistant.counts["failed"] == 0
    assert [it["call_id"] for it in log if it["event"] == "webhook.accepted"] == [started["call_id"]] * len(
        receiver.bodies
    )
    assert [it for it in (*secrets_of(call), OLD, NEW, EVENTS_SECRET) if it in text] == []


async def test_a_tool_of_the_operator_s_answers_in_a_call() -> None:
    def book(asked: dict[str, Any]) -> Response:
        results = [{"toolCallId": it["id"], "result": "table four"} for it in asked["event"].get("toolCallList", [])]
        return Response(200, json.dumps({"results": results}).encode())

    behaviour = Behaviour(acts=(Act("tool", "book"),), in_progress_ms=0, first_audio_ms=0)
    async with (
        open_receiver(book) as receiver,
        opened(behaviour, receiver) as rig,
        open_phone(rig.daemon.url, rig.options) as phone,
    ):
        assert await phone.wait_heard(300)
        await phone.say(spoken("request", TELEPHONE))
        asked = await until(receiver, "tool-calls")
        call = await rig.assistant.wait_call(1)
        assert call.conversation is not None
        with trio.fail_after(20):
            while "table four" not in json.dumps(call.conversation.narrator.messages):  # noqa: ASYNC110 - no event
                await trio.sleep(0.05)
        await phone.hang_up()

    assert asked["event"]["toolCallList"][0]["function"]["name"] == "book"


async def test_a_transfer_that_is_told_by_a_webhook_alone_connects_the_caller() -> None:
    number, by_webhook = "+4930123456", Unsettled(asks_by="phone-call-control")
    behaviour = Behaviour(acts=(Act("dial", number),), unsettled=by_webhook, in_progress_ms=0, first_audio_ms=0)
    async with (
        open_receiver() as receiver,
        opened(behaviour, receiver, more=f'[transfer]\nallow = ["{number}"]\n') as rig,
        open_phone(rig.daemon.url, rig.options) as phone,
    ):
        assert await phone.wait_heard(300)
        await phone.say(spoken("request", TELEPHONE))
        with trio.fail_after(30):
            await phone.wait_ended()

    assert (phone.dialled, phone.end) == ([number], "twiml_hangup")


async def survive_a_kill(tmp_path: Path, number: int) -> None:
    """The operator's endpoint is down, the relay is killed; the next one finds both up."""
    port, calls = free_port(), 20
    statuses: list[int] = []

    async def tell_of(poster: Poster, call: int) -> None:
        for index in range(call, number, calls):
            message = {"type": "hang", "timestamp": index, "call": {"id": f"v{call}"}}
            body = json.dumps({"message": message}).encode()
            statuses.append(await poster.post(body, {"Content-Type": "application/json", "X-Vapi-Secret": OLD}))

    async with open_receiver(lambda _: Response(503)) as receiver:
        text = configured("http://127.0.0.1:9", receiver.url, port, state="sqlite:")
        async with running_daemon(text, environ(tmp_path)) as daemon, trio.open_nursery() as nursery:
            poster = Poster(f"{daemon.url}/vapi/events", 20.0)
            await tell_of(poster, 0)  # from then on the address is known as Vapi's
            nursery.start_soon(poster.run)
            async with trio.open_nursery() as telling:
                for call in range(1, calls):
                    telling.start_soon(tell_of, poster, call)
            nursery.cancel_scope.cancel()
            daemon.process.kill()
            await daemon.process.wait()
        receiver.bodies.clear()
        receiver.deliveries.clear()
        receiver.answer = lambda _: Response(200, b"{}")
        async with running_daemon(text.replace(str(port), "0", 1), environ(tmp_path)):
            bodies = await receiver.wait(number, 120.0)

    assert (len(statuses), set(statuses)) == (number, {200})
    assert sorted(it["event"]["timestamp"] for it in bodies) == list(range(number))
    assert (len(receiver.deliveries), set(receiver.deliveries.values())) == (number, {1})
    for call in {it["event"]["call"]["id"] for it in bodies}:
        times = [it["event"]["timestamp"] for it in bodies if it["event"]["call"]["id"] == call]
        assert times == sorted(times)


async def test_events_that_were_accepted_and_not_passed_on_survive_a_kill_and_arrive_once_each(tmp_path: Path) -> None:
    await survive_a_kill(tmp_path, 60)


async def test_a_tool_call_that_comes_again_after_a_kill_is_answered_the_same_and_asked_once(tmp_path: Path) -> None:
    port = free_port()
    tools = [{"id": "t1", "type": "function", "function": {"name": "book", "arguments": {}}}]
    message = {"type": "tool-calls", "timestamp": 1, "call": {"id": "v1"}, "toolCallList": tools}

    def book(_asked: dict[str, Any]) -> Response:
        result = {"toolCallId": "t1", "result": f"table {len(receiver.bodies)}"}
        return Response(200, json.dumps({"results": [result]}).encode())

    async def ask(daemon: Daemon, at: int) -> Any:
        body, headers = {"message": message | {"timestamp": at}}, {"x-vapi-secret": OLD}
        answer = await client.post(f"{daemon.url}/vapi/events", json=body, headers=headers)
        return answer.json()

    async with open_receiver(book) as receiver, httpx.AsyncClient(trust_env=False) as client:
        text = configured("http://127.0.0.1:9", receiver.url, port, state="sqlite:")
        async with running_daemon(text, environ(tmp_path)) as daemon:
            first = await ask(daemon, 1)
            daemon.process.kill()
            await daemon.process.wait()
        async with running_daemon(text.replace(str(port), "0", 1), environ(tmp_path)) as daemon:
            second = await ask(daemon, 2)

    assert first == {"results": [{"toolCallId": "t1", "name": "book", "result": "table 1"}]}
    assert second == first
    assert len(receiver.bodies) == 1
