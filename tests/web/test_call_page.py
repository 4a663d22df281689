"""The page of a recorded call in a real browser: what it shows, how one moves in it, its sound, and its policy."""

from pathlib import Path

import numpy as np
import pytest

from relay.config import RecordConfig
from relay.media import g711
from relay.record.entries import ClearSent, FromCaller, Recorded, SpeechScore, Timed
from relay.record.page import page as html_of
from relay.record.page_sound import page_sound
from relay.record.sides import CallSides
from relay.record.timeline import timeline
from tests.record.test_page import NASTY
from tests.record.test_summary import FLUSHED
from tests.support.frontrig import ADMIN_TOKEN, front_config, open_front
from tests.support.recordings_of_calls import attached, call_of, ended, header, sent, told, write_recording
from tests.support.webpage import Page

TONE = g711.encode((8000 * np.sin(np.arange(160) * 2 * np.pi * 400 / 8000)).astype(np.int16))
SPOKEN = [FromCaller((n + 1) * 0.02, n * 20.0, 0, TONE if n < 100 else b"\xff" * 160) for n in range(3000)]
CALL: list[Timed] = [
    attached(),
    *SPOKEN,
    told(0.3, "speech.started", onset_ms=20, likely_ms=100, decided_ms=300),
    told(2.256, "speech.ended", at_ms=2000, decided_ms=2256),
    *[SpeechScore(n * 0.032, n * 32.0, 0.9) for n in range(1, 60)],
    *sent(3.0, 100),
    told(3.5, "speech.started", onset_ms=3400, likely_ms=3450, decided_ms=3500),
    ClearSent(3.51),
    told(3.51, "bargein.flushed", turn=1, **FLUSHED),
    told(4.0, "bargein.settled", turn=1),
    told(4.2, "transcript.final", role="user", text=NASTY),
    told(30.0, "assistant.lost", error="no pong", close_code=None),
    told(34.1, "assistant.reconnected", gap_ms=4100.0, replayed_ms=400, dropped_ms=0, attempt=2),
    ended(60.0),
]


async def show(page: Page, folder: Path) -> None:
    call = call_of(*CALL)
    sides = CallSides(call)
    path = folder / "call.html"
    path.write_text(html_of(timeline(call, sides), page_sound(sides)), encoding="utf-8")
    await page.show(path.as_uri())
    await page.until("document.getElementById('range').textContent !== ''")


async def view(page: Page) -> tuple[str, str]:
    begin, end = (await page.text("range")).split(" to ")
    return begin, end


async def test_it_says_what_happened_and_jumps_to_the_worst_moment(page: Page, tmp_path: Path) -> None:
    await show(page, tmp_path)
    whole = await view(page)
    await page.js("document.querySelector('#worst .jump').click()")
    await page.until("document.getElementById('range').textContent.startsWith('00:25')")
    await page.screenshot("call-page")

    assert whole == ("00:00.0", "01:00.0")
    assert (await page.text("worst")).startswith("At 00:30.0 the assistant was away for 4.1 s: ")
    assert "The caller hung up after 01:00.0." in await page.text("verdict")
    assert "the assistant is away" in await page.text("now")
    assert await page.complaints() == []


async def test_what_was_said_is_shown_as_text_and_runs_nowhere(page: Page, tmp_path: Path) -> None:
    await show(page, tmp_path)
    await page.until("document.getElementById('events').textContent.includes('onerror')")

    assert await page.js("return document.querySelectorAll('script').length") == 2
    assert await page.js("return document.images.length") == 0
    assert await page.complaints() == []


async def test_everything_works_by_keyboard(page: Page, tmp_path: Path) -> None:
    await show(page, tmp_path)
    await page.js("document.getElementById('timeline').focus()")
    for _ in range(3):
        await page.press("ARROW_UP")
    await page.until("document.getElementById('range').textContent === '00:00.0 to 00:07.5'")
    await page.press("ARROW_RIGHT")
    await page.until("document.getElementById('timeline').getAttribute('aria-valuenow') === '188'")
    assert (await page.text("now")).startswith("00:00.188 · the caller speaks")
    await page.press("END")
    await page.until("document.getElementById('range').textContent.endsWith('to 01:00.0')")
    await page.press("HOME")
    await page.press("NUMPAD0")
    await page.until("document.getElementById('range').textContent === '00:00.0 to 01:00.0'")


async def test_an_event_that_was_chosen_keeps_the_focus(page: Page, tmp_path: Path) -> None:
    await show(page, tmp_path)
    await page.until("document.querySelectorAll('#events .jump').length > 5")
    await page.js("const row = document.querySelectorAll('#events .jump')[5]; row.focus(); row.click();")
    await page.until("document.getElementById('now').textContent.startsWith('00:04.000')")
    await page.js("return new Promise((done) => setTimeout(done, 300))")

    assert await page.js("return document.activeElement.textContent") == "00:04.000"


async def test_the_wheel_zooms_around_the_pointer_and_dragging_moves(page: Page, tmp_path: Path) -> None:
    await show(page, tmp_path)
    await page.js("""
      const canvas = document.getElementById("timeline"), { left, top, width } = canvas.getBoundingClientRect();
      const at = (x) => ({ clientX: left + x * width, clientY: top + 50, cancelable: true, pointerId: 1 });
      canvas.setPointerCapture = () => undefined;
      canvas.dispatchEvent(new WheelEvent("wheel", { ...at(0.5), deltaY: -Math.log(4) / Math.log(1.0015) }));
      canvas.dispatchEvent(new PointerEvent("pointerdown", at(0.5)));
      canvas.dispatchEvent(new PointerEvent("pointermove", at(0.7)));
      canvas.dispatchEvent(new PointerEvent("pointerup", at(0.7)));
    """)
    await page.until("document.getElementById('range').textContent === '00:19.5 to 00:34.5'")


async def test_its_sound_plays_and_the_place_follows(page: Page, tmp_path: Path) -> None:
    await show(page, tmp_path)
    await page.click("play")
    await page.until("Number(document.getElementById('timeline').getAttribute('aria-valuenow')) > 200")

    assert await page.text("play") == "Pause"
    await page.click("play")
    await page.until("document.getElementById('play').textContent === 'Play'")
    assert await page.complaints() == []


@pytest.mark.parametrize(("dark", "width"), [(False, 1100), (True, 1100), (False, 390)])
async def test_it_has_names_for_everything_and_fits(page: Page, tmp_path: Path, width: int, *, dark: bool) -> None:
    await page.look(dark=dark, width=width)
    await show(page, tmp_path)
    await page.screenshot(f"call-page-{width}{'-dark' if dark else ''}")
    names = await page.accessible_names()

    assert {"Play", "Whole call", "Show more", "Show less, closer", "Place in the call"} <= names
    assert "" not in names
    assert await page.js("return document.documentElement.scrollWidth <= innerWidth")


async def test_the_daemon_serves_it_under_a_policy_that_it_keeps(page: Page, tmp_path: Path) -> None:
    entries: list[Recorded] = [*CALL]
    write_recording(tmp_path / "one.relay", entries, header("one"))
    config = front_config(record=RecordConfig(mode="all", dir=str(tmp_path)))
    async with open_front(config) as rig:
        url = f"http://127.0.0.1:{rig.port}/calls/one/report"
        await page.show(url, Authorization=f"Bearer {ADMIN_TOKEN}")
        await page.until("document.getElementById('range').textContent !== ''")
        await page.click("play")
        await page.until("document.getElementById('play').textContent === 'Pause'")

    assert await page.complaints() == []
