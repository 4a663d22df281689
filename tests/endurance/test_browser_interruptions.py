"""How soon the page is silent once the daemon has said so: a real Chromium, a real daemon, the built-in assistant.

Counted from the decision in the daemon, a moment before `interrupt` is sent, to when the audio thread of the page had
rendered the last sample that is not zero, 5 ms of fade among it. Told beside it is when that sample leaves the computer
by the clock of the browser. `make endurance` takes 20 interruptions, without it there are three.
"""

import re
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import trio

from relay.media.frames import WIDEBAND
from relay.standin.assistant import Behaviour
from relay.standin.phrases import spoken
from relay.standin.sound import SPEECH_HZ, write_wav
from tests.support.chromium import running_chromium
from tests.support.cuts import cuts_wanted, median_and_p95
from tests.support.webdaemon import AT_48_KHZ, running
from tests.support.webpage import Page

FEW, MANY = 3, 20
PAUSE_S = 3
"""Between two interruptions: the assistant takes a second to speak again."""
SILENT_S = 0.4
MEDIAN_MAX_MS = 30.0
RATE_HZ = 48_000


def interrupter(path: Path) -> Path:
    """A microphone in front of somebody who says "stop" again and again."""
    stop = np.frombuffer(spoken("stop", WIDEBAND), np.int16)
    write_wav(path, SPEECH_HZ, np.concatenate((stop, np.zeros(SPEECH_HZ * PAUSE_S, np.int16))))
    return path


async def last_sound_ms(page: Page) -> tuple[float, float]:
    """The last sample that is not zero, in Unix time: when the 5 ms around it were rendered, and when it leaves."""
    rendered_ms, leaves_ms = await page.js(
        """
        const { frame, wallMs, samples } = heard.findLast(({ samples }) => samples.some((x) => x !== 0));
        const last = frame + samples.findLastIndex((x) => x !== 0);
        const { contextTime, performanceTime } = relayClient.output.context.getOutputTimestamp();
        return [wallMs, performance.timeOrigin + performanceTime + (last / arguments[0] - contextTime) * 1000];
        """,
        RATE_HZ,
    )
    return rendered_ms, leaves_ms


def decided_ms(line: dict[str, Any]) -> float:
    """By the time of the line, which is written once `interrupt` is sent."""
    return datetime.fromisoformat(line["timestamp"]).timestamp() * 1000 - float(line["decide_to_clear_ms"])


async def test_the_page_is_silent_at_once(tmp_path: Path) -> None:
    wanted = min(MANY, cuts_wanted(FEW))
    last_ms: dict[int, tuple[float, float]] = {}
    with running_chromium(interrupter(tmp_path / "microphone.wav")) as chromium:
        page = Page(chromium)
        async with running(Behaviour(script="tone")) as (daemon, _):
            await page.open(daemon.port, before=AT_48_KHZ)
            await page.begin()
            while len(last_ms) < wanted:
                await page.until("events.some(({type}) => type === 'flushed')")
                await trio.sleep(SILENT_S)
                [flushed] = await page.events("flushed")
                if flushed["heardMs"] > 0:
                    last_ms[flushed["turn"]] = await last_sound_ms(page)
                await page.js("events.length = heard.length = 0")
            await page.click("talk")
            cuts = {line["turn"]: line for line in daemon.log() if line["event"] == "bargein.flushed"}
            metrics = (await daemon.get("/metrics")).text
    delays_ms = [rendered - decided_ms(cuts[turn]) for turn, (rendered, _) in last_ms.items()]
    median, p95 = median_and_p95(delays_ms)
    heard, _ = median_and_p95([leaves - decided_ms(cuts[turn]) for turn, (_, leaves) in last_ms.items()])
    print(
        f"\nbrowser: {wanted} interruptions; from the decision to the last sample that is not zero, with the fade: "
        f"median {median:.0f} ms, p95 {p95:.0f} ms, {min(delays_ms):.0f} to {max(delays_ms):.0f} ms; behind this "
        f"browser's sound output {heard:.0f} ms"
    )
    assert re.search(r"^relay_frames_stale_total 0.0$", metrics, re.MULTILINE)
    if wanted >= 10:
        assert median < MEDIAN_MAX_MS
