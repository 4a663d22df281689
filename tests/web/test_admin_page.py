"""The operators' page in a real browser, beside a real daemon."""

import json
import os
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import trio

from relay.config import LimitsConfig, RecordConfig
from relay.daemon import report_process
from relay.daemon.gate import Gate
from relay.daemon.limits import Limits
from relay.daemon.pages import Pages
from relay.daemon.routes import Routes
from relay.logic.end_reason import EndReason
from relay.metrics import Metrics
from relay.record.entries import Recorded
from relay.refusals import Refusals
from tests.support.frontrig import ADMIN_TOKEN, FrontRig, front_config, open_front
from tests.support.peers import serving
from tests.support.recorded import files_in
from tests.support.recordings_of_calls import attached, ended, header, sent, spoken, told, write_recording
from tests.support.webpage import Page

LIVE_ROWS = "document.querySelectorAll('#live-rows tr').length"
FINISHED = "document.querySelectorAll('#finished li').length"
DIALOG_OPEN = "document.getElementById('question').open"


@asynccontextmanager
async def front(folder: Path) -> AsyncIterator[FrontRig]:
    config = front_config(limits=LimitsConfig(max_calls=60), record=RecordConfig(dir=str(folder)))
    async with open_front(config) as rig:
        yield rig


async def sign_in(page: Page, rig: FrontRig, token: str = ADMIN_TOKEN) -> None:
    await page.open_admin(rig.port)
    await page.write("token", token)
    await page.press("ENTER")


async def shown(page: Page, selector: str) -> str:
    text: str = await page.js("return document.querySelector(arguments[0]).innerText", selector)
    return text


STUB = """
const really = window.fetch;
window.fetch = async (path, options) => {
  for (const [end, body, type] of %s) {
    if (String(path).endsWith(end)) return new Response(body, { headers: { "content-type": type } });
  }
  return really(path, options);
};
"""


def stubbed(*answers: tuple[str, str, str]) -> str:
    """The page gets these instead of the relay's answers: the end of a path, a body, and its type."""
    return STUB % json.dumps(answers)


async def test_a_wrong_token_is_refused_in_words_and_kept_nowhere(page: Page, tmp_path: Path) -> None:
    async with front(tmp_path) as rig:
        await sign_in(page, rig, "guess")
        await page.until("!document.getElementById('problem').hidden")
        await page.screenshot("admin-refused")

        assert await page.text("problem-title") == "Not signed in"
        assert "admin token" in await page.text("problem-text")
        assert await page.js("return sessionStorage.length + localStorage.length") == 0
        assert await page.js("return document.activeElement.id") == "token"


async def test_the_token_is_for_this_tab_until_the_operator_signs_out(page: Page, tmp_path: Path) -> None:
    async with front(tmp_path) as rig:
        await sign_in(page, rig)
        await page.until("!document.getElementById('no-calls').hidden")
        await page.screenshot("admin-no-calls")
        assert await page.js("return document.activeElement.id") == "live-title"
        await page.js("location.reload()")
        await page.until("document.getElementById('connection')?.dataset.status === 'live'")
        kept = await page.js("return [localStorage.length, location.href, document.cookie]")
        await page.click("sign-out")

        assert kept == [0, f"http://127.0.0.1:{rig.port}/admin", ""]
        assert await page.js("return sessionStorage.length") == 0
        assert await page.js("return document.getElementById('signed-in').hidden")
        assert await page.complaints() == []


async def test_fifty_calls_are_shown_come_and_go_and_keep_the_focus(page: Page, tmp_path: Path) -> None:
    async with front(tmp_path) as rig:
        # Calls that still wait for their assistant cost the machine nothing, so the browser gets its share of it.
        rig.inner.answer_after_s = rig.inner.create_timeout_s = 600
        calls = [rig.calls.answer(f"CA{number}") for number in range(50)]
        await sign_in(page, rig)
        await page.until(f"{LIVE_ROWS} === 50")
        await page.screenshot("admin-fifty")
        await page.js("document.querySelectorAll('[data-does=hang-up]')[7].focus()")
        rig.calls.answer("CA50")
        await page.until(f"{LIVE_ROWS} === 51")
        focused = await page.js("return document.activeElement.getAttribute('aria-label')")
        calls[7].finish(EndReason.IDLE)
        await page.until(f"{LIVE_ROWS} === 50")
        after = await page.js("return document.activeElement.getAttribute('aria-label')")

        assert focused == f"Hang up call {calls[7].id[:8]}"
        assert after == f"Hang up call {calls[8].id[:8]}"
        assert await page.text("relay-calls") == "50 of 60"
        assert await page.complaints() == []


async def test_a_call_is_shown_with_its_levels_its_buffer_and_what_happened_to_it(page: Page, tmp_path: Path) -> None:
    call = {
        "id": "<b>feed</b>",
        "call_sid": "CA1",
        "duration_s": 3725.4,
        "state": "live",
        "turn": 7,
        "recorded": False,
        "caller_attached": True,
        "caller_speaking": True,
        "caller_dbfs": -30.2,
        "assistant_speaking": False,
        "assistant_dbfs": -90.0,
        "queued_ms": 180,
        "target_ms": 200,
        "reconnects": {"caller": 1, "assistant": 2},
        "interruptions_confirmed": 4,
    }
    relay = {"version": "1", "uptime_s": 5, "max_calls": 1, "calls_begun": 1, "loop_lag_ms": 12.5}
    answer = json.dumps({"calls": [call], "relay": {**relay, "refusal_cause": "max_calls"}})
    async with front(tmp_path) as rig:
        await page.open_admin(rig.port, before=stubbed(("calls", answer, "application/json")))
        await page.write("token", ADMIN_TOKEN)
        await page.press("ENTER")
        await page.until(f"{LIVE_ROWS} === 1")
        await page.look()
        cells = await page.js("return [...document.querySelectorAll('#live-rows tr > *')].map((it) => it.innerText)")
        levels = await page.js(
            "return [...document.querySelectorAll('#live-rows .meter')].map((it) => it.ariaValueNow)"
        )

        assert [*map(str.strip, cells)] == [
            *("<b>feed<", "1:02:05", "live", "7", "-30 dB, speaks", "-90 dB", "180 / 200 ms", "3", "4", "Hang up")
        ]
        assert levels == ["-30", "-60"]
        assert await page.text("refusing") == "As many calls run as limits.max_calls allows: new ones are refused."
        assert await page.text("relay-lag") == "12.5 ms late"


async def test_hanging_up_asks_first_and_everything_works_by_keyboard(page: Page, tmp_path: Path) -> None:
    async with front(tmp_path) as rig:
        call = rig.calls.answer("CA1")
        await sign_in(page, rig)
        await page.until(f"{LIVE_ROWS} === 1")
        await page.js("document.querySelector('[data-does=hang-up]').focus()")
        await page.press("ENTER")
        await page.until(DIALOG_OPEN)
        await page.screenshot("admin-question")
        await page.press("ESCAPE")
        await page.until(f"!{DIALOG_OPEN}")
        goes_on = call.end_reason is None
        await page.press("ENTER")
        await page.until(DIALOG_OPEN)
        await page.press("TAB")
        await page.press("ENTER")
        with trio.fail_after(10):
            await rig.calls.wait_empty()
        await page.until(f"{LIVE_ROWS} === 0 && {FINISHED} === 1")

        assert goes_on
        assert call.end_reason == "admin"
        assert "an operator hung up" in await shown(page, "#finished li")
        assert "Not recorded." in await shown(page, "#finished li")


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """A folder with a recording in which the assistant was lost for words that would be markup."""
    lost = told(2.0, "assistant.lost", error="<img src=x onerror=alert(1)>", close_code=None)
    back = told(3.0, "assistant.reconnected", gap_ms=1000.0, replayed_ms=0, dropped_ms=0, attempt=1)
    write_recording(tmp_path / "feed.relay", [attached(), lost, back, ended(4.0)], header("feed"))
    return tmp_path


async def test_a_finished_call_has_its_verdict_and_its_recording_can_be_erased(page: Page, recorded: Path) -> None:
    async with front(recorded) as rig:
        await sign_in(page, rig)
        await page.until("document.querySelector('.verdict')?.innerText.length > 3")
        await page.screenshot("admin-finished")
        verdict = await shown(page, ".verdict")
        images = await page.js("return document.querySelectorAll('#finished img').length")
        await page.js("document.querySelector('#finished li:last-child [data-does=timeline]').focus()")
        rig.calls.answer("CA1").finish(EndReason.IDLE)
        await rig.until_over("CA1")
        await page.js("document.getElementById('refresh').click()")
        await page.until(f"{FINISHED} === 2")
        focused = await page.js("return document.activeElement.getAttribute('aria-label')")
        await page.js("document.querySelector('#finished li:last-child [data-does=erase]').click()")
        await page.until(DIALOG_OPEN)
        await page.click("question-yes")
        await page.until(f"{FINISHED} === 1")

        assert focused == "Timeline of call feed"
        assert await page.js("return document.activeElement.id") == "refresh"
        assert "<img src=x onerror=alert(1)>" in verdict
        assert images == 0
        assert await page.complaints() == []
    assert files_in(recorded) == []


async def test_a_relay_that_does_not_answer_is_said_and_tried_again(page: Page, tmp_path: Path) -> None:
    """And what is shown meanwhile is marked as old."""
    async with front(tmp_path) as rig:
        rig.calls.answer("CA1")
        await sign_in(page, rig)
        await page.until(f"{LIVE_ROWS} === 1")
        await page.js("window.really = fetch; window.fetch = async () => { throw new TypeError('no network'); }")
        await page.until("document.getElementById('connection').dataset.status === 'reconnecting'")
        stale = await page.js("return document.getElementById('live').classList.contains('stale')")
        await page.js("window.fetch = really")
        await page.until("document.getElementById('connection').dataset.status === 'live'")

        assert stale
        assert not await page.js("return document.getElementById('live').classList.contains('stale')")


async def test_a_timeline_opens_in_a_tab_that_has_no_copy_of_the_token(page: Page, recorded: Path) -> None:
    async with front(recorded) as rig:
        timeline = ("/report", "<!doctype html><title>Feed</title><p id='here'>The timeline of feed", "text/html")
        await page.open_admin(rig.port, before=stubbed(timeline))
        await page.write("token", ADMIN_TOKEN)
        await page.press("ENTER")
        await page.until(f"{FINISHED} === 1")
        await page.js("document.querySelector('#finished [data-does=timeline]').click()")
        await page.new_tab()
        await page.until("document.getElementById('here')")

        assert await page.js("return [sessionStorage.length, opener]") == [0, None]
        assert await page.text("here") == "The timeline of feed"


async def test_the_script_of_a_timeline_runs_though_its_tab_has_the_policy_of_this_page_too(page: Page) -> None:
    """Whatever is made of a `blob:` has it. Other scripts do not run there."""
    script = "document.body.dataset.ran = 'yes'"
    source = f"script-src 'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'"
    html = f"<!doctype html><body><script>{script}</script><script>document.body.dataset.alien = 'yes'</script>"
    answers = (
        ("calls", '{"calls": [], "relay": {"loop_lag_ms": 0, "uptime_s": 0, "refusal_cause": null}}', "text/json"),
        ("/finished", '{"calls": [{"id": "feed", "ended_at": "2026-01-01T00:00:00Z", "recorded": true}]}', "text/json"),
        ("/verdict", '{"verdict": []}', "text/json"),
        ("/report", html, "text/html"),
    )
    config, refusals = front_config(), Refusals(Metrics())
    limits = Limits(config, refusals)
    routes = Routes(limits.slow_bodies)
    Pages(Gate(config, refusals, limits), timelines=source).add_to(routes)
    async with serving(routes.serve) as port:
        await page.open_admin(port, before=stubbed(*answers))
        await page.write("token", "token")
        await page.press("ENTER")
        await page.until(f"{FINISHED} === 1")
        await page.js("document.querySelector('#finished [data-does=timeline]').click()")
        await page.new_tab()
        await page.until("document.body.dataset.ran")

        assert await page.js("return document.body.dataset.alien ?? 'no'") == "no"


async def test_the_real_timeline_opens_in_a_tab_and_breaks_no_policy(
    page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The report has the priority of the rest here: at the lowest it would wait for the other tests to finish."""
    monkeypatch.setattr(report_process, "LOWEST_PRIORITY", os.getpriority(os.PRIO_PROCESS, 0))
    entries: list[Recorded] = [attached(), *spoken(0.0, 200), *sent(1.0, 50), ended(4.0)]
    write_recording(tmp_path / "feed.relay", entries, header("feed"))
    async with front(tmp_path) as rig:
        await sign_in(page, rig)
        await page.until(f"{FINISHED} === 1")
        await page.js("document.querySelector('#finished [data-does=timeline]').click()")
        await page.new_tab()
        await page.until("location.protocol === 'blob:' && document.querySelector('canvas')")

        assert "Nothing went wrong." in await page.js("return document.body.innerText")
        assert await page.complaints() == []


async def test_everything_has_a_name_and_fits_a_telephone_in_both_colours(page: Page, recorded: Path) -> None:
    async with front(recorded) as rig:
        call = rig.calls.answer("CA1")
        await sign_in(page, rig)
        await page.until(f"{LIVE_ROWS} === 1 && {FINISHED} === 1")
        for dark in (False, True):
            await page.look(dark=dark, width=360, height=780)
            await page.screenshot(f"admin-phone-{'dark' if dark else 'light'}")
            width: Any = await page.js("return Math.max(document.documentElement.scrollWidth, innerWidth)")
            assert width == 360
        names = await page.accessible_names()

        assert "" not in names
        assert {f"Hang up call {call.id[:8]}", "Timeline of call feed", "Erase the recording of call feed"} <= names
