"""The assistant's server over real sockets on the loopback interface."""

import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import trio
from trio_websocket import ConnectionClosed, ConnectionRejected, WebSocketConnection, wrap_client_stream

from relay.media.frames import TELEPHONE, WIDEBAND
from relay.media.wav import read_wav
from relay.net.transport import default_tls
from relay.standin.assistant import Act, Assistant, AssistantCall, BearerCredential, Behaviour, open_assistant
from relay.standin.http import Request, Response, serve_connection
from relay.standin.phrases import spoken

KEY = "private"
ORDER: dict[str, Any] = {
    "assistantId": "a",
    "transport": {"provider": "vapi.websocket", "audioFormat": {"format": "mulaw", "sampleRate": 8000}},
}


@asynccontextmanager
async def client_of(assistant: Assistant, key: str = KEY) -> AsyncGenerator[httpx.AsyncClient, None]:
    headers = {"Authorization": f"Bearer {key}", "User-Agent": "test"}
    async with httpx.AsyncClient(verify=default_tls(), base_url=assistant.base_url, headers=headers) as client:
        yield client


async def place(assistant: Assistant, **changes: Any) -> tuple[str, AssistantCall]:
    async with client_of(assistant) as client:
        answer = (await client.post("/call", json={**ORDER, **changes})).json()
    return answer["transport"]["websocketCallUrl"], assistant.calls[answer["id"]]


async def until(holds: Callable[[], bool]) -> None:
    with trio.fail_after(20):
        while not holds():  # noqa: ASYNC110 - it happens in tasks that know nothing of this one
            await trio.sleep(0.01)


async def wait_ended(call: AssistantCall) -> None:
    await until(lambda: call.status == "ended")


@asynccontextmanager
async def dial(url: str) -> AsyncGenerator[WebSocketConnection, None]:
    parts = urlsplit(url)
    stream = await trio.open_tcp_stream(str(parts.hostname), parts.port or 80)
    try:
        async with trio.open_nursery() as nursery:
            socket = await wrap_client_stream(nursery, stream, parts.netloc, parts.path)
            yield socket
            with trio.move_on_after(2):
                await socket.aclose()
            nursery.cancel_scope.cancel()
    finally:
        await trio.aclose_forcefully(stream)


async def read_to_the_end(socket: WebSocketConnection) -> tuple[list[dict[str, Any]], int | None]:
    """The text messages still to come, and the close code."""
    texts: list[dict[str, Any]] = []
    with trio.fail_after(20):
        while True:
            try:
                message = await socket.get_message()
            except ConnectionClosed as closed:
                return texts, closed.reason.code if closed.reason is not None else None
            if isinstance(message, str):
                texts.append(json.loads(message))


async def test_the_reply_is_the_documented_one() -> None:
    async with open_assistant(key=KEY) as assistant, client_of(assistant) as client:
        reply = await client.post("/call", json=ORDER)
    body = reply.json()
    assert reply.status_code == 201
    assert (body["type"], body["status"], body["assistantId"]) == ("vapi.websocketCall", "queued", "a")
    assert body["transport"]["provider"] == "vapi.websocket"
    assert body["transport"]["websocketCallUrl"].endswith(f"/{body['id']}/transport")
    assert body["monitor"]["controlUrl"].endswith(f"/{body['id']}/control")
    assert body["subscriptionLimits"] == {
        "concurrencyBlocked": False,
        "concurrencyLimit": 10,
        "remainingConcurrentCalls": 9,
    }


async def test_requests_that_vapi_refuses_are_refused() -> None:
    async with open_assistant(key=KEY) as assistant, client_of(assistant) as client:
        assert (await client.post("/call", json=ORDER, headers={"Authorization": "Bearer public"})).status_code == 401
        assert (await client.get("/call/x", headers={"Authorization": ""})).status_code == 401
        for agent in ("", "Python-urllib/3.11"):
            reply = await client.post("/call", json=ORDER, headers={"User-Agent": agent})
            assert (reply.status_code, reply.text) == (403, "error code: 1010")
        assert (await client.post("/call", content=b"{")).status_code == 400
        reply = await client.post("/call", json={**ORDER, "surprise": {}})
        assert (reply.status_code, reply.json()["message"]) == (400, "property surprise should not exist")
        assert (await client.get("/call/unknown")).status_code == 404
        assert (await client.get("/nothing")).status_code == 404
        assert assistant.calls == {}
        assert assistant.counts == {"unauthorized": 2, "forbidden": 2, "bad_request": 2}


async def test_a_configured_status_answers_every_order() -> None:
    behaviour = Behaviour(create_status=503)
    async with open_assistant(key=KEY, behaviour=behaviour) as assistant, client_of(assistant) as client:
        assert (await client.post("/call", json=ORDER)).status_code == 503


async def test_over_the_limit_a_call_is_created_blocked() -> None:
    behaviour = Behaviour(concurrency_limit=1)
    async with open_assistant(key=KEY, behaviour=behaviour) as assistant, client_of(assistant) as client:
        await client.post("/call", json=ORDER)
        reply = await client.post("/call", json=ORDER)
    assert reply.status_code == 201
    assert reply.json()["subscriptionLimits"] == {
        "concurrencyBlocked": True,
        "concurrencyLimit": 1,
        "remainingConcurrentCalls": 0,
    }


async def test_the_control_url_can_be_left_out_of_the_reply_and_looked_up() -> None:
    behaviour = Behaviour(monitor_in_reply=False)
    async with open_assistant(key=KEY, behaviour=behaviour) as assistant, client_of(assistant) as client:
        reply = (await client.post("/call", json=ORDER)).json()
        found = (await client.get(f"/call/{reply['id']}")).json()

    assert "monitor" not in reply
    assert found["monitor"]["controlUrl"] == f"{assistant.base_url}/{reply['id']}/control"


async def test_calls_are_listed_looked_up_and_renamed() -> None:
    async with open_assistant(key=KEY) as assistant, client_of(assistant) as client:
        _, first = await place(assistant, name="first")
        _, second = await place(assistant)
        listed = (await client.get("/call")).json()
        renamed = await client.patch(f"/call/{second.id}", json={"name": "second"})

        assert [one["id"] for one in listed] == [second.id, first.id]
        assert [one["id"] for one in (await client.get("/call?limit=1")).json()] == [second.id]
        assert (await client.get(f"/call/{first.id}")).json()["name"] == "first"
        assert (renamed.status_code, renamed.json()["name"]) == (200, "second")


@pytest.mark.parametrize("change", [{"status": "ended"}, {"name": "n" * 41}, {"name": 1}, []])
async def test_nothing_but_a_name_can_be_changed(change: object) -> None:
    async with open_assistant(key=KEY) as assistant, client_of(assistant) as client:
        _, call = await place(assistant, name="as it was")
        assert (await client.patch(f"/call/{call.id}", json=change)).status_code == 400
        assert call.name == "as it was"


async def test_delete_erases_the_record_and_the_call_goes_on() -> None:
    async with open_assistant(key=KEY) as assistant, client_of(assistant) as client:
        url, call = await place(assistant)
        async with dial(url) as socket:
            assert (await client.delete(f"/call/{call.id}")).status_code == 200
            assert (await client.get(f"/call/{call.id}")).status_code == 404
            assert (await client.get("/call")).json() == []
            await socket.get_message()
            assert (call.status, assistant.active_calls) == ("in-progress", 1)


async def test_a_call_can_outlive_its_socket_until_it_is_ended_at_its_control_url() -> None:
    behaviour = Behaviour(ends_with_socket=False)
    async with open_assistant(key=KEY, behaviour=behaviour) as assistant, client_of(assistant) as client:
        url, call = await place(assistant)
        async with dial(url) as socket:
            await socket.get_message()
        await until(lambda: call.lost_s is not None)
        (left,) = (await client.get("/call")).json()
        assert (left["status"], assistant.active_calls) == ("in-progress", 1)
        assert await refused(url)
        assert (await client.post(left["monitor"]["controlUrl"], json={"type": "end-call"})).status_code == 200
        assert (call.status, call.ended_reason, assistant.active_calls) == ("ended", "customer-ended-call", 0)


async def test_a_blocked_call_can_wait_in_the_queue_until_a_place_is_free() -> None:
    behaviour = Behaviour(concurrency_limit=1, blocked_waits=True)
    async with open_assistant(key=KEY, behaviour=behaviour) as assistant, client_of(assistant) as client:
        _, holder = await place(assistant)
        url, waiting = await place(assistant)
        assert await refused(url)
        assert (waiting.status, waiting.blocked) == ("queued", True)
        await client.post(f"/{holder.id}/control", json={"type": "end-call"})
        async with dial(url):
            assert waiting.status == "in-progress"


async def test_the_format_that_was_granted_is_told_and_used() -> None:
    behaviour = Behaviour(granted_format=WIDEBAND, first_audio_ms=0)
    async with open_assistant(key=KEY, behaviour=behaviour) as assistant, client_of(assistant) as client:
        answer = (await client.post("/call", json=ORDER)).json()

    assert answer["transport"]["audioFormat"] == {"format": "pcm_s16le", "container": "raw", "sampleRate": 16000}
    assert assistant.calls[answer["id"]].order.format == WIDEBAND


async def test_after_a_burst_every_order_is_answered_429_without_a_header_that_says_until_when() -> None:
    behaviour = Behaviour(create_burst=2)
    async with open_assistant(key=KEY, behaviour=behaviour) as assistant, client_of(assistant) as client:
        replies = [await client.post("/call", json=ORDER) for _ in range(4)]
        assert (await client.get("/call")).status_code == 200

    assert [reply.status_code for reply in replies] == [201, 201, 429, 429]
    assert "retry-after" not in replies[-1].headers
    assert assistant.counts["locked_out"] == 2


@pytest.mark.parametrize("makes_call", [True, False])
async def test_the_first_orders_can_go_unanswered_with_a_call_made_or_without(makes_call: bool) -> None:
    behaviour = Behaviour(slow_creates=1, slow_create_makes_call=makes_call)
    async with open_assistant(key=KEY, behaviour=behaviour) as assistant, client_of(assistant) as client:
        with pytest.raises(httpx.ReadTimeout):
            await client.post("/call", json=ORDER, timeout=0.2)
        assert assistant.active_calls == makes_call
        assert (await client.post("/call", json=ORDER)).status_code == 201


async def test_an_order_can_be_answered_late() -> None:
    behaviour = Behaviour(slow_creates=1, slow_create_s=0.1)
    async with open_assistant(key=KEY, behaviour=behaviour) as assistant, client_of(assistant) as client:
        began_s = trio.current_time()
        assert (await client.post("/call", json=ORDER)).status_code == 201
        assert trio.current_time() - began_s >= 0.1


async def test_an_older_property_can_be_refused_by_its_name() -> None:
    order = {**ORDER, "assistantOverrides": {"silenceTimeoutSeconds": 30}}
    async with open_assistant(key=KEY) as assistant, client_of(assistant) as client:
        assert (await client.post("/call", json=order)).status_code == 201
        assistant.behaviour = Behaviour(properties="schema")
        reply = await client.post("/call", json=order)

    assert (reply.status_code, reply.json()["error"]) == (400, "Bad Request")
    assert "property silenceTimeoutSeconds should not exist" in reply.json()["message"]


async def test_of_the_calls_that_ended_the_newest_thousand_are_kept() -> None:
    request = Request(
        "POST", "/call", {"user-agent": "test", "authorization": f"Bearer {KEY}"}, json.dumps(ORDER).encode()
    )
    async with open_assistant(key=KEY, behaviour=Behaviour(concurrency_limit=1)) as assistant:
        await assistant.answer(request)
        for _ in range(1002):
            await assistant.answer(request)
        live, *ended = assistant.calls.values()

    assert len(ended) == 1000
    assert live.status == "queued"
    assert {call.status for call in ended} == {"ended"}


async def test_a_call_runs_over_the_socket_and_ends_when_the_client_closes() -> None:
    behaviour = Behaviour(first_audio_ms=200)
    async with open_assistant(key=KEY, behaviour=behaviour) as assistant, client_of(assistant) as client:
        url, call = await place(assistant)
        async with dial(url) as socket:
            first = await socket.get_message()
            assert json.loads(first) == {"type": "status-update", "status": "in-progress"}
            await socket.send_message(b"\xff" * 160)
            with trio.fail_after(20):
                while not isinstance(await socket.get_message(), bytes):
                    pass
            assert (await client.get(f"/call/{call.id}")).json()["status"] == "in-progress"
        await wait_ended(call)
        found = (await client.get(f"/call/{call.id}")).json()
    assert (found["status"], found["endedReason"]) == ("ended", "customer-ended-call")
    assert bytes(call.received.audio) == b"\xff" * 160
    assert call.sent.audio
    assert call.record.sent_messages("status-update")[0].message["status"] == "in-progress"


async def refused(url: str) -> bool:
    rejected = False
    try:
        async with dial(url):
            pass
    except* ConnectionRejected:
        rejected = True
    return rejected


async def test_the_socket_url_is_good_for_one_connection() -> None:
    async with open_assistant(key=KEY) as assistant:
        url, call = await place(assistant)
        async with dial(url):
            assert await refused(url)
        await wait_ended(call)
        assert await refused(url)
        assert await refused(url.replace(call.id, "unknown"))
        assert assistant.counts["refused_sockets"] == 3


async def test_a_failed_handshake_kills_the_url_for_good() -> None:
    async with open_assistant(key=KEY, behaviour=Behaviour(refuse_handshake=True)) as assistant:
        url, call = await place(assistant)
        assert await refused(url)
        assert call.ended_reason == "call.in-progress.error-vapifault-transport-never-connected"


async def test_a_url_that_nobody_picks_up_goes_dead() -> None:
    async with open_assistant(key=KEY) as assistant:
        url, call = await place(assistant)
        call.created_s -= 15
        assert await refused(url)
        assert call.status == "ended"


async def test_a_drop_is_a_reset_without_a_close_frame() -> None:
    async with open_assistant(key=KEY) as assistant:
        url, call = await place(assistant)
        async with dial(url) as socket:
            call.drop()
            assert (await read_to_the_end(socket))[1] == 1006


async def test_the_call_can_be_ended_from_every_side() -> None:
    async with open_assistant(key=KEY) as assistant, client_of(assistant) as client:
        for ask in ("end-call", "control", "assistant"):
            url, call = await place(assistant)
            async with dial(url) as socket:
                match ask:
                    case "end-call":
                        await socket.send_message('{"type":"end-call"}')
                    case "control":
                        address = f"/{call.id}/control"
                        assert (await client.post(address, json={"type": "nonsense"})).status_code == 400
                        assert (await client.post(address, json={"type": "end-call"})).status_code == 200
                    case _:
                        call.end("assistant-ended-call")
                texts, code = await read_to_the_end(socket)
            await wait_ended(call)
            ended = texts[-1]
            assert code == 1000
            assert (ended["type"], ended["status"]) == ("status-update", "ended")
            assert ended["endedReason"] == call.ended_reason
            assert (await client.post(f"/{call.id}/control", json={"type": "end-call"})).status_code == 404


@asynccontextmanager
async def hook_server(
    answer: Callable[[Request], Awaitable[Response]],
) -> AsyncGenerator[tuple[str, list[Request]], None]:
    seen: list[Request] = []

    async def keep(request: Request) -> Response:
        seen.append(request)
        return await answer(request)

    async def upgrade(*_: object) -> None:
        raise AssertionError("no WebSocket is expected")

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listener.socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, lambda stream: serve_connection(stream, keep, upgrade), [listener])
        yield f"http://127.0.0.1:{port}/hook", seen
        nursery.cancel_scope.cancel()


async def _ok(status: int = 200) -> Response:
    await trio.lowlevel.checkpoint()
    return Response(status)


@pytest.mark.parametrize(("status", "count"), [(200, "delivered"), (500, "failed")])
async def test_server_webhooks_tell_the_call_with_its_secret(status: int, count: str) -> None:
    async with hook_server(lambda _: _ok(status)) as (hook, seen), open_assistant(key=KEY) as assistant:
        server = {"url": hook, "secret": "s3cret"}
        url, call = await place(assistant, assistantOverrides={"server": server})
        async with dial(url) as socket:
            await socket.get_message()
        await wait_ended(call)
        await until(lambda: assistant.counts[count] == 4)
        messages = [json.loads(request.body)["message"] for request in seen]
        assert {request.headers["x-vapi-secret"] for request in seen} == {"s3cret"}
        assert {message["call"]["id"] for message in messages} == {call.id}
        kinds = [message["type"] for message in messages]
        assert kinds == ["status-update", "assistant.started", "status-update", "end-of-call-report"]
        assert messages[-1]["endedReason"] == "customer-ended-call"


async def test_a_tool_call_waits_for_the_answer_of_its_webhook() -> None:
    async def answer(request: Request) -> Response:
        message = json.loads(request.body)["message"]
        if message["type"] != "tool-calls":
            return Response(200)
        (tool_call,) = message["toolCallList"]
        return Response.of(200, {"results": [{"toolCallId": tool_call["id"], "result": "Nine are left."}]})

    behaviour = Behaviour(acts=(Act("tool", "stock"),), in_progress_ms=0, first_audio_ms=0)
    overrides = {"firstMessageMode": "assistant-waits-for-user"}
    async with hook_server(answer) as (hook, _), open_assistant(key=KEY, behaviour=behaviour) as assistant:
        url, call = await place(assistant, assistantOverrides={**overrides, "server": {"url": hook}})
        async with dial(url) as socket:
            await socket.send_message(spoken("request", TELEPHONE) + TELEPHONE.silent_frame * 50)
            await until(lambda: call.conversation is not None and bool(call.conversation.context))
            assert call.conversation is not None
            assert call.conversation.context == [{"role": "tool", "content": "Nine are left."}]


async def test_an_order_names_a_credential_that_exists() -> None:
    credentials = {"c1": BearerCredential("t0ken")}
    async with (
        hook_server(lambda _: _ok()) as (hook, seen),
        open_assistant(key=KEY, credentials=credentials) as assistant,
        client_of(assistant) as client,
    ):
        wrong = {**ORDER, "assistantOverrides": {"server": {"url": hook, "credentialId": "c2"}}}
        assert (await client.post("/call", json=wrong)).status_code == 400
        _, call = await place(assistant, assistantOverrides={"server": {"url": hook, "credentialId": "c1"}})
        call.end("manually-canceled")
        await until(lambda: len(seen) == 1)
        assert seen[0].headers["authorization"] == "Bearer t0ken"


async def test_a_dead_webhook_harms_no_call() -> None:
    async with open_assistant(key=KEY) as assistant:
        url, call = await place(assistant, assistantOverrides={"server": {"url": "http://127.0.0.1:9/hook"}})
        async with dial(url) as socket:
            await socket.get_message()
        await wait_ended(call)
        await until(lambda: assistant.counts["failed"] == 4)


async def test_calls_are_recorded_as_wav_when_asked(tmp_path: Path) -> None:
    async with open_assistant(key=KEY, record_dir=tmp_path) as assistant:
        url, call = await place(assistant)
        async with dial(url) as socket:
            await socket.send_message(b"\x80" * 800)
            await socket.get_message()
        await wait_ended(call)
        await trio.sleep(0.05)
    sound = read_wav(tmp_path / f"{call.id}.wav")
    assert sound.rate_hz == 8000
    assert int(sound.samples.max()) == 32124 // 2


async def test_behaviour_can_change_between_calls() -> None:
    async with open_assistant(key=KEY, behaviour=Behaviour(refuse_handshake=True)) as assistant:
        dead, _ = await place(assistant)
        assistant.behaviour = Behaviour()
        alive, call = await place(assistant)
        assert await refused(dead)
        async with dial(alive):
            assert await assistant.wait_call(1) is call


async def test_an_unfinished_request_ends_with_its_connection() -> None:
    async with open_assistant(key=KEY) as assistant:
        port = int(assistant.base_url.rpartition(":")[2])
        for garbage in (b"GET", b"\x00\x01\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n"):
            stream = await trio.open_tcp_stream("127.0.0.1", port)
            await stream.send_all(garbage)
            await stream.aclose()
        async with client_of(assistant) as client:
            assert (await client.post("/call", json=ORDER)).status_code == 201
