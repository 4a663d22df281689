"""The client in a real Chromium against a strict server: what is said arrives, what is answered is heard, exactly."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import time

import numpy as np
import trio
from numpy.typing import NDArray

from relay.media.wav import read_wav
from tests.support.browser_peer import BrowserPeer, BrowserSession
from tests.support.peers import serving
from tests.support.webpage import Page

FRAME_S = 0.02
LEAD_S = 0.1
FADE_S = 0.005
INTERRUPTIONS = 3
Samples = NDArray[np.int16]


@asynccontextmanager
async def conversation(page: Page, peer: BrowserPeer) -> AsyncIterator[BrowserSession]:
    """A conversation that has begun; afterwards the client must have kept to the protocol."""
    async with serving(peer) as port:
        await page.open(port)
        await page.begin()
        yield peer.session
        assert peer.violations == []
        assert await page.complaints() == []


def counting(samples: int) -> Samples:
    """Audio without a zero, each second of which is different: what is lost or repeated shows."""
    n = np.arange(samples)
    return np.asarray(np.where(n % 2, n % 15000 + 1, -(n // 7 % 14000) - 1), np.int16)


async def answer(session: BrowserSession, turn: int, audio: Samples) -> None:
    """Send as a relay does, in 20 ms messages, a little ahead of time."""
    began_s = trio.current_time() - LEAD_S
    size = round(session.rate_hz * FRAME_S)
    for number in range(len(audio) // size):
        session.play(turn, round(number * 20), audio[number * size :][:size].tobytes())
        await trio.sleep_until(began_s + number * FRAME_S)


async def heard_without_silence(page: Page, at_least: int) -> Samples:
    await page.until(
        "heard.reduce((n, {samples}) => n + samples.filter((x) => x !== 0).length, 0) >= arguments[0]", at_least
    )
    await trio.sleep(0.2)  # what is played twice comes now
    heard = await page.heard()
    return np.asarray(heard[heard != 0])


async def assert_said_completely(page: Page, session: BrowserSession) -> None:
    """Everything the microphone gave so far arrives, byte by byte, in order, once."""
    messages = await page.js("return said.length")
    with trio.fail_after(20):
        while session.next <= messages:
            await session.changed.wait()
    said = await page.said(messages)
    assert session.pcm[: len(said)] == said
    assert sorted(session.upward)[:messages] == list(range(1, messages + 1))


async def test_what_is_said_arrives_complete_and_is_the_speech_of_the_microphone(page: Page, microphone: Path) -> None:
    async with conversation(page, BrowserPeer()) as session:
        await trio.sleep(2)
        await assert_said_completely(page, session)

        rate_hz = session.start["sampleRate"]
        times = [ms for _, (ms, _) in sorted(session.upward.items())]
        arrived = np.frombuffer(session.pcm, np.int16).astype(float)

    speech = read_wav(microphone)
    assert session.start["channels"] == 1
    assert np.abs(np.diff(times) - 20).max() <= 1
    assert likeness(envelope(arrived, rate_hz), envelope(speech.samples.astype(float), speech.rate_hz)) > 0.8


def envelope(audio: NDArray[np.float64], rate_hz: int) -> NDArray[np.float64]:
    """Loudness of each 10 ms in dB; the page's noise suppression may change the waveform itself."""
    size = rate_hz // 100
    blocks = audio[: len(audio) // size * size].reshape(-1, size)
    return np.asarray(20 * np.log10(np.sqrt((blocks**2).mean(axis=1)) + 30))


def likeness(part: NDArray[np.float64], whole: NDArray[np.float64]) -> float:
    """The best correlation of `part` with any stretch of the endlessly repeated `whole`."""
    around = np.concatenate([whole] * (2 + len(part) // len(whole)))
    stretches = np.lib.stride_tricks.sliding_window_view(around, len(part))
    return max(float(np.corrcoef(part, stretch)[0, 1]) for stretch in stretches if stretch.std() > 1)


async def test_the_answer_is_heard_sample_by_sample_and_reported(page: Page) -> None:
    async with conversation(page, BrowserPeer()) as session:
        audio = counting(session.rate_hz // 50 * 60)
        await answer(session, 1, audio)
        heard = await heard_without_silence(page, len(audio))
        reports = [ms for turn, ms in session.reports if turn == 1]

    assert np.array_equal(heard, audio)
    assert reports == sorted(set(reports))
    assert 3 <= len(reports) <= 12
    assert abs(reports[-1] - 1200) <= 1


async def test_audio_of_another_rate_is_resampled_without_aliases(page: Page) -> None:
    async with conversation(page, BrowserPeer(rate_hz=16000)) as session:
        tone = (8000 * np.sin(2 * np.pi * 3000 * np.arange(16000) / 16000)).astype(np.int16)
        for number, frame in enumerate(tone.reshape(-1, 320)):
            session.play(1, number * 20, frame.tobytes())
        while (1, 1000) not in session.reports:
            await session.changed.wait()
        await trio.sleep(0.2)  # the last block is on its way to the page
        rate_hz = session.start["sampleRate"]
        sounding = np.trim_zeros(await page.heard())

    loud = sounding[rate_hz // 10 : rate_hz // 10 * 8].astype(float)
    spectrum = np.abs(np.fft.rfft(loud * np.hanning(len(loud)))) ** 2
    tone_bin = round(3000 * len(loud) / rate_hz)
    at_tone = spectrum[tone_bin - 4 : tone_bin + 5].sum()
    assert abs(len(sounding) - rate_hz) < 100
    assert 10 * np.log10((spectrum.sum() - at_tone) / at_tone) < -60


async def test_an_interruption_silences_at_once_and_nothing_of_the_turn_sounds_after_it(page: Page) -> None:
    """By the clock of the audio; how long the message itself took is noted beside the screenshots."""
    delays_ms = []
    async with conversation(page, BrowserPeer()) as session:
        for turn in range(1, INTERRUPTIONS + 1):
            await page.js("heard.length = 0")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(answer, session, turn, counting(session.rate_hz * 2))
                await page.until("heard.some(({samples}) => samples.some((x) => x !== 0))")
                await trio.sleep(0.2)
                interrupted_at_ms = time() * 1000
                session.tell("interrupt", turn=turn)
                await page.until("events.filter(({type}) => type === 'flushed').length === arguments[0]", turn)
                await trio.sleep(0.2)  # the late rest of the turn goes on arriving
                nursery.cancel_scope.cancel()
            last_frame, last_at_ms = await last_sound(page, session.rate_hz)
            flushed = (await page.events("flushed"))[-1]
            delays_ms.append(last_at_ms - interrupted_at_ms)

            assert flushed["turn"] == turn
            assert flushed["flushedMs"] > 0
            assert flushed["heardMs"] > 100
            assert last_frame - flushed["frame"] <= FADE_S * session.rate_hz
        count = await page.text("interruptions")

    assert count == str(INTERRUPTIONS)
    page.note("interrupt-to-last-sample-ms", [round(delay_ms, 1) for delay_ms in delays_ms])


async def test_an_interruption_and_its_end_that_come_at_once_are_told_in_their_order(page: Page) -> None:
    """As from a network that stood still, or to a page that did: otherwise the transcript kept what was taken back."""
    async with conversation(page, BrowserPeer()) as session:
        await answer(session, 1, counting(session.rate_hz))
        for turn in (1, 2):
            session.tell("interrupt", turn=turn)
            session.tell("resumed", turn=turn)
        await page.until("events.filter(({type}) => type === 'resumed').length === 2")
        told = await page.js("return events.filter(({turn}) => turn > 0).map(({type, turn}) => `${type} ${turn}`)")
        transcript = await page.text("transcript")

    for turn in (1, 2):
        order = [told.index(f"{type_} {turn}") for type_ in ("interrupt", "flushed", "resumed")]
        assert order == sorted(order)
    assert "Interrupted" not in transcript


async def last_sound(page: Page, rate_hz: int) -> tuple[int, float]:
    """The last sample that is not zero: its frame of the context's clock, and the Unix time in ms of its rendering."""
    frame, at_ms = await page.js(
        """
        const { frame, wallMs, samples } = heard.findLast(({ samples }) => samples.some((x) => x !== 0));
        const last = samples.findLastIndex((x) => x !== 0);
        return [frame + last, wallMs - ((samples.length - 1 - last) * 1000) / arguments[0]];
        """,
        rate_hz,
    )
    return frame, at_ms


async def test_nothing_is_lost_or_repeated_when_the_socket_is_cut_and_jitter_and_a_stall_come_on_top(
    page: Page,
) -> None:
    async with conversation(page, BrowserPeer()) as session, trio.open_nursery() as nursery:
        audio = counting(session.rate_hz // 50 * 110)
        nursery.start_soon(answer, session, 1, audio)
        await trio.sleep(0.6)
        await page.js("networkLab.jitterMs = 60; relayClient.reconnect()")
        await page.until("events.some(({status}) => status === 'reconnecting')")
        await page.until_live()
        await page.js("networkLab.jitterMs = 0; networkLab.stall(400)")
        await trio.sleep(0.5)
        heard = await heard_without_silence(page, len(audio))
        await assert_said_completely(page, session)

    assert session.attached == ["websocket", "websocket"]
    assert np.array_equal(heard, audio)


async def test_nothing_is_lost_or_repeated_from_websocket_to_polling_and_back(page: Page) -> None:
    async with conversation(page, BrowserPeer()) as session, trio.open_nursery() as nursery:
        audio = counting(session.rate_hz // 50 * 110)
        nursery.start_soon(answer, session, 1, audio)
        await trio.sleep(0.6)
        await page.click_in_lab("lab-polling")
        await page.until_live("polling")
        await trio.sleep(0.6)
        await page.look()
        await page.screenshot("live-polling")
        await page.click_in_lab("lab-polling")
        await page.until_live("websocket")
        heard = await heard_without_silence(page, len(audio))
        await assert_said_completely(page, session)

    assert session.attached == ["websocket", "polling", "websocket"]
    assert set(session.arrived_by.values()) == {"websocket", "polling"}
    assert np.array_equal(heard, audio)


async def test_the_relay_is_reached_only_through_the_network_that_the_client_is_given(page: Page) -> None:
    """With the browser's own ways to it taken away."""
    async with serving(BrowserPeer()) as port:
        await page.open(port)
        used = await page.module(
            """
            const { RelayClient } = await import("/web/relay-client.js");
            const { fetch, WebSocket } = globalThis;
            globalThis.fetch = globalThis.WebSocket = function () { throw new Error("not through the network"); };
            const used = [];
            const network = {
              fetch: (url, init) => { used.push(init.method ?? "GET", url.pathname); return fetch(url, init); },
              openSocket: (url) => { used.push(url.pathname); return new WebSocket(url); },
            };
            const client = new RelayClient({ network });
            const measured = new Promise((resolve) => client.on("rtt", resolve));
            await client.start();
            await measured;
            await client.forcePolling(true);
            await client.stop();
            return used;
            """
        )

    assert used[:3] == ["/client", "GET", "/health"]
    assert {"/client/session-1/audio", "/client/session-1/messages"} <= set(used)


async def test_where_no_websocket_passes_the_conversation_goes_over_polling(page: Page) -> None:
    peer = BrowserPeer()
    peer.websockets = False
    async with serving(peer) as port:
        await page.open(port)
        await page.begin("polling")
        audio = counting(peer.session.rate_hz // 2)
        await answer(peer.session, 1, audio)
        heard = await heard_without_silence(page, len(audio))
        await assert_said_completely(page, peer.session)
        await page.click("talk")
        with trio.fail_after(20):
            while not peer.session.stopped:
                await peer.session.changed.wait()
        await trio.sleep(0.5)
        last = (await page.events("state"))[-1]

    assert np.array_equal(heard, audio)
    assert last["status"] == "ended"
    assert peer.violations == []
