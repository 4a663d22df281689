"""The page, the real daemon and the built-in assistant: a whole conversation through a bad network, compared sample by
sample with what was said on either side."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path

import numpy as np
import trio

from relay import standin
from relay.media.frames import WIDEBAND, Audio, AudioFormat, Encoding
from relay.media.transcode import Transcoder
from relay.standin.assistant import Behaviour
from relay.standin.phrases import phrase, spoken
from relay.standin.sound import write_wav
from tests.support.webdaemon import AT_48_KHZ, running
from tests.support.webpage import Page

DESCRIPTION = Path(standin.__file__).parent / "speech" / "description.wav"
PAGE = AudioFormat(Encoding.PCM_S16LE, 48_000)
FRAME_SAMPLES = WIDEBAND.frame_bytes // WIDEBAND.block_bytes
RING_S = 0.002
"""So much of each piece is not compared: a resampler has a memory of what was there before, perhaps silence put in."""
LOUD = 30
"""A piece whose loudest sample is quieter could be anywhere."""


@dataclass(frozen=True)
class Trace:
    """Where the pieces of one recording are in another, in order: how many were `found`, by how many samples the first
    is moved, and each of the `breaks` between two that followed each other; `torn` ones are not there as they were."""

    found: int
    moved_by: int
    breaks: list[int]
    torn: int


def pieces(audio: bytes, audio_format: AudioFormat) -> Iterator[tuple[int, bytes]]:
    """The loud pieces of 20 ms, without the beginning of each, and where what is left of it begins."""
    size, ring = audio_format.frame_bytes, int(audio_format.rate_hz * RING_S) * audio_format.block_bytes
    for at in range(0, len(audio) - size + 1, size):
        piece = audio[at + ring : at + size]
        if np.abs(np.frombuffer(piece, np.int16).astype(int)).max() >= LOUD:
            yield at + ring, piece


def trace(wanted: bytes, whole: bytes, audio_format: AudioFormat) -> Trace:
    """Look for each loud piece of `wanted`, bit by bit, behind the one before; the silence between may be shorter."""
    shifts: list[int] = []
    torn = behind = 0
    for at, piece in pieces(wanted, audio_format):
        place = whole.find(piece, behind)
        while place > 0 and place % audio_format.block_bytes:
            place = whole.find(piece, place + 1)
        if place < 0:
            torn += 1
        else:
            shifts.append(place - at)
            behind = place + len(piece)
    breaks = [(after - before) // audio_format.block_bytes for before, after in pairwise(shifts) if after != before]
    return Trace(len(shifts), shifts[0] // audio_format.block_bytes, breaks, torn)


def converted(pcm: bytes, source: AudioFormat, target: AudioFormat) -> bytes:
    """By the resampler of the relay, in one piece."""
    return Transcoder(source, target).push(Audio(source, pcm)).data


def caller_came_back(metrics: str) -> float:
    [line] = [one for one in metrics.splitlines() if one.startswith('relay_reconnects_total{leg="caller",result="ok"}')]
    return float(line.split()[-1])


async def test_a_conversation_survives_a_lost_socket_and_polling_and_no_sample_is_lost(page: Page) -> None:
    async with running(Behaviour(script="file", audio=DESCRIPTION)) as (daemon, assistant):
        await page.open(daemon.port, before=AT_48_KHZ)
        await page.look()
        await page.begin()
        with trio.fail_after(20):
            call = await assistant.wait_call()
        await page.until("heard.some(({samples}) => samples.some((x) => x !== 0))")
        await page.screenshot("daemon-greeting")
        await trio.sleep(2.5)
        await page.js("relayClient.reconnect()")
        await page.until("events.some(({status}) => status === 'reconnecting')")
        await page.until_live()
        await page.click_in_lab("lab-polling")
        await page.until_live("polling")
        await page.until("events.some(({type, status}) => type === 'call' && status === 'degraded')")
        await trio.sleep(1)
        await page.click_in_lab("lab-polling")
        await page.until_live()
        await page.until("events.some(({type, heardMs}) => type === 'flushed' && heardMs > 2000)")
        await trio.sleep(1)
        await page.screenshot("daemon-interrupted")
        said = await page.said(await page.js("return said.length"))
        heard = (await page.heard()).tobytes()
        first_frame = await page.js("return heard[0].frame")
        interrupted = max(await page.events("flushed"), key=lambda flushed: float(flushed["heardMs"]))
        await trio.sleep(0.5)
        finals = await page.events("final")
        await page.click("talk")
        with trio.fail_after(10):
            while "call.ended" not in daemon.events():  # noqa: ASYNC110 - another process
                await trio.sleep(0.05)
        received = bytes(call.received.audio)
        [ended] = [line for line in daemon.log() if line["event"] == "call.ended"]
        errors = [line for line in daemon.log() if line["level"] in {"error", "critical"}]
        metrics = (await daemon.get("/metrics")).text
        complaints = await page.complaints()

    up = trace(converted(said, PAGE, WIDEBAND), received, WIDEBAND)
    sent = converted(spoken("description", WIDEBAND), WIDEBAND, PAGE)
    heard_to = heard[: (interrupted["frame"] - first_frame) * PAGE.block_bytes]
    began, opening = next(pieces(sent, PAGE))
    turn = heard_to[heard_to.rfind(opening) :]
    holes = sum(trace(sent, turn, PAGE).breaks)
    down = trace(sent[: began + len(turn) - holes * PAGE.block_bytes], turn, PAGE)

    invented = ended["frames_invented"].get("keepalive", 0)
    assert up.found > 50
    assert up.torn == 0
    # Silence was put in where the page was late, and on a busy machine some of it is made up for in the next pause.
    assert all(silence % FRAME_SAMPLES == 0 for silence in up.breaks)
    late = list(accumulate(up.breaks, initial=up.moved_by))
    assert min(late) >= 0
    assert max(late) <= invented * FRAME_SAMPLES
    assert down.found > 50
    assert down.torn == 0
    assert errors == []
    assert complaints == []
    assert {line["role"] for line in finals} >= {"user"}
    assert caller_came_back(metrics) >= 3


NOTE_ARRIVAL = (
    AT_48_KHZ
    + """
window.arrived = [];
window.WebSocket = class extends WebSocket {
  constructor(...options) {
    super(...options);
    this.addEventListener("message", ({ data }) => {
      if (typeof data === "string") return;
      const pcm = new Int16Array(data, 12);
      const at = pcm.findIndex((x) => Math.abs(x) > 100);
      if (at >= 0) arrived.push({ turn: new DataView(data).getUint32(8), wallMs: Date.now() + at / 48 });
    });
  }
};
"""
)
DELAY_OF_LAST_TURN = """
const cut = events.findLast(({ type }) => type === "flushed")?.frame ?? 0;
const { turn } = arrived.at(-1);
const arrivedAtMs = arrived.find((message) => message.turn === turn).wallMs;
for (const { frame, wallMs, samples } of heard) {
  const at = frame > cut + 2400 ? samples.findIndex((x) => Math.abs(x) > 100 / 32768) : -1;
  if (at >= 0) return wallMs - (samples.length - at) / 48 - arrivedAtMs;
}
return null;
"""


async def delay_of_last_turn(page: Page) -> float:
    """Waits until the turn is heard."""
    with trio.fail_after(20):
        while (delay_ms := await page.js(DELAY_OF_LAST_TURN)) is None:  # noqa: ASYNC110 - another process
            await trio.sleep(0.2)
    return float(delay_ms)


async def test_an_answer_behind_an_interruption_is_heard_as_soon_as_the_first_one(page: Page) -> None:
    """From the message that brings its first sound to that sound, through the daemon, by the clock of the page.

    A busy machine is a network that jitters, and the page's buffer grows by that; a target that has run away is 600 ms.
    """
    async with running(Behaviour(script="file", audio=DESCRIPTION)) as (daemon, _):
        await page.open(daemon.port, before=NOTE_ARRIVAL)
        await page.begin()
        delays_ms = []
        for interruptions in range(3):
            await page.until("events.filter(({type}) => type === 'interrupt').length >= arguments[0]", interruptions)
            await page.until("events.filter(({type}) => type === 'flushed').length >= arguments[0]", interruptions)
            turn = await page.js("return events.findLast(({type}) => type === 'interrupt')?.turn ?? 0")
            await page.until("arrived.length && arrived.at(-1).turn > arguments[0]", turn)
            delays_ms.append(await delay_of_last_turn(page))
        await page.click("talk")
    page.note("delays-ms", delays_ms)

    assert max(delays_ms) <= delays_ms[0] + 300


async def test_a_page_that_is_closed_ends_its_call_at_once(page: Page) -> None:
    async with running(Behaviour()) as (daemon, _):
        await page.open(daemon.port)
        await page.begin()
        await page.js("location.href = 'about:blank'")
        with trio.fail_after(5):
            while "call.ended" not in daemon.events():  # noqa: ASYNC110 - another process
                await trio.sleep(0.05)
        [ended] = [line for line in daemon.log() if line["event"] == "call.ended"]

    assert ended["reason"] == "caller_hangup"


_NOTE_INTERRUPTIONS = """
const transcript = document.getElementById("transcript");
window.noted = [];
for (const type of ["flushed", "resumed"]) {
  relayClient.on(type, ({ turn }) => noted.push([type, turn, transcript.innerText.includes("Interrupted")]));
}
"""


async def test_an_interruption_that_was_none_is_taken_back_in_the_transcript(page: Page, tmp_path: Path) -> None:
    """The assistant never agrees, and what was thrown away is played after all. It makes no pause, which could come
    just when that is decided, and be taken for the beginning of a new turn."""
    with_pauses = phrase("description")
    one_breath = with_pauses.samples[int(6.6 * with_pauses.rate_hz) : int(9.4 * with_pauses.rate_hz)]
    write_wav(audio := tmp_path / "one_breath.wav", with_pauses.rate_hz, np.tile(one_breath, 12))
    async with running(Behaviour(script="file", audio=audio, agree=False)) as (daemon, _):
        await page.open(daemon.port)
        await page.js(_NOTE_INTERRUPTIONS)
        await page.begin()
        await page.until("noted.length >= 2")
        noted = (await page.js("return noted"))[:2]
        await page.click("talk")

    turn = noted[0][1]
    assert noted == [["flushed", turn, True], ["resumed", turn, False]]
