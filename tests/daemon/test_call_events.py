"""GET /calls/{id}/events and GET /events over a real server: what a listener is told, when it ends, what it costs."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import h11
import pytest
import trio

from relay.call.report.assistant_events import Said
from relay.call.report.events import CallerSpoke, Speech, Trouble
from relay.call.report.interruption_events import FalseAlarm, Interrupted, PlayoutHole
from relay.call.report.listeners import LISTENERS_MAX
from relay.config import LimitsConfig
from relay.daemon import call_events
from relay.daemon.event_stream import CONTENT_TYPE
from relay.logic.end_reason import EndReason
from tests.support.browserrig import browser, start_polling
from tests.support.callrig import TONE
from tests.support.frontrig import ADMIN_TOKEN, FrontRig, front_config, open_front
from tests.support.leaks import resources, resources_return_to

ADMIN = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
UNKNOWN = "0" * 32


@dataclass
class Listener:
    """A client of the event stream, as strict about its form as a browser's EventSource."""

    stream: trio.SocketStream
    http: h11.Connection
    text: str = ""

    async def event(self) -> Any:
        """The next part of the answer."""
        with trio.fail_after(20):
            while (event := self.http.next_event()) is h11.NEED_DATA:
                self.http.receive_data(await self.stream.receive_some())
        return event

    async def block(self) -> str:
        while "\n\n" not in self.text:
            self.text += bytes((await self.event()).data).decode()
        block, self.text = self.text.split("\n\n", 1)
        return block

    async def next(self) -> tuple[str, dict[str, Any]]:
        name, data = (await self.block()).split("\n")
        assert name.startswith("event: ")
        assert data.startswith("data: ")
        return name.removeprefix("event: "), json.loads(data.removeprefix("data: "))

    async def until(self, wanted: str) -> dict[str, Any]:
        while True:
            name, values = await self.next()
            if name == wanted:
                return values

    async def rest(self) -> list[str]:
        """The names of all events until the answer ends."""
        while not isinstance(event := await self.event(), h11.EndOfMessage):
            self.text += bytes(event.data).decode()
        return [line.removeprefix("event: ") for line in self.text.split("\n") if line.startswith("event: ")]


@asynccontextmanager
async def listening(rig: FrontRig, call_id: str | None) -> AsyncIterator[Listener]:
    """To one call, or to all."""
    stream, http = await trio.open_tcp_stream("127.0.0.1", rig.port), h11.Connection(h11.CLIENT)
    async with stream:
        target = "/events" if call_id is None else f"/calls/{call_id}/events"
        request = h11.Request(method="GET", target=target, headers=[("Host", "relay"), *ADMIN.items()])
        await stream.send_all((http.send(request) or b"") + (http.send(h11.EndOfMessage()) or b""))
        listener = Listener(stream, http)
        answer = await listener.event()
        headers = dict(answer.headers)
        assert answer.status_code == 200
        assert headers[b"content-type"] == b"text/event-stream; charset=utf-8"
        assert headers[b"cache-control"] == b"no-store"
        assert headers[b"x-accel-buffering"] == b"no"
        yield listener


async def a_call(rig: FrontRig) -> str:
    """The id of a call whose assistant listens."""
    poller = await start_polling(rig)
    await poller.until("state")
    session_id: str = poller.ready["sessionId"]
    return session_id


async def test_a_call_is_told_as_it_happens_until_it_ends() -> None:
    async with open_front() as rig:
        call_id = await a_call(rig)
        [call] = rig.calls.live()
        async with listening(rig, call_id) as listener:
            name, first = await listener.next()
            for event in (
                Said("user", "he\nllo \u2028", final=False),
                Said("user", "hello", final=True),
                Speech("assistant", started=True),
                Speech("user", started=False),
                Interrupted(3, "caller", 110.5, 0.2, 820.0, 140.0),
                FalseAlarm(3, by="assistant"),
                Trouble("assistant", "VAPI_UNREACHABLE", "no answer"),
            ):
                call.report.tell(event)
            told = [await listener.next() for _ in range(7)]
            await trio.sleep(0.05)
            call.finish(EndReason.ADMIN)
            ended = await listener.next()
            rest = await listener.rest()

    times = [values.pop("at_s") for _, values in [*told, ended]]
    assert (name, first["id"], first["state"]) == ("call", call_id, "degraded")
    assert told == [
        ("partial", {"role": "user", "text": "he\nllo \u2028"}),
        ("final", {"role": "user", "text": "hello"}),
        ("speech", {"role": "assistant", "status": "started"}),
        ("speech", {"role": "user", "status": "stopped"}),
        (
            "interrupt",
            {"turn": 3, "by": "caller", "onset_to_clear_ms": 110.5, "flushed_ms": 820.0, "heard_ms": 140.0},
        ),
        ("false_alarm", {"turn": 3}),
        ("error", {"leg": "assistant", "code": "VAPI_UNREACHABLE", "error": "no answer"}),
    ]
    assert ended == ("state", {"status": "ended", "reason": "admin"})
    assert rest == []
    assert times == sorted(times)
    assert times[-1] >= times[0] + 0.05
    assert times[0] >= first["duration_s"]


async def test_what_really_happens_to_a_call_is_in_its_feed() -> None:
    """Words, speech, an interruption and a lost assistant, from the assistant's own messages."""
    async with open_front() as rig, browser(rig) as page:
        call_id = (await page.start())["sessionId"]
        await page.until("state")
        async with listening(rig, call_id) as listener:
            assert (await listener.next())[1]["state"] == "live"
            assistant = rig.inner.peers[0]
            for _ in range(50):
                assistant.send(TONE)
            assistant.send(json.dumps({"type": "speech-update", "status": "started", "role": "assistant"}))
            assert (await listener.until("speech"))["role"] == "assistant"
            await page.until("audio")
            assistant.send(json.dumps({"type": "user-interrupted"}))
            assert (await listener.until("interrupt"))["by"] == "assistant"
            said = {"type": "transcript", "role": "user", "transcriptType": "final", "transcript": "stop"}
            assistant.send(json.dumps(said))
            assert (await listener.until("final"))["text"] == "stop"
            assistant.send("nonsense")
            assert (await listener.until("error"))["code"] == "NOT_JSON"
            await page.peer.send("nonsense")
            assert (await listener.until("error"))["leg"] == "caller"
            assistant.lose()
            assert (await listener.until("error"))["code"] == "ASSISTANT_LOST"
            assert (await listener.until("state"))["reason"] == "assistant lost"
            assert (await listener.until("state"))["status"] == "live"


async def test_a_listener_that_does_not_keep_up_is_told_how_many_events_it_missed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(call_events, "WAITING_MAX", 3)
    async with open_front() as rig:
        call_id = await a_call(rig)
        [call] = rig.calls.live()
        async with listening(rig, call_id) as listener:
            assert (await listener.next())[0] == "call"
            for number in range(10):
                call.report.tell(Said("user", str(number), final=True))

            assert await listener.next() == ("lost", {"events": 7})
            assert [(await listener.next())[1]["text"] for _ in range(3)] == ["7", "8", "9"]


async def test_silence_is_broken_by_comments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call_events, "KEEPALIVE_S", 0.05)
    async with open_front() as rig, listening(rig, await a_call(rig)) as listener:
        await listener.next()

        assert [await listener.block() for _ in range(2)] == [": still here"] * 2


async def test_several_may_listen_but_not_any_number() -> None:
    async with open_front() as rig, AsyncExitStack() as stack:
        call_id = await a_call(rig)
        [call] = rig.calls.live()
        listeners = [await stack.enter_async_context(listening(rig, call_id)) for _ in range(LISTENERS_MAX)]
        for listener in listeners:
            await listener.next()
        refused = await rig.http.get(f"/calls/{call_id}/events", headers=ADMIN)
        call.report.tell(Speech("user", started=True))

        assert (refused.status_code, refused.json()["code"]) == (503, "BUSY")
        assert [(await listener.next())[0] for listener in listeners] == ["speech"] * LISTENERS_MAX


async def test_listeners_that_go_away_leave_nothing_behind() -> None:
    async with open_front() as rig:
        call_id = await a_call(rig)
        [call] = rig.calls.live()
        before = await resources()
        for _ in range(LISTENERS_MAX * 2):
            async with listening(rig, call_id) as listener:
                await listener.next()
        await resources_return_to(before)
        async with listening(rig, call_id) as listener:
            await listener.next()
            call.finish(EndReason.IDLE)
            assert (await listener.until("state"))["reason"] == "idle"


async def test_a_listener_that_comes_when_the_call_has_ended_is_not_kept_waiting() -> None:
    """Between its end and its being forgotten a call still says goodbye to both sides."""
    async with open_front() as rig:
        call_id = await a_call(rig)
        [call] = rig.calls.live()
        call.report.status.ended("idle")
        async with listening(rig, call_id) as listener:
            name, first = await listener.next()

            assert (name, first["state"]) == ("call", "ended")
            assert await listener.rest() == []


# -- all calls


async def test_all_calls_are_told_each_by_its_id_from_its_first_event_to_its_last() -> None:
    async with open_front() as rig:
        before = rig.calls.answer("CA-before")
        async with listening(rig, None) as listener:
            name, first = await listener.next()
            call = rig.calls.answer("CA-after")
            while (it := await listener.next())[1]["call_id"] != call.id:
                pass
            before.report.tell(PlayoutHole(240.0))
            hole = await listener.until("playout.hole")
            call.finish(EndReason.ADMIN)
            while (last := await listener.until("call.ended"))["call_id"] != call.id:
                pass

    assert (name, [told["id"] for told in first["calls"]]) == ("calls", [before.id])
    assert (it[0], it[1]["call_sid"]) == ("call.started", "CA-after")
    assert hole == {"call_id": before.id, "at_s": hole["at_s"], "hole_ms": 240.0}
    assert (last["reason"], last["at_s"] >= last["duration_s"]) == ("admin", True)


async def test_what_the_detector_heard_is_told_with_its_times_and_levels() -> None:
    async with open_front() as rig:
        call = rig.calls.answer("CA1")
        spoke = CallerSpoke(onset_ms=100, likely_ms=160, decided_ms=230, level_dbfs=-31.5, over_floor_db=22.0)
        async with listening(rig, call.id) as listener:
            call.report.tell(spoke)
            told = await listener.until("speech")

    assert told == {"at_s": told["at_s"], "role": "user", "status": "started", **spoke.log_values()}


async def test_who_reads_slowly_loses_the_oldest_of_all_calls_and_is_told_how_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(call_events, "WAITING_OF_ALL_MAX", 3)
    async with open_front() as rig:
        call = rig.calls.answer("CA1")
        async with listening(rig, None) as listener:
            await listener.next()
            for number in range(10):
                call.report.tell(Said("user", str(number), final=True))
            lost = await listener.until("lost")
            told = [(await listener.until("final"))["text"] for _ in range(3)]

    assert lost["events"] >= 7
    assert told == ["7", "8", "9"]


async def test_listeners_to_all_calls_are_counted_with_the_others_and_by_themselves() -> None:
    async with open_front(front_config(limits=LimitsConfig(listeners=LISTENERS_MAX + 1))) as rig:
        call = rig.calls.answer("CA1")
        async with AsyncExitStack() as stack:
            for _ in range(LISTENERS_MAX):
                await (await stack.enter_async_context(listening(rig, None))).next()
            ninth = await rig.http.get("/events", headers=ADMIN)
            await (await stack.enter_async_context(listening(rig, call.id))).next()
            beyond = await rig.http.get(f"/calls/{call.id}/events", headers=ADMIN)

    assert [(it.status_code, it.json()["code"]) for it in (ninth, beyond)] == [(503, "BUSY")] * 2
    assert "listen to this already" in ninth.json()["error"]
    assert rig.metric("relay_limited_total", limit="listeners") == 1


async def test_a_relay_that_stops_tells_of_the_last_call_and_ends_the_answer() -> None:
    async with open_front() as rig, trio.open_nursery() as nursery:
        rig.calls.answer("CA1")
        async with listening(rig, None) as listener:
            await listener.next()
            nursery.start_soon(rig.calls.drain, 0.0)
            rest = await listener.rest()
        async with listening(rig, None) as late:
            nothing = await late.rest()

    assert rest[-1] == "call.ended"
    assert nothing == ["calls"]


@pytest.mark.parametrize(
    ("token", "status", "code"), [(None, 404, "NOT_FOUND"), (ADMIN_TOKEN, 401, "ADMIN_TOKEN_NEEDED")]
)
async def test_all_calls_are_told_to_the_operator_only(token: str | None, status: int, code: str) -> None:
    async with open_front(front_config({"admin_token": token})) as rig:
        answer = await rig.http.get("/events", headers={"Authorization": "Bearer guess"})

        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert rig.metric("relay_auth_rejected_total", endpoint="/events") == (status == 401)


@pytest.mark.parametrize(
    ("token", "headers", "status", "code"),
    [
        (None, ADMIN, 404, "NOT_FOUND"),
        (None, {}, 404, "NOT_FOUND"),
        (ADMIN_TOKEN, {}, 401, "ADMIN_TOKEN_NEEDED"),
        (ADMIN_TOKEN, {"Authorization": "Bearer guess"}, 401, "ADMIN_TOKEN_NEEDED"),
        (ADMIN_TOKEN, ADMIN, 404, "CALL_NOT_FOUND"),
    ],
)
async def test_it_is_for_the_operator_and_for_calls_that_run(
    token: str | None, headers: dict[str, str], status: int, code: str
) -> None:
    async with open_front(front_config({"admin_token": token})) as rig:
        answer = await rig.http.get(f"/calls/{UNKNOWN}/events", headers=headers)

        assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_head_asks_without_listening() -> None:
    async with open_front() as rig:
        for path in ("/events", f"/calls/{await a_call(rig)}/events"):
            answer = await rig.http.head(path, headers=ADMIN)

            assert (answer.status_code, answer.headers["content-type"]) == (200, CONTENT_TYPE)
