"""The codes that a browser can meet: all explained, each provoked by some test, and here those of a flood or a wait."""

import ast
import json
import struct

import pytest
import trio

from relay.call.browser import outbox as browser_outbox
from relay.config import LimitsConfig
from relay.wire.browser import BrowserCode
from tests.support.browserrig import FRAME, ORIGIN, BrowserSocket, Down, Poller, binary, browser, refusal, start_polling
from tests.support.callrig import TONE
from tests.support.frontrig import front_config, open_front
from tests.support.reference import ROOT, first_cells

OF_JSON = {"NOT_JSON", "NOT_OBJECT", "FIELD_MISSING", "FIELD_INVALID"}
OF_BODIES = {"BODY_TOO_LARGE", "BODY_TIMEOUT"}
OF_CALLS = {"FULL", "DRAINING"}
OF_PROCESSES = {"SESSION_ELSEWHERE"}
OF_MALFORMED = {"TOO_MANY_MALFORMED"}
OF_NUMBERS = {"MESSAGES_LOST", "CURSOR_AHEAD"}
OF_ANY_ADDRESS = {"NOT_FOUND"}
NOT_FOR_BROWSERS = {"admin.py", "report_process.py", "twilio_hooks.py", "vapi_webhooks.py"}
SECOND = 50
"""Messages of 20 ms."""


def documented() -> set[str]:
    return first_cells("To browsers")


def refusals() -> set[str]:
    """The codes of every RequestRefused that the program raises, itself or for a limit, where a browser can meet it."""
    files = [path for path in (ROOT / "relay").rglob("*.py") if path.name not in NOT_FOR_BROWSERS]
    trees = (ast.parse(path.read_text()) for path in files)
    calls = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call)]
    named = [call.args[1] for call in calls if isinstance(call.func, ast.Name) and call.func.id == "RequestRefused"]
    limited = [call.args[2] for call in calls if isinstance(call.func, ast.Attribute) and call.func.attr == "limited"]
    return {str(code.value) for code in (*named, *limited) if isinstance(code, ast.Constant)}


def test_the_reference_explains_every_code_that_a_browser_can_meet() -> None:
    known = refusals() | set(BrowserCode) | OF_JSON | OF_BODIES | OF_CALLS | OF_PROCESSES | OF_NUMBERS | OF_MALFORMED

    assert documented() == known - OF_ANY_ADDRESS


def test_every_code_of_a_browser_is_provoked_by_some_test_of_the_endpoints() -> None:
    tests = "".join(path.read_text() for path in (ROOT / "tests" / "daemon").glob("test_*.py"))

    assert [code for code in documented() if f'"{code}"' not in tests] == []


def speech(first: int, messages: int) -> list[bytes]:
    """Messages of a second each, numbered from `first`."""
    return [binary(first + n, ms=n * 1000, pcm=FRAME * SECOND) for n in range(messages)]


async def told(page: BrowserSocket | Poller, code: str) -> None:
    """The page is told this code, whatever else: one that takes seconds to send a minute has the wrong rate as well."""
    with trio.fail_after(20):
        while (await page.until("error"))["code"] != code:
            pass


async def test_more_than_half_a_minute_at_once_is_too_fast_over_a_websocket() -> None:
    async with open_front() as rig, browser(rig) as page:
        await page.start()
        await page.until("state")
        for message in speech(1, 60):
            await page.peer.send(message)

        await told(page, "TOO_FAST")
        with trio.fail_after(20):
            while rig.metric("relay_frames_total", leg="caller", direction="up") < 30:  # noqa: ASYNC110
                await trio.sleep(0.01)
        assert rig.metric("relay_frames_dropped_total", cause="overflow") >= 10


async def test_more_than_half_a_minute_at_once_is_too_fast_by_polling() -> None:
    async with open_front() as rig:
        poller = await start_polling(rig)
        await poller.until("state")
        for at in range(1, 60, 20):
            assert (await poller.send(*speech(at, 20))).status_code == 200

        await told(poller, "TOO_FAST")


async def test_a_client_that_was_away_for_too_long_is_told_what_it_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same over both transports: the number of the message is that of the last one that is gone."""
    monkeypatch.setattr(browser_outbox, "KEPT_MAX", 10)
    async with open_front() as rig:
        async with browser(rig) as page:
            ready = await page.start()
            await page.until("state")
            for _ in range(40):
                rig.inner.peers[0].send(TONE)
            for _ in range(20):
                await page.until("audio")
            last = page.down.cursor
        by_polling = Poller(rig, ready, Down(cursor=last - 15))
        answer = (await by_polling.get(last - 15)).json()["messages"]
        async with browser(rig, down=Down(cursor=last - 15)) as again:
            await again.say("start", resume=ready["resume"], after=last - 15)
            messages = [json.loads(await again.peer.receive()) for _ in range(2)]
            following = await again.peer.receive()

        for lost in (answer[0], messages[1]):
            assert lost["code"] == "MESSAGES_LOST"
            assert lost["error"].startswith(f"messages {last - 14} to {lost['n']} are gone")
            assert lost["n"] >= last - 10
        assert answer[1]["n"] == answer[0]["n"] + 1
        assert isinstance(following, bytes)
        assert struct.unpack_from(">I", following)[0] == messages[1]["n"] + 1


async def test_a_cursor_that_no_message_had_is_told_and_the_session_goes_on() -> None:
    async with open_front() as rig:
        async with browser(rig) as page:
            ready = await page.start()
            await page.until("state")
        async with browser(rig, down=Down(cursor=page.down.cursor)) as again:
            await again.start(resume=ready["resume"], after=99)
            assert (await again.until("error"))["code"] == "CURSOR_AHEAD"
            for _ in range(20):
                rig.inner.peers[0].send(TONE)
            assert await again.until("audio")


async def test_a_socket_is_refused_while_too_many_have_not_begun() -> None:
    limits = LimitsConfig(unstarted_sockets=1)
    async with open_front(front_config(limits=limits)) as rig, browser(rig) as waiting:
        assert await refusal(rig) == (503, "BUSY")
        await waiting.start()
        async with browser(rig) as page:
            await page.start()


async def test_an_address_that_has_talked_for_long_enough_may_not_begin() -> None:
    limits = LimitsConfig(talk_per_address_s=10)
    async with open_front(front_config(limits=limits)) as rig:
        await start_polling(rig)
        again = await rig.http.post("/client", json={"type": "start"}, headers=dict(ORIGIN))

        assert (again.status_code, again.json()["code"]) == (429, "TALK_TIME_USED")
        assert again.headers["Retry-After"] == "1"


@pytest.mark.parametrize("code", ["FULL", "DRAINING"])
async def test_a_session_by_polling_is_refused_while_no_calls_are_taken(code: str) -> None:
    async with open_front(front_config(limits=LimitsConfig(max_calls=1))) as rig:
        await start_polling(rig)
        rig.calls.draining = code == "DRAINING"
        answer = await rig.http.post("/client", json={"type": "start"}, headers=dict(ORIGIN))

        assert (answer.status_code, answer.json()["code"]) == (503, code)
        assert int(answer.headers["retry-after"]) >= 1


async def test_a_message_over_64_kb_closes_the_socket_and_the_session_can_be_resumed() -> None:
    async with open_front() as rig:
        async with browser(rig) as page:
            ready = await page.start()
            await page.peer.send(binary(1, pcm=bytes(70_000)))
            assert await page.until_closed() == 1009
        async with browser(rig, down=page.down) as again:
            assert (await again.start(resume=ready["resume"], after=page.down.cursor))["next"] == 1


async def test_a_token_that_was_stolen_and_used_leaves_its_owner_outside() -> None:
    """Whoever comes first has the session; the other is told that the token is used, or that the session moved."""
    async with open_front() as rig, browser(rig) as owner:
        stolen = (await owner.start())["resume"]
        await owner.until("state")
        async with browser(rig, down=Down(cursor=owner.down.cursor)) as thief:
            await thief.start(resume=stolen, after=owner.down.cursor)
            assert await owner.until_closed() == 1008
            assert owner.down.codes == ["SESSION_MOVED"]
            async with browser(rig) as again:
                await again.say("start", resume=stolen)
                assert await again.until_closed() == 1008
                assert again.down.codes == ["RESUME_USED"]


async def test_a_body_that_does_not_come_has_its_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.net.asgi_request.BODY_TIMEOUT_S", 0.1)
    async with open_front() as rig:
        stream = await trio.open_tcp_stream("127.0.0.1", rig.port)
        async with stream:
            await stream.send_all(b"POST /client HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nab")
            received = b""
            with trio.fail_after(5):
                while b"}" not in received:
                    received += await stream.receive_some()

        assert received.startswith(b"HTTP/1.1 408")
        assert b'"code": "BODY_TIMEOUT"' in received
