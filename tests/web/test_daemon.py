"""The page, the real daemon and the built-in assistant: a whole conversation through a bad network."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
import soxr
import trio
from numpy.typing import NDArray

from relay.media.frames import WIDEBAND
from relay.standin.assistant import Assistant, Behaviour, open_assistant
from relay.standin.phrases import spoken
from relay.standin.sound import SPEECH_HZ
from tests.support.daemons import PUBLIC, VAPI_KEY, Daemon, running_daemon, settings
from tests.support.webpage import Page

WINDOW = SPEECH_HZ // 4
Samples = NDArray[np.float32]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@asynccontextmanager
async def running() -> AsyncIterator[tuple[Daemon, Assistant]]:
    """A relay whose public address is the one it has, with an assistant that answers whatever is said."""
    port = free_port()
    behaviour = Behaviour(answer_interruption=True)
    async with open_assistant(key=VAPI_KEY, behaviour=behaviour) as assistant:
        text = settings(assistant.base_url, port=port).replace(PUBLIC, f"http://127.0.0.1:{port}")
        async with running_daemon(text) as daemon:
            yield daemon, assistant


def wideband(pcm: NDArray[np.int16], rate_hz: int) -> Samples:
    return np.asarray(soxr.resample(pcm.astype(np.float32), rate_hz, SPEECH_HZ), np.float32)


def places(part: Samples, whole: Samples) -> tuple[float, int]:
    """The best correlation of `part` with a stretch of `whole`, and where that begins."""
    size = 1 << (len(part) + len(whole)).bit_length()
    products = np.fft.irfft(np.fft.rfft(whole, size) * np.conj(np.fft.rfft(part, size)), size)[: len(whole) - len(part)]
    power = np.cumsum(np.concatenate(([0.0], np.square(whole, dtype=np.float64))))
    energy = (power[len(part) :] - power[: -len(part)])[: len(products)]
    likeness = products / np.sqrt(
        np.maximum(energy, len(part)) * max(1.0, float(np.square(part, dtype=np.float64).sum()))
    )
    best = int(np.argmax(likeness))
    return float(likeness[best]), best


def windows(audio: Samples) -> list[Samples]:
    """Its quarters of a second, without the quiet ones."""
    parts = [audio[at : at + WINDOW] for at in range(0, len(audio) - WINDOW, WINDOW)]
    return [part for part in parts if np.sqrt(np.mean(np.square(part))) > 500]


def assert_found_in_order(wanted: Samples, whole: Samples) -> None:
    """Every loud quarter of a second is there, in order: no word is lost, none comes twice."""
    found = [places(part, whole) for part in windows(wanted)]
    assert len(found) >= 3
    assert min(likeness for likeness, _ in found) > 0.8, found
    assert [at for _, at in found] == sorted(at for _, at in found)


async def test_a_conversation_survives_a_lost_socket_and_polling_and_no_word_is_lost(page: Page) -> None:
    async with running() as (daemon, assistant):
        await page.open(daemon.port)
        await page.look()
        await page.begin()
        rate_hz = await page.js("return relayClient.output.context.sampleRate")
        with trio.fail_after(20):
            call = await assistant.wait_call()
        await page.until("heard.some(({samples}) => samples.some((x) => x !== 0))")
        await page.screenshot("daemon-greeting")
        await trio.sleep(2.5)
        await page.js("relayClient.dropSocket()")
        await page.until("events.some(({status}) => status === 'reconnecting')")
        await page.until_live()
        await page.click_in_lab("lab-polling")
        await page.until_live("polling")
        await trio.sleep(1)
        await page.click_in_lab("lab-polling")
        await page.until_live()
        await page.until("events.some(({type, heardMs}) => type === 'flushed' && heardMs > 1000)")
        await trio.sleep(1)
        await page.screenshot("daemon-interrupted")
        said_messages = await page.js("return said.length")
        said = wideband(np.frombuffer(await page.said(said_messages), np.int16), rate_hz)
        heard = wideband(await page.heard(), rate_hz)
        first_frame = await page.js("return heard[0].frame")
        interrupted = next(event for event in await page.events("flushed") if event["heardMs"] > 1000)
        silent_at = round((interrupted["frame"] - first_frame) / rate_hz * SPEECH_HZ)
        await trio.sleep(0.5)
        received = np.frombuffer(bytes(call.received.audio), np.int16).astype(np.float32)
        finals = await page.events("final")
        await page.click("talk")
        with trio.fail_after(10):
            while "call.ended" not in daemon.events():  # noqa: ASYNC110 - another process
                await trio.sleep(0.05)
        errors = [line for line in daemon.log() if line["level"] in {"error", "critical"}]
        complaints = await page.complaints()

    description = np.frombuffer(spoken("description", WIDEBAND), np.int16).astype(np.float32)
    _, began_at = places(description[:SPEECH_HZ], heard)
    assert_found_in_order(said, received)
    assert_found_in_order(description[: silent_at - began_at], heard[:silent_at])
    assert {line["role"] for line in finals} == {"user", "assistant"}
    assert errors == []
    assert complaints == []
