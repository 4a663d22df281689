"""Server messages find their calls: in another process, and after the end. What is shared is the store alone."""

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from structlog.testing import capture_logs

from relay.call.report.assistant_events import WebhookAccepted, WebhookJoined
from relay.config import EventsConfig, RecordConfig, StateConfig, TransferConfig
from relay.daemon import event_joiner, vapi_webhooks
from relay.metrics import Metrics
from relay.record import recorder
from relay.record.folder import files_of
from relay.record.recorded_call import RecordedCall, read_call
from relay.standin.http import Response
from relay.state import StateStore
from relay.state.backend import LETTERS_MAX, Backend
from relay.state.event_journal import AssistantCallNote
from relay.state.memory import MemoryBackend, MemoryTables
from relay.state.redis import RedisBackend
from relay.state.store import inline, one_worker
from relay.wire.webhook_auth import WebhookRules
from tests.support.frontrig import ADMIN_TOKEN, SID, FrontRig, front_config, open_front, ringing
from tests.support.receivers import EVENTS_SECRET, open_receiver

SECRET = "secret-of-the-test-of-joining"
Stores = Callable[[str], StateStore]
REASON = "customer-ended-call"
NUMBER = "+15005551234"
ALLOWED = TransferConfig(allow=("+15005551*",))


@pytest.fixture(params=["memory", "redis"])
def stores(request: pytest.FixtureRequest) -> Stores:
    """Gives each process its store; all are one place."""
    if request.param == "memory":
        tables = MemoryTables()
        return lambda owner: StateStore(MemoryBackend(owner, tables), Metrics(), executor=inline)
    url = request.getfixturevalue("redis_server").url
    return lambda owner: StateStore(RedisBackend(owner, url), Metrics(), executor=one_worker())


@asynccontextmanager
async def rig(store: StateStore | None, forward_url: str = "", **tables: Any) -> AsyncIterator[FrontRig]:
    config = front_config(
        {"vapi_webhook_secrets": (SECRET,), "events_secret": EVENTS_SECRET},
        webhooks=WebhookRules(),
        events=EventsConfig(forward_url=forward_url),
        state=StateConfig(url="memory:"),
        **tables,
    )
    async with open_front(config, store) as front:
        yield front


async def post(front: FrontRig, kind: str, assistant_call_id: str, **fields: Any) -> Any:
    message = {"type": kind, "timestamp": 1000, "call": {"id": assistant_call_id}, **fields}
    answer = await front.http.post("/vapi/events", json={"message": message}, headers={"x-vapi-secret": SECRET})
    assert answer.status_code == 200
    return answer.json()


async def call_with_assistant(front: FrontRig) -> tuple[str, str]:
    """The ids of a call, ours and the assistant's."""
    await front.token()
    with trio.fail_after(10):
        await front.inner.connected.wait()
    call = front.calls.find(SID)
    assert call is not None
    return call.id, str(call.summary()["assistant_call_id"])


async def hang_up(front: FrontRig, call_id: str) -> None:
    await front.http.delete(f"/calls/{call_id}", headers={"Authorization": f"Bearer {ADMIN_TOKEN}"})
    await front.until_over()


async def finished(front: FrontRig) -> list[Any]:
    shown = await front.http.get("/calls/finished", headers={"Authorization": f"Bearer {ADMIN_TOKEN}"})
    return [(it["id"], it["assistant_ended_reason"], it["assistant_cost_usd"]) for it in shown.json()["calls"]]


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(10):
        while not condition():  # noqa: ASYNC110 - a test has no event for this
            await trio.sleep(0.01)


async def noted(store: StateStore, assistant_call_id: str) -> None:
    with trio.fail_after(10):
        while await store.whose(assistant_call_id) is None:  # noqa: ASYNC110 - as above
            await trio.sleep(0.01)


async def test_a_message_that_comes_to_another_process_is_told_in_its_call_and_passed_on_with_its_ids(
    stores: Stores,
) -> None:
    shared = stores("three")
    async with (
        open_receiver() as receiver,
        rig(stores("one")) as one,
        rig(stores("two"), receiver.url) as two,
    ):
        call_id, assistant_call_id = await call_with_assistant(one)
        await noted(shared, assistant_call_id)
        call = one.calls.find(SID)
        assert call is not None
        told: list[Any] = []
        with call.report.listeners.listening(told.append), capture_logs() as logs:
            await post(two, "status-update", assistant_call_id, status="ended", endedReason=REASON)
            await until(lambda: bool(told))
        (passed_on,) = await receiver.wait(1)

    assert told[0] == WebhookJoined("status-update", assistant_call_id, REASON)
    assert (passed_on["call_id"], passed_on["call_sid"]) == (call_id, SID)
    lines = [(it["event"], it["call_id"]) for it in logs if it["event"].startswith("webhook.")]
    assert ("webhook.accepted", call_id) in lines
    await shared.aclose()


def transfer_tool(number: str) -> list[dict[str, Any]]:
    arguments = {"destination": number}
    return [{"id": "t1", "type": "function", "function": {"name": "transferCall", "arguments": arguments}}]


async def test_what_a_control_asks_of_the_telephone_of_another_process_is_done_there(stores: Stores) -> None:
    shared = stores("three")
    async with rig(stores("one"), transfer=ALLOWED) as one, rig(stores("two"), transfer=ALLOWED) as two:
        _, assistant_call_id = await call_with_assistant(one)
        await noted(shared, assistant_call_id)
        with capture_logs() as logs:
            forward = {"request": "forward", "destination": {"type": "number", "number": NUMBER}}
            assert await post(two, "phone-call-control", assistant_call_id, **forward) == {}
            await until(lambda: any(it["event"] == "transfer.accepted" for it in logs))
        answer = await one.post("/twilio/resume", {**ringing(), "CallStatus": "in-progress"})

    assert f"<Number>{NUMBER}</Number>" in answer.text
    assert NUMBER not in str(logs)
    await shared.aclose()


def events_in(logs: Sequence[Mapping[str, Any]]) -> list[str]:
    return [line["event"] for line in logs]


async def test_a_hang_up_is_done_there_too_unless_the_assistant_that_asks_has_lost_the_call(stores: Stores) -> None:
    shared = stores("three")
    async with rig(stores("one")) as one, rig(stores("two")) as two:
        call_id, assistant_call_id = await call_with_assistant(one)
        await noted(shared, assistant_call_id)
        await shared.note(AssistantCallNote("lost", call_id, SID))
        with capture_logs() as logs:
            assert await post(two, "phone-call-control", "lost", request="hang-up") == {}
            await until(lambda: "webhook.joined" in events_in(logs))
            assert "assistant.hangs_up" not in events_in(logs)
            assert await post(two, "phone-call-control", assistant_call_id, request="hang-up") == {}
            await until(lambda: "assistant.hangs_up" in events_in(logs))
    await shared.aclose()


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (NUMBER, {"result": "done"}),
        ("+15005550006", {"error": "callers may not be connected to this destination"}),
    ],
    ids=["allowed", "not allowed"],
)
async def test_a_transfer_by_tool_of_a_call_of_another_process_is_answered_as_that_process_says(
    stores: Stores, number: str, told: dict[str, str]
) -> None:
    shared = stores("three")
    async with rig(stores("one"), transfer=ALLOWED) as one, rig(stores("two"), transfer=ALLOWED) as two:
        _, assistant_call_id = await call_with_assistant(one)
        await noted(shared, assistant_call_id)
        asked = {"toolCallList": transfer_tool(number)}
        answers = [await post(rig, "tool-calls", assistant_call_id, **asked) for rig in (two, two, one)]

    assert answers == [{"results": [{"toolCallId": "t1", "name": "transferCall", **told}]}] * 3
    await shared.aclose()


async def test_a_process_that_does_not_say_what_it_did_is_waited_for_no_longer(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The operator's endpoint is asked then, as for any other tool."""
    monkeypatch.setattr(vapi_webhooks, "TELEPHONE_WAIT_S", 0.1)
    shared = stores("three")
    async with rig(stores("one")) as one, rig(stores("two"), transfer=ALLOWED) as two:
        await call_with_assistant(one)
        lost = {"id": "lost", "assistantOverrides": {"metadata": {"relayCallId": one.calls.live()[0].id}}}
        told = await post(two, "tool-calls", "", call=lost, toolCallList=transfer_tool(NUMBER))

    assert told == {"results": [{"toolCallId": "t1", "name": "transferCall", "error": "nothing answers this here"}]}
    await shared.aclose()


async def test_a_tool_call_that_comes_to_two_processes_at_once_is_asked_once(stores: Stores) -> None:
    def answer(_asked: dict[str, Any]) -> Response:
        return Response(200, json.dumps({"results": [{"toolCallId": "t1", "result": len(receiver.bodies)}]}).encode())

    tools = [{"id": "t1", "type": "function", "function": {"name": "book", "arguments": {}}}]
    told = list[Any]()

    async def ask(front: FrontRig) -> None:
        told.append(await post(front, "tool-calls", "v1", toolCallList=tools))

    async with (
        open_receiver(answer) as receiver,
        rig(stores("one"), receiver.url) as one,
        rig(stores("two"), receiver.url) as two,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(ask, one)
        nursery.start_soon(ask, two)

    assert told == [{"results": [{"toolCallId": "t1", "name": "book", "result": "1"}]}] * 2
    assert len(receiver.bodies) == 1


async def test_a_report_that_comes_elsewhere_after_the_end_is_in_the_finished_call(stores: Stores) -> None:
    shared = stores("three")
    async with rig(stores("one")) as one, rig(stores("two")) as two:
        call_id, assistant_call_id = await call_with_assistant(one)
        await noted(shared, assistant_call_id)
        await hang_up(one, call_id)
        before = await finished(one)
        with capture_logs() as logs:
            await post(two, "end-of-call-report", assistant_call_id, endedReason=REASON, cost=0.5)
            await until(lambda: one.calls.finished[-1].assistant_ended_reason is not None)
        after = await finished(one)

    assert (before, after) == ([(call_id, None, None)], [(call_id, REASON, 0.5)])
    assert [it["call_id"] for it in logs if it["event"] == "webhook.joined"] == [call_id]
    await shared.aclose()


async def test_a_report_that_comes_here_before_or_after_the_end_is_in_the_finished_call() -> None:
    async with rig(None) as one:
        call_id, assistant_call_id = await call_with_assistant(one)
        await post(one, "status-update", assistant_call_id, endedReason="pipeline-error")
        await hang_up(one, call_id)
        before = await finished(one)
        await post(one, "hang", assistant_call_id)
        await post(one, "end-of-call-report", assistant_call_id, endedReason=REASON)

        assert (before, await finished(one)) == ([(call_id, "pipeline-error", None)], [(call_id, REASON, None)])


async def test_what_each_of_its_calls_with_the_assistant_cost_is_counted_once_before_and_after_the_end() -> None:
    async with rig(None) as one:
        call_id, assistant_call_id = await call_with_assistant(one)
        call = one.calls.find(SID)
        assert call is not None
        call.told_by_webhook(WebhookAccepted("end-of-call-report", "an earlier one", None, 0.25))
        await hang_up(one, call_id)
        before = await finished(one)
        for _ in range(2):
            await post(one, "end-of-call-report", assistant_call_id, endedReason=REASON, cost=0.5)

        assert (before, await finished(one)) == ([(call_id, None, 0.25)], [(call_id, REASON, 0.75)])


async def test_whose_a_call_is_is_asked_once_in_a_while() -> None:
    class Counting(MemoryBackend):
        asked = 0

        def whose(self, assistant_call_id: str) -> bytes | None:
            self.asked += 1
            return super().whose(assistant_call_id)

    backend = Counting("one")
    async with rig(StateStore(backend, Metrics(), executor=inline)) as one:
        for kind in ("hang", "status-update", "user-interrupted"):
            await post(one, kind, "somebody-elses")

    assert backend.asked == 1


async def recorded(folder: Path, call_id: str) -> RecordedCall:
    """The recording of a call, as soon as something was added to it after its end."""
    with trio.fail_after(10):
        while True:
            if (files := files_of(folder, call_id)) and (call := read_call(files)).after_end:
                return call
            await trio.sleep(0.01)


async def test_a_report_that_comes_after_the_end_stands_with_the_recording(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "WRITE_EVERY_S", 0.01)
    async with rig(None, record=RecordConfig(mode="all", dir=str(tmp_path))) as one:
        call_id, assistant_call_id = await call_with_assistant(one)
        await hang_up(one, call_id)
        await post(one, "status-update", assistant_call_id, status="ended", endedReason=REASON)
        await post(one, "end-of-call-report", assistant_call_id, endedReason=REASON, cost=0.125, transcript="words")
        call = await recorded(tmp_path, call_id)

    (event,) = call.after_end
    values = {"type": "end-of-call-report", "assistant_call_id": assistant_call_id}
    assert (event.name, event.values) == ("webhook.accepted", {**values, "ended_reason": REASON, "cost_usd": 0.125})
    assert call.complete
    assert "webhook" not in " ".join(it.name for it in call.events)


async def test_a_report_that_comes_to_another_machine_stands_with_the_recording_here(
    stores: Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "WRITE_EVERY_S", 0.01)
    shared = stores("three")
    one_s, two_s = (RecordConfig(mode="all", dir=str(tmp_path / name)) for name in ("one", "two"))
    async with rig(stores("one"), record=one_s) as one, rig(stores("two"), record=two_s) as two:
        call_id, assistant_call_id = await call_with_assistant(one)
        await noted(shared, assistant_call_id)
        await hang_up(one, call_id)
        await post(two, "end-of-call-report", assistant_call_id, endedReason=REASON, cost=0.125)
        call = await recorded(tmp_path / "one", call_id)

    assert [(it.name, it.values["cost_usd"]) for it in call.after_end] == [("webhook.joined", 0.125)]
    assert not (tmp_path / "two").exists()
    await shared.aclose()


@pytest.mark.parametrize("operation", ["whose", "post", "note", "letters"])
async def test_a_store_that_fails_costs_no_message(operation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is answered and passed on; that nobody is told of it is counted."""
    monkeypatch.setattr(event_joiner, "STORE_AGAIN_S", 0.01)
    monkeypatch.setattr(event_joiner, "LOOK_EVERY_S", 0.01)

    def fail(*_: Any) -> Any:
        raise OSError("no route")

    backend: Backend = MemoryBackend("one")
    monkeypatch.setattr(backend, operation, fail)
    async with open_receiver() as receiver, rig(StateStore(backend, Metrics(), executor=inline), receiver.url) as one:
        await call_with_assistant(one)
        await post(one, "hang", "somebody-elses")
        await receiver.wait(1)
        if operation == "post":
            await until(lambda: one.metric("relay_events_not_joined_total") == 1)

    assert [it["event"]["type"] for it in receiver.bodies] == ["hang"]


async def test_a_message_that_made_room_for_others_in_the_store_is_counted(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_joiner, "LOOK_EVERY_S", 0.01)
    one, shared = stores("one"), stores("three")
    async with rig(stores("two")) as two:
        await one.beat()
        await one.note(AssistantCallNote("elsewhere", "call", "CA1"))
        await shared.post([("elsewhere", b"[]")] * LETTERS_MAX)
        await post(two, "hang", "elsewhere")
        await until(lambda: two.metric("relay_events_not_joined_total") == 1)
    await one.aclose()
    await shared.aclose()


async def test_what_is_no_letter_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_joiner, "LOOK_EVERY_S", 0.01)
    tables = MemoryTables()
    async with rig(StateStore(MemoryBackend("one", tables), Metrics(), executor=inline)) as one:
        await call_with_assistant(one)
        tables.letters["one"] = [b"{", json.dumps([1, 2]).encode()]
        await until(lambda: one.metric("relay_events_not_joined_total") == 2)
