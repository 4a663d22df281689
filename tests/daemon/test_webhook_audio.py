"""POST /webhook/audio: judged, counted, limited, converted, fed to a session; half a request is none."""

import threading
from collections.abc import AsyncIterator

import httpx
import numpy as np
import pytest
import trio
from numpy.typing import NDArray

from relay.config import LimitsConfig
from relay.daemon import webhook_audio
from relay.media import g711
from relay.media.sound import Sound, convert
from tests.support.browserrig import FRAME, start_polling
from tests.support.frontrig import FrontRig, front_config, open_front
from tests.support.leaks import resources, resources_return_to
from tests.support.recordings import KINDS, NO_WAV, alaw, chunk, fit_sine, layout, mulaw, pcm, riff, sine, wav

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
    monkeypatch.setattr(webhook_audio, "HELD_MAX", 0)
    async with open_front() as rig:
        poller = await start_polling(rig)
        url = f"{URL}?session={poller.ready['sessionId']}"
        answer = await rig.http.post(url, content=FRAME, headers=poller.headers)

        assert (answer.status_code, answer.json()["code"]) == (503, "BUSY")


def with_type(media_type: str) -> dict[str, str]:
    return {"Content-Type": media_type} if media_type else {}


def stereo(rate_hz: int) -> NDArray[np.float64]:
    return np.stack([sine(rate_hz)] * 2, axis=1)


def big_endian(samples: NDArray[np.float64]) -> bytes:
    return np.frombuffer(pcm(16)(samples), "<i2").byteswap().tobytes()


SENT = {
    "plain": (pcm(16)(sine(16000)), "", 16000),
    "curl": (pcm(16)(sine(16000)), "application/x-www-form-urlencoded", 16000),
    "pcm of a rate": (pcm(16)(sine(24000)), "audio/pcm;rate=24000", 24000),
    "L16": (big_endian(sine(8000)), "audio/L16; rate=8000", 8000),
    "stereo L16": (big_endian(stereo(44100)), "audio/L16;rate=44100;channels=2", 44100),
    "basic": (mulaw(sine(8000)), "audio/basic", 8000),
    "PCMU": (mulaw(sine(8000)), "audio/PCMU;rate=8000", 8000),
    "PCMA": (alaw(sine(8000)), "audio/PCMA", 8000),
    **{f"WAV of {kind}": (wav(stereo(44100), 44100, kind), "audio/wav", 44100) for kind in KINDS},
    "streamed WAV": (wav(sine(8000), 8000, size=0xFFFFFFFF), "", 8000),
    "extensible WAV": (wav(sine(48000), 48000, "24 bits", extensible=True, size=0), "application/octet-stream", 48000),
}  # fmt: skip


@pytest.mark.parametrize("what", SENT)
async def test_the_assistant_hears_the_tone_that_was_sent(what: str) -> None:
    """Its audio is mu-law here; a tone that was taken for another format would be noise or another pitch."""
    body, media_type, rate_hz = SENT[what]
    async with open_front() as rig:
        poller = await start_polling(rig)
        url = f"{URL}?session={poller.ready['sessionId']}"
        answer = await rig.http.post(url, content=body, headers=poller.headers | with_type(media_type))
        await assistant_bytes(rig, 480 * 8)
        heard = b"".join(one for one in rig.inner.peers[0].seen if isinstance(one, bytes))

    assert answer.json() == {"received": len(body), "sampleRate": rate_hz}
    samples = g711.decode(heard)
    onset = int(np.argmax(np.abs(samples) > 2000))
    fit = fit_sine(samples[onset : onset + 450 * 8], 8000)
    assert fit.peak == pytest.approx(16384, rel=0.02)
    assert fit.rest < 400


@pytest.mark.parametrize("what", SENT)
async def test_without_a_session_the_same_is_accepted_and_told(what: str) -> None:
    body, media_type, rate_hz = SENT[what]
    async with open_front() as rig:
        answer = await rig.http.post(URL, content=body, headers=with_type(media_type))

    assert (answer.status_code, answer.json()) == (200, {"received": len(body), "sampleRate": rate_hz})


REFUSED = {
    **{f"{kind} without a type": (content * 9, {}) for kind, content in NO_WAV.items()},
    "MP3": (NO_WAV["MP3"], with_type("audio/mpeg")),
    "WebM": (NO_WAV["WebM"], with_type("audio/webm;codecs=opus")),
    "a form": (NO_WAV["multipart"], with_type("multipart/form-data; boundary=------ab12")),
    "JSON": (NO_WAV["JSON"], with_type("application/json")),
    "L16 of no rate": (bytes(640), with_type("audio/L16")),
    "no WAV": (bytes(640), with_type("audio/wav")),
    "coded": (NO_WAV["gzip"], with_type("audio/pcm") | {"Content-Encoding": "gzip"}),
    "coded WAV": (wav(sine(8000), 8000), {"Content-Encoding": "br"}),
    "ADPCM": (riff(chunk(b"fmt ", layout(2, 1, 8000, 4)), chunk(b"data", bytes(64))), with_type("audio/wav")),
}


@pytest.mark.parametrize("what", REFUSED)
@pytest.mark.parametrize("with_session", [False, True])
async def test_what_is_not_taken_is_refused_with_what_to_send_instead(what: str, *, with_session: bool) -> None:
    body, headers = REFUSED[what]
    async with open_front() as rig:
        poller = await start_polling(rig)
        url = f"{URL}?session={poller.ready['sessionId']}" if with_session else URL
        answer = await rig.http.post(url, content=body, headers=poller.headers | headers)

        assert (answer.status_code, answer.json()["code"]) == (415, "AUDIO_TYPE_UNSUPPORTED")
        assert "send " in answer.json()["error"]
        assert rig.metric("relay_frames_total", leg="caller", direction="up") == 0


@pytest.mark.parametrize(
    ("body", "media_type", "status", "code"),
    [
        (wav(sine(8000), 8000)[:-1], "audio/wav", 400, "RECORDING_BROKEN"),
        (bytes(3), "audio/pcm", 400, "ODD_BYTES"),
        (bytes(642), "audio/L16;rate=8000;channels=2", 400, "ODD_BYTES"),
        (wav(np.zeros(4000 * 313), 4000, "mu-law"), "audio/wav", 413, "BODY_TOO_LARGE"),
        (bytes(8000 * 313), "audio/PCMA", 413, "BODY_TOO_LARGE"),
    ],
)
@pytest.mark.parametrize("with_session", [False, True])
async def test_audio_that_is_broken_or_too_long_is_refused(
    body: bytes, media_type: str, status: int, code: str, *, with_session: bool
) -> None:
    async with open_front() as rig:
        poller = await start_polling(rig)
        url = f"{URL}?session={poller.ready['sessionId']}" if with_session else URL
        answer = await rig.http.post(url, content=body, headers=poller.headers | with_type(media_type), timeout=20)

        assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_a_type_that_says_pcm_is_believed_whatever_the_bytes_look_like() -> None:
    async with open_front() as rig:
        answer = await rig.http.post(URL, content=b"OggS\0\2" + bytes(634), headers=with_type("audio/pcm"))

    assert answer.json() == {"received": 640, "sampleRate": 16000}


async def test_a_wav_without_a_sample_says_nothing() -> None:
    async with open_front() as rig:
        poller = await start_polling(rig)
        url = f"{URL}?session={poller.ready['sessionId']}"
        answer = await rig.http.post(url, content=wav(np.zeros(0), 8000), headers=poller.headers)

    assert answer.json() == {"received": 44, "sampleRate": 8000}


async def test_the_event_loop_goes_on_while_ten_megabytes_are_converted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The conversion is held, in its thread, until the loop has answered another request."""
    begun, answered = trio.Event(), threading.Event()

    def held(sound: Sound, rate_hz: int) -> Sound:
        trio.from_thread.run_sync(begun.set)
        assert answered.wait(20)
        return convert(sound, rate_hz)

    monkeypatch.setattr("relay.daemon.webhook_audio.convert", held)
    codes = []
    body = wav(np.zeros(4_999_900), 48000)
    async with open_front() as rig, trio.open_nursery() as nursery:

        async def send() -> None:
            codes.append((await rig.http.post(URL, content=body, timeout=30)).status_code)

        nursery.start_soon(send)
        await begun.wait()
        assert (await rig.http.get("/health")).status_code == 200
        answered.set()

    assert codes == [200]
