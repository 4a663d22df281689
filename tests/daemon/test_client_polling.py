"""The browser leg over plain HTTP, and moves between it and a WebSocket that lose nothing and repeat nothing."""

import random

import pytest
import trio

from relay.call.browser import session as browser_session
from relay.call.caller_line import MALFORMED_BURST
from relay.call.report.assistant_events import Said
from relay.config import BargeInConfig, ClientConfig, JitterConfig, LimitsConfig
from relay.daemon import client_polling
from relay.logic.end_reason import EndReason
from tests.support.browserrig import ORIGIN, Down, Poller, binary, browser, start_polling
from tests.support.callrig import TONE
from tests.support.frontrig import FrontRig, front_config, open_front
from tests.support.leaks import left_to_the_collector, no_collector, resources, resources_return_to

KEY = "client-key-of-the-test"
PATIENT = front_config(jitter=JitterConfig(reorder_ms=3_600_000))
"""Requests of a loaded machine come at any time: no gap is given up for being late."""


@pytest.fixture(autouse=True)
def short_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_polling, "WAIT_S", 0.5)


async def heard(rig: FrontRig, n_bytes: int) -> bytes:
    """What the assistant had, once it is so much."""
    with trio.fail_after(20):
        await rig.inner.connected.wait()
        while True:
            found = b"".join(one for one in rig.inner.peers[0].seen if isinstance(one, bytes))
            if len(found) >= n_bytes:
                return found
            await trio.sleep(0.01)


async def test_a_session_by_polling_alone() -> None:
    async with open_front(front_config(barge_in=BargeInConfig(enabled=False))) as rig:  # the page's tone may be speech
        poller = await start_polling(rig, sampleRate=16000)
        assert (await poller.until("state"))["status"] == "live"

        answer = await poller.send(*(binary(n) for n in range(1, 11)))

        assert answer.json() == {"received": 10, "next": 11}
        await heard(rig, 9 * 160)
        for _ in range(10):
            rig.inner.peers[0].send(TONE)
        frame = await poller.until("audio")
        assert frame["turn"] == 1
        assert frame["seq"] == frame["n"]
        assert len(poller.down.pcm) % 640 == 0
        assert (await poller.tell("played", turn=1, ms=20)).status_code == 200
        assert (await poller.tell("stop")).status_code == 200
        assert (await poller.until("state"))["reason"] == "caller_hangup"


async def test_audio_may_come_twice_and_out_of_order() -> None:
    async with open_front(PATIENT) as rig:
        poller = await start_polling(rig, sampleRate=8000)
        frames = {n: binary(n, pcm=bytes([n, n]) * 160) for n in range(1, 31)}
        order = [n for n in range(1, 31) for _ in range(2)]
        random.Random(1).shuffle(order)
        for at in range(0, 60, 7):
            assert (await poller.send(*(frames[n] for n in order[at : at + 7]))).status_code == 200

        assert (await poller.send()).json() == {"received": 0, "next": 31}
        await heard(rig, 30 * 160)
        await poller.tell("stop")
        await rig.calls.wait_empty()
        assert rig.metric("relay_frames_total", leg="caller", direction="up") == 30
        assert rig.metric("relay_frames_dropped_total", cause="duplicate") == 30


async def test_an_answer_that_was_lost_is_asked_for_again() -> None:
    async with open_front() as rig:
        poller = await start_polling(rig)
        await poller.until("state")
        for _ in range(12):
            rig.inner.peers[0].send(TONE)
        before = poller.down.cursor
        lost = await poller.get(before)
        again = await poller.get(before)

        assert again.json()["messages"][: len(lost.json()["messages"])] == lost.json()["messages"]


async def test_a_poll_without_news_ends_in_time_with_the_same_cursor() -> None:
    async with open_front() as rig:
        poller = await start_polling(rig)
        await poller.until("state")

        assert await poller.poll() == []


async def test_a_text_does_not_wait_for_audio_to_keep_it_company(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_polling, "TOGETHER_S", 30)
    monkeypatch.setattr(client_polling, "WAIT_S", 30)
    async with open_front() as rig:
        poller = await start_polling(rig)
        await poller.until("state")
        rig.calls.live()[0].report.tell(Said("user", "hello", final=True))

        assert (await poller.until("final"))["text"] == "hello"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"\0\0\0\x0b" + b"\0" * 11, "HEADER_SHORT"),
        (b"\0\0\0\x0f" + binary(9, pcm=b"\0\0\0"), "ODD_BYTES"),
        (b"\0\0\0\x0c" + binary(9, pcm=b""), "AUDIO_EMPTY"),
        (b"\0\0\0\x0e" + binary(0, pcm=b"\0\0"), "SEQUENCE_ZERO"),
        (b"\0\0\xff\xff" + binary(9), "FIELD_INVALID"),
    ],
)
async def test_what_is_good_of_a_body_is_taken_and_the_rest_is_told(body: bytes, code: str) -> None:
    async with open_front() as rig:
        poller = await start_polling(rig)
        good = binary(1)
        content = len(good).to_bytes(4, "big") + good + body

        answer = await rig.http.post(f"{poller.base}/audio", content=content, headers=poller.headers)

        assert answer.status_code == 400
        assert answer.json()["code"] == code
        assert (await poller.send()).json()["next"] == 2


async def test_a_frame_or_a_body_that_is_too_large_is_413() -> None:
    async with open_front() as rig:
        poller = await start_polling(rig)
        frame = await poller.send(binary(1, pcm=bytes(40_000)))
        body = await rig.http.post(f"{poller.base}/audio", content=bytes(2**20 + 1), headers=poller.headers)

        assert (frame.status_code, frame.json()["code"]) == (413, "TOO_LARGE")
        assert (body.status_code, body.json()["code"]) == (413, "BODY_TOO_LARGE")


@pytest.mark.parametrize(
    ("method", "path", "headers", "content", "status", "code"),
    [
        ("POST", "/client", {}, b"{}", 400, "FIELD_MISSING"),
        ("POST", "/client", {}, b"nonsense", 400, "NOT_JSON"),
        ("POST", "/client", {}, b"\xff", 400, "NOT_JSON"),
        ("POST", "/client", {}, b'{"type":"stop"}', 400, "START_NOT_FIRST"),
        ("POST", "/client", {}, b'{"type":"start","resume":"x"}', 400, "FIELD_INVALID"),
        ("POST", "/client", {}, b'{"type":"start","sampleRate":1}', 400, "RATE_UNSUPPORTED"),
        ("POST", "/client", {}, b'{"type":"start"}', 403, "ORIGIN_WRONG"),
        ("POST", "/client", {"origin": "https://evil.example"}, b'{"type":"start"}', 403, "ORIGIN_WRONG"),
        ("POST", "/client", dict(ORIGIN), b'{"type":"start","token":"x"}', 403, "TOKEN_INVALID"),
        ("POST", "/client", dict(ORIGIN), bytes(70_000), 413, "BODY_TOO_LARGE"),
        ("GET", "/client", {}, b"", 405, "METHOD_NOT_ALLOWED"),
        ("GET", "/client/abc/audio", {}, b"", 404, "SESSION_UNKNOWN"),
        ("POST", "/client/abc/audio", {}, b"", 404, "SESSION_UNKNOWN"),
        ("POST", "/client/abc/messages", {}, b'{"type":"stop"}', 404, "SESSION_UNKNOWN"),
        ("GET", "/client/ID/audio", {"Authorization": ""}, b"", 401, "SESSION_TOKEN_MISSING"),
        ("GET", "/client/ID/audio", {"Authorization": "Bearer x"}, b"", 403, "SESSION_TOKEN_WRONG"),
        ("GET", "/client/ID/audio?after=x", {}, b"", 400, "FIELD_INVALID"),
        ("GET", "/client/ID/audio?after=-1", {}, b"", 400, "FIELD_INVALID"),
        ("GET", "/client/ID/audio?after=99999", {}, b"", 400, "CURSOR_AHEAD"),
        ("POST", "/client/ID/messages", {}, b'{"type":"start"}', 400, "UNKNOWN_TYPE"),
        ("POST", "/client/ID/messages", {}, b'{"type":"audio","audio":"AAA="}', 400, "UNKNOWN_TYPE"),
        ("POST", "/client/ID/messages", {}, b'{"type":"shout"}', 400, "UNKNOWN_TYPE"),
        ("DELETE", "/client/ID/audio", {}, b"", 405, "METHOD_NOT_ALLOWED"),
        ("POST", "/client/token", {"authorization": "Bearer x"}, b"", 404, "NOT_FOUND"),
    ],
)
async def test_each_mistake_has_its_status_and_code(
    *, method: str, path: str, headers: dict[str, str], content: bytes, status: int, code: str
) -> None:
    async with open_front() as rig:
        poller = await start_polling(rig)
        mine = poller.headers if "/ID/" in path else {}
        path = path.replace("/ID/", f"/{poller.ready['sessionId']}/")

        answer = await rig.http.request(method, path, headers={**mine, **headers}, content=content)

        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert set(answer.json()) == {"error", "code"}
        assert len(rig.calls) == 1


@pytest.mark.parametrize("where", ["audio", "messages"])
async def test_a_client_that_goes_on_posting_nonsense_loses_its_session(where: str) -> None:
    async with open_front() as rig:
        poller = await start_polling(rig)
        codes = []
        with trio.fail_after(20):
            while "SESSION_OVER" not in codes:
                answer = await rig.http.post(f"{poller.base}/{where}", content=b"\0\0", headers=poller.headers)
                codes.append(answer.json()["code"])

        assert MALFORMED_BURST <= len(codes) < 2 * MALFORMED_BURST
        assert rig.metric("relay_calls_total", end_reason="protocol_error") == 1


async def test_a_body_of_nothing_but_wrong_frames_ends_the_session_before_it_is_read_to_its_end() -> None:
    async with open_front() as rig:
        poller = await start_polling(rig)
        answer = await rig.http.post(f"{poller.base}/audio", content=bytes(2**20), headers=poller.headers)

        assert answer.json()["code"] in {"HEADER_SHORT", "SESSION_OVER"}
        await rig.calls.wait_empty()
        assert rig.metric("relay_protocol_errors_total", leg="caller", code="HEADER_SHORT") < 2 * MALFORMED_BURST


async def test_empty_requests_keep_no_session_alive() -> None:
    async with open_front(front_config(client=ClientConfig(resume_grace_s=0.3))) as rig:
        poller = await start_polling(rig)
        url, headers = (
            f"/client/{poller.ready['sessionId']}/audio",
            {"Authorization": f"Bearer {poller.ready['token']}"},
        )
        with trio.fail_after(20):
            while (await rig.http.post(url, content=b"", headers=headers)).status_code == 200:  # noqa: ASYNC110
                await trio.sleep(0.02)

        assert (await rig.http.post(url, content=b"", headers=headers)).json()["code"] == "SESSION_OVER"


async def test_a_token_needs_the_key_and_is_good_once() -> None:
    async with open_front(front_config({"client_key": KEY}, client=ClientConfig(token_ttl_s=30))) as rig:
        wrong = await rig.http.post("/client/token", headers={"Authorization": "Bearer no"})
        assert (wrong.status_code, wrong.json()["code"]) == (401, "CLIENT_KEY_NEEDED")
        answer = await rig.http.post("/client/token", headers={"Authorization": f"Bearer {KEY}"})
        token = answer.json()["token"]
        assert answer.json()["expires_s"] == 30

        codes = []
        for _ in range(2):
            start = await rig.http.post("/client", json={"type": "start", "token": token})
            codes.append((start.status_code, start.json().get("code")))

        assert codes == [(201, None), (403, "TOKEN_INVALID")]


async def test_too_many_starts_are_told_to_wait() -> None:
    config = front_config(limits=LimitsConfig(client_starts_per_s=0.1, client_starts_burst=1))
    async with open_front(config) as rig:
        await start_polling(rig)
        answer = await rig.http.post("/client", json={"type": "start"}, headers=dict(ORIGIN))

        assert (answer.status_code, answer.json()["code"]) == (429, "TOO_MANY_REQUESTS")
        assert int(answer.headers["retry-after"]) >= 1


async def test_a_poll_fences_the_websocket() -> None:
    async with open_front() as rig, browser(rig) as page:
        ready = await page.start()
        await page.until("state")
        poller = Poller(rig, ready, Down(cursor=page.down.cursor))
        await poller.poll()

        assert await page.until_closed() == 1008
        assert page.down.codes == ["SESSION_MOVED"]


async def test_a_websocket_that_resumes_fences_a_poll_that_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_polling, "WAIT_S", 30)
    async with open_front() as rig:
        poller = await start_polling(rig)
        await poller.until("state")
        answers = []

        async def poll() -> None:
            answers.append(await poller.get())

        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(poll)
                await trio.sleep(0.1)
                async with browser(rig, down=poller.down) as page:
                    await page.start(resume=poller.ready["resume"], after=poller.down.cursor)
        assert [(one.status_code, one.json()["code"]) for one in answers] == [(409, "SESSION_MOVED")]


async def test_a_poller_that_goes_away_while_it_waits_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_polling, "WAIT_S", 30)
    config = front_config(client=ClientConfig(resume_grace_s=0.2))
    async with open_front(config) as rig:
        poller = await start_polling(rig)
        await poller.until("state")
        with trio.move_on_after(0.3):
            await poller.get()

        with trio.fail_after(20):
            await rig.calls.wait_empty()
        assert rig.metric("relay_calls_total", end_reason="caller_lost") == 1


async def test_the_end_can_still_be_fetched_once_and_then_it_is_over() -> None:
    async with open_front() as rig:
        poller = await start_polling(rig)
        await poller.until("state")
        rig.calls.live()[0].finish(EndReason.ADMIN)
        await rig.calls.wait_empty()

        assert (await poller.until("state"))["status"] == "ended"
        over = await poller.get()
        assert (over.status_code, over.json()["code"]) == (410, "SESSION_OVER")
        assert (await poller.send(binary(1))).status_code == 410


def speak_as(number: int) -> bytes:
    """20 ms at 8 kHz that say which message they are."""
    return number.to_bytes(2, "little") * 160


@pytest.mark.parametrize("seed", range(4))
async def test_moving_between_the_transports_loses_nothing_and_repeats_nothing(seed: int) -> None:
    """The assistant counts in its samples, the client in its own; sockets break with messages in them."""
    rng = random.Random(seed)
    async with open_front(PATIENT) as rig:
        poller = await start_polling(rig, sampleRate=8000)
        down, resume, sent = poller.down, poller.ready["resume"], 0
        await poller.until("state")
        spoken = 0
        for _ in range(6):
            for _ in range(rng.randint(5, 20)):
                spoken += 1
                rig.inner.peers[0].send(bytes([0x80 + spoken % 100]) * 160)
            if rng.random() < 0.5:
                frames = [binary(n, pcm=speak_as(n)) for n in range(sent + 1, sent + rng.randint(2, 9))]
                rng.shuffle(frames)
                sent = (await poller.send(*frames)).json()["next"] - 1
                await poller.get()  # an answer that is lost
                await poller.poll()
                continue
            async with browser(rig, down=down) as page:
                ready = await page.start(resume=resume, after=down.cursor)
                resume = ready["resume"]
                assert ready["next"] == sent + 1
                for n in range(sent + 1, sent + 6):
                    await page.peer.send(binary(n, pcm=speak_as(n)))
                with trio.move_on_after(rng.random() * 0.3):
                    while True:
                        await page.receive()
                if rng.random() < 0.5:
                    await page.peer.lose()
            sent = (await poller.send()).json()["next"] - 1
        while len(down.pcm) < spoken * 320:
            await poller.poll()

        values = [down.pcm[at : at + 320] for at in range(0, spoken * 320, 320)]
        assert all(len({value[at : at + 2] for at in range(0, 320, 2)}) == 1 for value in values)
        assert [n for n, value in enumerate(values) if n and value == values[n - 1]] == []
        await heard(rig, sent * 160)
        assert rig.metric("relay_frames_total", leg="caller", direction="up") == sent
        assert rig.metric("relay_frames_dropped_total", cause="duplicate") == 0
        assert down.codes == []


async def test_a_session_that_sent_wrong_frames_leaves_nothing_to_the_garbage_collector(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(browser_session, "LINGER_S", 0.05)

    async def session(rig: FrontRig) -> None:
        poller = await start_polling(rig)
        assert (await poller.send(b"short")).status_code == 400
        assert (await poller.tell("stop")).status_code == 200
        await rig.calls.wait_empty()

    async with open_front() as rig:
        await session(rig)
        before = await resources()
        with no_collector():
            await session(rig)
            await resources_return_to(before)

            assert left_to_the_collector() == {}
