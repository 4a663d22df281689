"""POST /webhook/audio: validated, counted, limited, fed to a session; half a request is none."""

from collections.abc import AsyncIterator

import httpx
import pytest
import trio

from relay.config import LimitsConfig
from relay.daemon import webhook_audio
from tests.support.browserrig import FRAME, start_polling
from tests.support.frontrig import FrontRig, front_config, open_front
from tests.support.leaks import resources, resources_return_to

URL = "/webhook/audio"


async def assistant_bytes(rig: FrontRig, at_least: int) -> int:
    with trio.fail_after(20):
        await rig.inner.connected.wait()
        while True:
            found = sum(len(one) for one in rig.inner.peers[0].seen if isinstance(one, bytes))
            if found >= at_least:
                return found
            await trio.sleep(0.01)


@pytest.mark.parametrize("size", [0, 2, 640, 1_000_000, 10_000_000])
async def test_whole_samples_are_counted(size: int) -> None:
    async with open_front() as rig:
        answer = await rig.http.post(URL, content=bytes(size), timeout=20)

        assert answer.status_code == 200
        assert answer.json() == {"received": size, "sampleRate": 16000}


@pytest.mark.parametrize(
    ("size", "status", "code"),
    [(1, 400, "ODD_BYTES"), (10_000_001, 413, "BODY_TOO_LARGE"), (10_000_002, 413, "BODY_TOO_LARGE")],
)
@pytest.mark.parametrize("chunked", [False, True])
async def test_what_cannot_be_is_refused(size: int, status: int, code: str, *, chunked: bool) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for at in range(0, size, 65_536):
            yield bytes(min(65_536, size - at))

    async with open_front() as rig:
        try:
            answer = await rig.http.post(URL, content=chunks() if chunked else bytes(size), timeout=20)
        except httpx.WriteError:
            pytest.skip("the answer came while the client was still sending, and its library did not look")

        assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_an_address_has_its_burst_and_others_have_theirs() -> None:
    config = front_config(limits=LimitsConfig(webhook_per_s=0.1, webhook_burst=3))
    async with open_front(config) as rig:
        mine = [(await rig.http.post(URL, content=b"\0\0")).status_code for _ in range(4)]
        other = await rig.http.post(URL, content=b"\0\0", headers={"X-Forwarded-For": "203.0.113.9"})

        assert mine == [200, 200, 200, 429]
        assert other.status_code == 200


async def test_the_usual_limit_is_a_burst_of_100() -> None:
    async with open_front() as rig:
        codes = [(await rig.http.post(URL, content=b"\0\0")).status_code for _ in range(100)]
        assert codes == [200] * 100


async def test_with_a_session_and_its_token_the_audio_is_spoken_into_its_call() -> None:
    async with open_front() as rig:
        poller = await start_polling(rig)
        url = f"{URL}?session={poller.ready['sessionId']}"

        answer = await rig.http.post(url, content=FRAME * 25, headers=poller.headers)

        assert answer.json() == {"received": 640 * 25, "sampleRate": 16000}
        await assistant_bytes(rig, 24 * 160)
        assert rig.metric("relay_frames_total", leg="caller", direction="up") == 25


async def test_small_pieces_in_real_time_make_one_stream() -> None:
    async with open_front() as rig:
        poller = await start_polling(rig)
        for _ in range(10):
            await rig.http.post(f"{URL}?session={poller.ready['sessionId']}", content=FRAME, headers=poller.headers)

        await assistant_bytes(rig, 9 * 160)
        assert rig.metric("relay_frames_invented_total", cause="gap") == 0


async def test_a_session_takes_only_so_much() -> None:
    async with open_front() as rig:
        poller = await start_polling(rig)
        url = f"{URL}?session={poller.ready['sessionId']}"
        first = await rig.http.post(url, content=bytes(10_000_000), headers=poller.headers, timeout=20)
        second = await rig.http.post(url, content=bytes(1_000_000), headers=poller.headers, timeout=20)

        assert first.status_code == 200
        assert (second.status_code, second.json()["code"]) == (429, "TOO_MUCH_AUDIO")


@pytest.mark.parametrize(
    ("session", "headers", "status", "code"),
    [
        ("nobody", {"Authorization": "Bearer x"}, 404, "SESSION_UNKNOWN"),
        ("", {}, 404, "SESSION_UNKNOWN"),
        ("ID", {}, 401, "SESSION_TOKEN_MISSING"),
        ("ID", {"Authorization": "Bearer x"}, 403, "SESSION_TOKEN_WRONG"),
    ],
)
async def test_a_session_needs_its_token(session: str, headers: dict[str, str], status: int, code: str) -> None:
    async with open_front() as rig:
        poller = await start_polling(rig)
        wanted = session.replace("ID", poller.ready["sessionId"])

        answer = await rig.http.post(f"{URL}?session={wanted}", content=FRAME, headers=headers)

        assert (answer.status_code, answer.json()["code"]) == (status, code)


@pytest.mark.parametrize("with_session", [False, True])
async def test_a_client_that_disconnects_half_way_costs_nothing(*, with_session: bool) -> None:
    async with open_front() as rig:
        poller = await start_polling(rig)
        await poller.until("state")
        target = f"{URL}?session={poller.ready['sessionId']}" if with_session else URL
        head = f"POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 640000\r\n"
        head += f"Authorization: Bearer {poller.ready['token']}\r\n\r\n"
        before = await resources()
        for _ in range(20):
            stream = await trio.open_tcp_stream("127.0.0.1", rig.port)
            await stream.send_all(head.encode() + bytes(100_000))
            await trio.sleep(0.01)
            await trio.aclose_forcefully(stream)

        await resources_return_to(before)
        assert rig.metric("relay_frames_total", leg="caller", direction="up") == 0
        again = await rig.http.post(target, content=FRAME, headers=poller.headers)
        assert again.status_code == 200


async def test_a_body_that_does_not_come_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.net.asgi_request.BODY_TIMEOUT_S", 0.1)
    async with open_front() as rig:
        stream = await trio.open_tcp_stream("127.0.0.1", rig.port)
        async with stream:
            await stream.send_all(b"POST /webhook/audio HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nab")
            with trio.fail_after(5):
                answer = await stream.receive_some()
        assert answer.startswith(b"HTTP/1.1 408")


async def test_only_so_many_bodies_are_held_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook_audio, "FEEDS_MAX", 0)
    async with open_front() as rig:
        poller = await start_polling(rig)
        url = f"{URL}?session={poller.ready['sessionId']}"
        answer = await rig.http.post(url, content=FRAME, headers=poller.headers)

        assert (answer.status_code, answer.json()["code"]) == (503, "BUSY")
