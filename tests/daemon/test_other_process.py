"""Twilio's requests reach another process than the ones before, while both live."""

from xml.etree import ElementTree as ET

import httpx
import pytest
import trio
from structlog.testing import capture_logs

from relay.config import Config, ServerConfig
from relay.daemon import twilio_media
from relay.metrics import Metrics
from relay.state import StateStore
from relay.state.memory import MemoryBackend, MemoryTables
from relay.state.store import inline
from tests.support.frontrig import PUBLIC, SID, FrontRig, connected, front_config, open_front, ringing, start
from tests.support.peers import WebSocketPeer


def store(tables: MemoryTables, owner: str) -> StateStore:
    return StateStore(MemoryBackend(owner, tables), Metrics(), executor=inline)


def verbs(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200
    return [element.tag for element in ET.fromstring(answer.text)]


async def begin(rig: FrontRig, peer: WebSocketPeer, token: str) -> None:
    await peer.send(connected())
    await peer.send(start(token))
    with trio.fail_after(5):
        while (call := rig.calls.find(SID)) is None or not call.summary()["caller_attached"]:  # noqa: ASYNC110
            await trio.sleep(0.01)


async def test_a_media_socket_is_let_in_by_a_token_of_the_other_process_once() -> None:
    tables = MemoryTables()
    async with open_front(store=store(tables, "one")) as one, open_front(store=store(tables, "two")) as two:
        token = await one.token()
        async with two.socket() as peer:
            await begin(two, peer, token)
            await one.until_over()
            for rig in (one, two):
                async with rig.socket() as thief:
                    await thief.send(start(token))
                    with pytest.raises(Exception, match=str(twilio_media.POLICY_VIOLATION)):
                        await thief.receive()
            assert two.calls.find(SID) is not None


async def test_what_is_in_the_store_is_no_token() -> None:
    tables = MemoryTables()
    async with open_front(store=store(tables, "only")) as rig:
        token = await rig.token()

        assert b'"tokens":[{"sha256":"' in tables.rows[SID].record
        assert token.encode() not in tables.rows[SID].record


async def test_a_phone_that_rings_again_elsewhere_is_answered_there() -> None:
    tables = MemoryTables()
    async with open_front(store=store(tables, "one")) as one, open_front(store=store(tables, "two")) as two:
        late = await one.token()
        token = await two.token()
        await one.until_over()
        async with two.socket() as peer:
            await begin(two, peer, token)

            assert token != late
            assert verbs(await one.post("/twilio/voice", ringing())) == ["Connect", "Redirect"]
            await two.until_over()


async def test_who_asks_again_at_the_process_that_has_not_the_call_is_answered_there() -> None:
    """The first time the other gets the chance, because it has the assistant."""
    tables = MemoryTables()
    async with open_front(store=store(tables, "one")) as one, open_front(store=store(tables, "two")) as two:
        await one.token()
        answer = await two.post("/twilio/resume", ringing())
        again = ET.fromstring(answer.text).findtext("Redirect") or ""

        assert verbs(answer) == ["Pause", "Redirect"]
        assert one.calls.find(SID) is not None
        assert again.startswith(f"{PUBLIC}/twilio/resume?")
        with capture_logs() as logs:
            assert verbs(await two.post(again.removeprefix(PUBLIC), ringing())) == ["Connect", "Redirect"]
            await one.until_over()
        assert [line["event"] for line in logs if line["event"] in {"call.taken_over", "caller.resuming"}] == [
            "call.taken_over",
            "caller.resuming",
        ]


async def test_a_process_that_does_not_know_yet_that_its_call_was_taken_connects_nobody() -> None:
    tables = MemoryTables()
    async with open_front(store=store(tables, "one")) as one, open_front(store=store(tables, "two")) as two:
        await one.token()
        await two.token()

        assert one.calls.find(SID) is not None
        assert verbs(await one.post("/twilio/resume", ringing())) == ["Pause", "Redirect"]
        assert two.calls.find(SID) is not None


async def test_three_attempts_in_a_minute_count_wherever_they_are_made() -> None:
    tables = MemoryTables()
    async with open_front(store=store(tables, "one")) as one, open_front(store=store(tables, "two")) as two:
        await one.token()
        asked = [await rig.post("/twilio/resume?asked=1", ringing()) for rig in (one, two, two)]
        await one.until_over()
        asked.append(await one.post("/twilio/resume?asked=1", ringing()))
        await one.until_over()
        await trio.sleep(0.1)

        assert [verbs(answer) for answer in asked] == [["Connect", "Redirect"]] * 3 + [["Hangup"]]
        for rig in (one, two):
            assert verbs(await rig.post("/twilio/resume?asked=1", ringing())) == ["Hangup"]


async def test_health_says_that_the_store_does_not_work_and_calls_are_taken_all_the_same() -> None:
    class Down(MemoryBackend):
        down = True

        def beat(self) -> None:
            if self.down:
                raise ConnectionError
            super().beat()

    backend = Down("only")
    async with open_front(front_config(), StateStore(backend, Metrics(), executor=inline)) as rig:
        await trio.sleep(0.1)
        status = [(await rig.http.get("/health")).json()["status"]]
        await rig.token()
        ready = (await rig.http.get("/ready")).status_code
        backend.down = False
        with trio.fail_after(20):
            while (await rig.http.get("/health")).json()["status"] != "ok":  # noqa: ASYNC110 - asked over HTTP
                await trio.sleep(0.1)

        assert (status, ready) == (["degraded"], 200)
        assert rig.calls.find(SID) is not None


def named(name: str) -> Config:
    return front_config(server=ServerConfig(public_url=PUBLIC, instance=name))


async def test_what_follows_the_first_webhook_has_the_process_in_its_address() -> None:
    tables = MemoryTables()
    async with open_front(named("1"), store(tables, "one")) as one, open_front(named("2"), store(tables, "two")) as two:
        first = ET.fromstring((await one.post("/twilio/voice", ringing())).text)
        elsewhere = ET.fromstring((await two.post("/twilio/resume/1", ringing())).text)
        taken = ET.fromstring((await two.post("/twilio/resume/1?asked=1", ringing())).text)
        await one.until_over()

    def addresses(answer: ET.Element) -> list[str]:
        stream = answer.find("Connect/Stream")
        assert stream is not None
        return [stream.attrib["url"], stream.attrib["statusCallback"], answer.findtext("Redirect") or ""]

    expected = [
        "wss://relay.example.com/twilio/media/{}",
        f"{PUBLIC}/twilio/status/{{}}",
        f"{PUBLIC}/twilio/resume/{{}}",
    ]
    assert addresses(first) == [it.format("1") for it in expected]
    assert elsewhere.findtext("Redirect") == f"{PUBLIC}/twilio/resume/1?asked=1"
    assert addresses(taken) == [it.format("2") for it in expected]


async def test_who_comes_to_a_process_that_has_handed_its_calls_over_is_sent_to_any_other() -> None:
    tables = MemoryTables()
    async with open_front(named("1"), store(tables, "one")) as one:
        await one.token()
        await one.calls.drain(0)
        answer = ET.fromstring((await one.post("/twilio/resume/1", ringing())).text)

        assert answer.findtext("Redirect") == f"{PUBLIC}/twilio/resume"
