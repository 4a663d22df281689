"""The simulated browser against a strict server: every message once and in order, whatever it travels by."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
import pytest
import trio

from relay.errors import LegLost
from relay.media.frames import AudioFormat, Encoding
from relay.standin.browser import BrowserClient, BrowserOptions, BrowserRefused, open_browser
from tests.support.browser_peer import BrowserPeer, BrowserSession
from tests.support.peers import serving

HD = BrowserOptions(AudioFormat(Encoding.PCM_S16LE, 48_000, 2), report_every_s=None)
SPEECH = np.random.default_rng(5).integers(-9000, 9000, 48_000 * 2, np.int16).tobytes()
FRAME = HD.format.frame_bytes


@asynccontextmanager
async def attached(options: BrowserOptions = HD) -> AsyncIterator[tuple[BrowserClient, BrowserSession, BrowserPeer]]:
    peer = BrowserPeer(rate_hz=16000)
    with trio.fail_after(20):
        async with serving(peer) as port, open_browser(f"http://127.0.0.1:{port}", options) as browser:
            yield browser, peer.session, peer
    assert peer.violations == []


async def arrived(session: BrowserSession, audio: bytes) -> None:
    while len(session.pcm) < len(audio):
        await session.changed.wait()
    assert session.pcm == audio


async def frames_heard(browser: BrowserClient, count: int) -> None:
    await browser.wait_until(lambda: len(browser.record.frames) == count)


@pytest.mark.parametrize("polling", [False, True], ids=["websocket", "polling"])
@pytest.mark.parametrize(
    "audio_format",
    [AudioFormat(Encoding.PCM_S16LE, 8000), AudioFormat(Encoding.PCM_F32LE, 96_000), HD.format],
    ids=str,
)
async def test_what_it_says_and_hears_is_whole(audio_format: AudioFormat, polling: bool) -> None:
    async with attached(BrowserOptions(audio_format, polling=polling)) as (browser, session, _):
        said = SPEECH[: audio_format.frame_bytes * 10]
        await browser.say(said, paced=False)
        session.play(1, 0, b"ab" * 320)
        session.tell("final", role="assistant", text="hello")
        session.play(2, 20, b"cd" * 320)
        await frames_heard(browser, 2)
        await arrived(session, said)

    assert browser.record.heard() == b"ab" * 320 + b"cd" * 320
    assert browser.record.heard(2) == b"cd" * 320
    assert [message["text"] for message in browser.record.messages if message["type"] == "final"] == ["hello"]
    assert [ms for _, (ms, _) in sorted(session.upward.items())] == list(range(0, 200, 20))
    assert session.start["encoding"] == audio_format.encoding


async def test_nothing_is_lost_or_repeated_through_a_lost_socket_polling_and_back() -> None:
    async with attached() as (browser, session, _):
        said = SPEECH[: FRAME * 40]
        moves = [None, browser.attach_websocket, browser.attach_polling, browser.attach_websocket]
        for number, move in enumerate(moves):
            if move:
                await browser.lose()
            await browser.say(said[number * FRAME * 10 :][: FRAME * 10], paced=False)
            session.play(1, number * 20, bytes([number]) * 640)
            if move:
                await move()
            await frames_heard(browser, number + 1)
        await arrived(session, said)

    assert browser.record.heard() == b"".join(bytes([number]) * 640 for number in range(4))
    assert session.attached == ["websocket", "websocket", "polling", "websocket"]
    assert [frame.n for frame in browser.record.frames] == [1, 2, 3, 4]


async def test_audio_that_comes_after_the_interruption_of_its_turn_counts_as_late() -> None:
    async with attached() as (browser, session, _):
        session.play(1, 0, b"ab" * 320)
        session.tell("interrupt", turn=1)
        session.play(1, 20, b"cd" * 320)
        session.play(2, 40, b"ef" * 320)
        await frames_heard(browser, 3)

    assert [frame.late for frame in browser.record.frames] == [False, True, False]
    assert browser.record.heard() == b"ab" * 320 + b"ef" * 320
    assert list(browser.record.interrupted_at_s) == [1]


async def test_it_reports_what_it_would_have_played() -> None:
    async with attached(BrowserOptions(report_every_s=0.03)) as (_, session, _):
        session.play(1, 0, b"ab" * 16 * 100)
        while (1, 100) not in session.reports:
            await session.changed.wait()

    assert session.reports == sorted(set(session.reports))


async def test_a_refusal_has_the_code_of_the_relay_over_both_transports() -> None:
    peer = BrowserPeer()
    peer.refusing = ("FULL", "no room")
    async with serving(peer) as port:
        for polling in (False, True):
            with pytest.raises(BrowserRefused) as refused:
                async with open_browser(f"http://127.0.0.1:{port}", BrowserOptions(polling=polling)):
                    raise AssertionError("not refused")
            assert refused.value.code == "FULL"


async def test_without_a_link_it_cannot_send_and_after_stop_the_relay_knows() -> None:
    async with attached() as (browser, session, _):
        await browser.stop()
        while not session.stopped:
            await session.changed.wait()
        await browser.lose()
        with pytest.raises(LegLost):
            await browser.send(json.dumps({"type": "stop"}))


async def test_a_used_resume_token_is_refused() -> None:
    async with attached() as (browser, _, _):
        used = browser.ready.resume
        await browser.lose()
        await browser.attach_websocket()
        await browser.lose()
        with pytest.raises(BrowserRefused, match="RESUME_REJECTED"):
            await browser.attach_websocket(resume=used)


async def test_it_says_by_which_way_its_session_travels() -> None:
    async with attached() as (browser, _, _):
        ways = [browser.transport]
        for move in (browser.attach_polling, browser.attach_websocket, browser.lose):
            await move()
            ways.append(browser.transport)

    assert ways == ["websocket", "polling", "websocket", None]


async def test_it_can_report_what_it_likes() -> None:
    async with attached() as (browser, session, _):
        await browser.report_played(3, 1500)
        while not session.reports:
            await session.changed.wait()

    assert session.reports == [(3, 1500)]


async def test_paced_speech_takes_as_long_as_it_lasts_and_says_so_in_its_times() -> None:
    async with attached() as (browser, session, _):
        began_s = trio.current_time()
        await browser.say(SPEECH[: FRAME * 6])
        took_s = trio.current_time() - began_s
        await arrived(session, SPEECH[: FRAME * 6])

    assert took_s >= 0.1
    assert [session.upward[n][0] for n in range(1, 7)] == [0, 20, 40, 60, 80, 100]
