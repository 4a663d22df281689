"""Behind a real HAProxy, with the file of deploy/haproxy, what belongs to a call comes to the process that has it."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest
import trio
from structlog.testing import capture_logs

from relay.call import takeover
from relay.call.browser import session_takeover
from relay.config import Config, ServerConfig, StateConfig
from relay.metrics import Metrics
from relay.standin.browser import BrowserOptions, BrowserRefused, open_browser
from relay.standin.phone import Phone, PhoneOptions, open_phone
from relay.state import StateStore
from relay.state.memory import MemoryBackend, MemoryTables
from relay.state.store import inline
from relay.wire.webhook_auth import WebhookRules
from tests.support.frontrig import AUTH_TOKEN, PUBLIC, FrontRig, front_config, open_front, ringing
from tests.support.proxies import connected_from, haproxy_before, program

PHONE = PhoneOptions(auth_token=AUTH_TOKEN, public_url=PUBLIC)
SECRET = "webhook-secret-of-the-test"
CHECKED_S = 10.0
"""By then HAProxy has looked at a process again, which it does twice a second."""


@dataclass
class Several:
    """Two processes with one store, and the address and the log of HAProxy in front of them."""

    processes: dict[str, FrontRig]
    url: str
    log: Path

    def owner(self, sid: str) -> str:
        """The process that has the telephone call."""
        (name,) = [name for name, rig in self.processes.items() if rig.calls.find(sid)]
        return name

    async def until_taken_out(self, name: str) -> None:
        """HAProxy has noticed that the process takes no new calls."""
        with trio.fail_after(CHECKED_S):
            while f"Server relay/{name} is stopping" not in self.log.read_text():  # noqa: ASYNC110 - a log file
                await trio.sleep(0.02)

    def calls(self) -> dict[str, int]:
        return {name: len(rig.calls) for name, rig in self.processes.items()}


def named(name: str) -> Config:
    return front_config(
        {"vapi_webhook_secrets": (SECRET,)},
        server=ServerConfig(public_url=PUBLIC, instance=name),
        state=StateConfig(url="memory:"),
        webhooks=WebhookRules(),
    )


@asynccontextmanager
async def process(name: str, tables: MemoryTables) -> AsyncIterator[FrontRig]:
    async with open_front(named(name), StateStore(MemoryBackend(name, tables), Metrics(), executor=inline)) as rig:
        yield rig


@pytest.fixture
async def several(tmp_path: Path) -> AsyncIterator[Several]:
    if program("haproxy") is None:
        pytest.skip("haproxy is not installed: apt-get install haproxy")
    tables = MemoryTables()
    async with process("1", tables) as one, process("2", tables) as two:
        with haproxy_before({"1": one.port, "2": two.port}, tmp_path) as port:
            await (await connected_from("127.0.0.1", port)).aclose()
            yield Several({"1": one, "2": two}, f"http://127.0.0.1:{port}", tmp_path / "haproxy.log")


async def until_streaming(phone: Phone, streams: int = 1) -> None:
    assert await phone.wait_until(lambda: phone.result().streams == streams and phone.is_streaming, 20)


@asynccontextmanager
async def phones(several: Several, count: int) -> AsyncIterator[list[Phone]]:
    async with AsyncExitStack() as stack:
        phones = []
        for _ in range(count):
            phones.append(await stack.enter_async_context(open_phone(several.url, PHONE)))
            await until_streaming(phones[-1])
        yield phones


async def test_new_calls_go_to_the_process_with_the_fewest(several: Several) -> None:
    """Short requests are connections, too, so the calls of two processes may differ by a few."""
    async with phones(several, 8) as eight:
        assert min(several.calls().values()) >= 2
        leaving = [phone for phone in eight if several.owner(phone.call_sid) == "1"]
        with capture_logs() as logs:
            for phone in leaving:
                await phone.hang_up()
            with trio.fail_after(CHECKED_S):
                while [line.get("stream_event") for line in logs].count("stream-stopped") < len(leaving):  # noqa: ASYNC110
                    await trio.sleep(0.01)
        async with phones(several, 1) as (another,):
            assert several.owner(another.call_sid) == "1"


async def test_a_stream_that_breaks_off_comes_back_to_the_process_of_its_call(several: Several) -> None:
    with capture_logs() as logs:
        async with phones(several, 4) as four:
            owners = [several.owner(phone.call_sid) for phone in four]
            for phone in four:
                phone.drop()
                await until_streaming(phone, streams=2)
            assert [several.owner(phone.call_sid) for phone in four] == owners
            assert [phone.end for phone in four] == [None] * 4

    assert [line["event"] for line in logs if line["event"] in {"call.taken_over", "state.taken"}] == []
    assert [line["event"] for line in logs].count("caller.reattached") == 4


@pytest.mark.parametrize("polling", [True, False], ids=["polling", "WebSocket"])
async def test_a_browser_comes_back_to_the_process_of_its_session(several: Several, *, polling: bool) -> None:
    options = BrowserOptions(origin=PUBLIC, polling=polling)
    async with open_browser(several.url, options) as one, open_browser(several.url, options) as two:
        sessions = [browser.ready.session_id for browser in (one, two)]
        for browser in (one, two) * 2:
            await browser.lose()
            await browser.attach_websocket()
            await browser.attach_polling()
        assert [browser.ready.session_id for browser in (one, two)] == sessions
        assert {session.partition(".")[0] for session in sessions} <= {"1", "2"}
        assert sum(several.calls().values()) == 2


async def test_what_vapi_says_of_a_call_comes_to_the_process_of_the_call(several: Several) -> None:
    body = {"message": {"type": "hang", "timestamp": 1000, "call": {"id": "v1"}}}
    async with httpx.AsyncClient(base_url=several.url, trust_env=False, headers={"x-vapi-secret": SECRET}) as vapi:
        for name in ("2", "2", "1"):
            assert (await vapi.post(f"/vapi/events/{name}", json=body)).status_code == 200

    taken = {name: rig.metric("relay_webhook_events_total", type="hang") for name, rig in several.processes.items()}
    assert taken == {"1": 1, "2": 2}


async def test_a_process_that_drains_keeps_its_calls_and_gets_no_new_ones(several: Several) -> None:
    async with phones(several, 2) as two:
        name = several.owner(two[0].call_sid)
        several.processes[name].calls.draining = True
        await several.until_taken_out(name)
        two[0].drop()
        await until_streaming(two[0], streams=2)
        assert several.owner(two[0].call_sid) == name
        async with phones(several, 3) as three:
            assert name not in {several.owner(phone.call_sid) for phone in three}
            assert [phone.result().steps[0] for phone in three] == ["/twilio/voice: Stream, Redirect"] * 3


async def test_when_no_process_takes_new_calls_a_caller_is_told_by_one_of_them_and_calls_go_on(
    several: Several,
) -> None:
    async with phones(several, 2) as two:
        owners = [several.owner(phone.call_sid) for phone in two]
        for rig in several.processes.values():
            rig.calls.draining = True
        for name in several.processes:
            await several.until_taken_out(name)
        for phone in two:
            phone.drop()
            await until_streaming(phone, streams=2)
        assert [several.owner(phone.call_sid) for phone in two] == owners
        async with open_phone(several.url, PHONE) as another:
            assert await another.wait_until(lambda: bool(another.steps), CHECKED_S)
            assert another.steps[0] == "/twilio/voice: Pause, Redirect"


async def test_a_session_of_a_process_that_lives_is_refused_elsewhere_and_the_client_told_where_it_is(
    several: Several, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a load balancer does that does not go by the address."""
    monkeypatch.setattr(session_takeover, "TAKE_WAIT_S", 0.1)
    async with open_browser(several.url, BrowserOptions(origin=PUBLIC)) as browser:
        (name,) = [name for name, count in several.calls().items() if count]
        other = {"1": "2", "2": "1"}[name]
        rig = several.processes[other]
        answer = await rig.http.get(
            f"/client/{browser.ready.session_id}/audio", headers={"Authorization": f"Bearer {browser.ready.token}"}
        )
        assert (answer.status_code, answer.json()["code"]) == (421, "SESSION_ELSEWHERE")
        assert answer.json()["sessionId"] == browser.ready.session_id
        with pytest.raises(BrowserRefused, match="SESSION_ELSEWHERE") as refused:
            async with open_browser(str(rig.http.base_url), BrowserOptions(origin=PUBLIC)) as lost:
                await lost.attach_websocket(resume=browser.ready.resume)
        assert refused.value.session_id == browser.ready.session_id
        stranger = await rig.http.get(
            f"/client/{browser.ready.session_id}/audio", headers={"Authorization": "Bearer guessed"}
        )
        assert "sessionId" not in stranger.json()


async def test_a_session_that_its_process_has_left_goes_on_in_another_and_its_old_address_leads_there(
    several: Several,
) -> None:
    async with open_browser(several.url, BrowserOptions(origin=PUBLIC)) as browser:
        (name,) = [name for name, count in several.calls().items() if count]
        other = {"1": "2", "2": "1"}[name]
        old = browser.ready
        await several.processes[name].calls.drain(0)
        await browser.wait_until(lambda: browser.transport is None)
        answer = await several.processes[name].http.get(
            f"/client/{old.session_id}/audio", headers={"Authorization": f"Bearer {old.token}"}
        )
        several.processes[name].calls.draining = False  # as the process that follows under its name
        browser.ready = replace(old, session_id=f"{other}.{old.session_id.partition('.')[2]}")
        await browser.attach_websocket()
        taken = browser.ready
        browser.ready = replace(taken, session_id=old.session_id)
        await browser.lose()
        await browser.attach_where_it_is()

        assert (answer.status_code, answer.json()["code"]) == (503, "DRAINING")
        assert taken.session_id == browser.ready.session_id == f"{other}.{old.session_id.partition('.')[2]}"
        assert several.calls() == {name: 0, other: 1}


async def test_a_store_that_does_not_answer_is_an_answer_to_try_again(several: Several) -> None:
    class Away(MemoryBackend):
        def load(self, call_sid: str) -> bytes | None:
            raise ConnectionError

    async with open_front(named("3"), StateStore(Away("3", MemoryTables()), Metrics(), executor=inline)) as rig:
        answer = await rig.http.get("/client/1.abc/audio", headers={"Authorization": "Bearer any"})

    assert (answer.status_code, answer.json()["code"]) == (503, "STATE_UNAVAILABLE")


async def test_who_asks_again_at_another_process_is_sent_to_the_one_that_has_the_call(
    several: Several, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(takeover, "TAKE_WAIT_S", 0.1)
    async with phones(several, 1) as (phone,):
        owner = several.owner(phone.call_sid)
        other = several.processes[{"1": "2", "2": "1"}[owner]]
        answer = await other.post(f"/twilio/resume/{owner}", {**ringing(phone.call_sid), "CallStatus": "in-progress"})

        assert f'<Redirect method="POST">{PUBLIC}/twilio/resume/{owner}?asked=1</Redirect>' in answer.text
        assert several.owner(phone.call_sid) == owner
