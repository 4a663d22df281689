"""The page: each trouble has its own clear message, everything works by keyboard and has a name."""

import pytest
import trio

from tests.support.browser_peer import BrowserPeer
from tests.support.chromium import INSECURE_HOST
from tests.support.peers import serving
from tests.support.webpage import Page

_NO_DEVICE = "navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('none', 'NotFoundError'); };"
_TROUBLES = {
    "MICROPHONE_REFUSED": ("", False, "The microphone was refused"),
    "MICROPHONE_MISSING": (_NO_DEVICE, True, "There is no microphone"),
    "MICROPHONE_BUSY": (_NO_DEVICE.replace("NotFound", "NotReadable"), True, "The microphone is busy"),
}


@pytest.mark.parametrize("code", _TROUBLES)
async def test_trouble_with_the_microphone_is_told_and_can_be_tried_again(page: Page, code: str) -> None:
    before, microphone, title = _TROUBLES[code]
    async with serving(BrowserPeer()) as port:
        await page.open(port, before=before, microphone=microphone)
        await page.click("talk")
        await page.until("!document.getElementById('problem').hidden")
        await page.screenshot(code.lower().replace("_", "-"))

        assert await page.text("problem-title") == title
        assert await page.text("problem-code") == code
        assert await page.text("talk") == "Start talking"
        await page.click("problem-close")
        assert await page.js("return document.getElementById('problem').hidden && document.activeElement.id") == "talk"


async def test_a_browser_that_cannot_is_told_so_before_anything_is_asked(page: Page) -> None:
    async with serving(BrowserPeer()) as port:
        await page.open(port, before="delete window.AudioWorkletNode;")
        await page.screenshot("browser-unsupported")

        assert await page.text("problem-title") == "This browser cannot do voice calls"
        assert await page.js("return document.getElementById('talk').disabled")
        assert await page.js("return document.getElementById('hint').hidden")


async def test_an_insecure_page_says_that_it_needs_https(page: Page) -> None:
    async with serving(BrowserPeer()) as port:
        await page.open(port, host=INSECURE_HOST)
        await page.screenshot("insecure-page")

        assert "https://" in await page.text("problem-text")


async def test_a_refusal_of_the_relay_is_shown_in_its_own_words(page: Page) -> None:
    peer = BrowserPeer()
    peer.refusing = ("FULL", "100 calls are live: try again later")
    async with serving(peer) as port:
        await page.open(port)
        await page.click("talk")
        await page.until("relayClient.status === 'lost'")

        assert await page.text("problem-text") == "100 calls are live: try again later"
        peer.refusing = None
        await page.click("talk")
        await page.until_live()
        assert await page.js("return document.getElementById('problem').hidden")
        await page.click("talk")
        await trio.sleep(0.5)
        ended = [event["status"] for event in await page.events("state")]

    assert ended[-2:] == ["live", "ended"]


_REMEMBER_MICROPHONES = """
window.microphones = [];
const { mediaDevices } = navigator, getUserMedia = mediaDevices.getUserMedia.bind(mediaDevices);
window.isUnplugged = false;
mediaDevices.getUserMedia = async (wanted) => {
  if (isUnplugged) throw new DOMException("none", "NotFoundError");
  const stream = await getUserMedia(wanted);
  microphones.push(...stream.getTracks());
  return stream;
};
"""
_MICROPHONES_OPEN = "microphones.filter(({ readyState }) => readyState === 'live').length"


async def test_a_server_that_is_gone_is_tried_for_as_long_as_it_keeps_the_session(page: Page) -> None:
    peer = BrowserPeer()
    peer.grace_ms = 7_000
    async with serving(peer) as port:
        await page.open(port)
        await page.begin()
        peer.gone = True
        await page.look()
        await peer.cut()
        await page.until("relayClient.status === 'reconnecting'")
        await page.screenshot("reconnecting")
        await trio.sleep(peer.grace_ms / 1000 - 2)
        status = await page.js("return relayClient.status")
        peer.gone = False
        await page.until_live()
        tried = [(event["transport"], event["attempt"]) for event in await page.events("state")]
        attached = peer.session.attached

    assert status == "reconnecting"
    assert [("websocket", n) for n in (1, 2, 3)] + [("polling", 3), ("websocket", 4)] == tried[3:8]
    assert attached[0] == "websocket"
    assert len(attached) == 2
    assert len(peer.sessions) == 1
    assert peer.violations == []


async def test_after_that_the_microphone_is_let_go_and_one_click_begins_a_new_conversation(page: Page) -> None:
    peer = BrowserPeer()
    peer.grace_ms = 1_000
    async with serving(peer) as port:
        await page.open(port, before=_REMEMBER_MICROPHONES)
        await page.begin()
        peer.gone = True
        await peer.cut()
        await page.until("relayClient.status === 'lost'")
        await page.until(f"{_MICROPHONES_OPEN} === 0")
        await page.screenshot("server-gone")
        title, button = await page.text("problem-title"), await page.text("talk")
        peer.gone = False
        await page.click("talk")
        await page.until_live()
        await page.until("said.length > 3")
        open_microphones = await page.js(f"return {_MICROPHONES_OPEN}")

    assert (title, button) == ("The server cannot be reached", "Begin again")
    assert len(peer.sessions) == 2
    assert open_microphones == 1
    assert peer.violations == []


async def test_a_device_without_a_network_is_told_and_tries_at_once_when_there_is_one_again(page: Page) -> None:
    peer = BrowserPeer()
    async with serving(peer) as port:
        await page.open(port)
        await page.begin()
        peer.gone = True
        await page.js(
            "Object.defineProperty(navigator, 'onLine', { value: false, configurable: true });"
            "dispatchEvent(new Event('offline'))"
        )
        await page.until("events.findLast(({type}) => type === 'state').attempt === 4")
        reason, shown = (await page.events("state"))[-1]["reason"], await page.text("connection")
        await page.screenshot("offline")
        peer.gone = False
        await page.js("delete navigator.onLine; dispatchEvent(new Event('online'))")
        took_ms = await page.module(
            "const began = performance.now();"
            "while (relayClient.status !== 'live') await new Promise((done) => setTimeout(done, 10));"
            "return performance.now() - began;"
        )

    assert reason == "offline"
    assert shown == "No network: the conversation goes on when it is back …"
    assert took_ms < 1_000
    assert peer.violations == []


async def test_a_conversation_that_is_ended_while_it_waits_for_the_microphone_does_not_begin(page: Page) -> None:
    slowly = "const ask = mediaDevices.getUserMedia; mediaDevices.getUserMedia = async (wanted) => {"
    slowly += " await new Promise((done) => (window.allow = done)); return ask(wanted); };"
    peer = BrowserPeer()
    async with serving(peer) as port:
        await page.open(port, before=_REMEMBER_MICROPHONES + slowly)
        await page.click("talk")
        await page.until("window.allow")
        await page.click("talk")
        await page.js("allow()")
        await page.until("microphones.length === 1")
        await page.until(f"{_MICROPHONES_OPEN} === 0")
        status = await page.js("return relayClient.status")

    assert status == "ended"
    assert peer.sessions == []


async def test_a_conversation_that_is_ended_while_it_connects_ends_at_the_server_too(page: Page) -> None:
    """The session is there before the page hears of it; so is one that is looked for again."""
    peer = BrowserPeer()
    async with serving(peer) as port:
        await page.open(port)
        await page.js("networkLab.stall(600)")
        await page.click("talk")
        with trio.fail_after(20):
            while not peer.sessions:  # noqa: ASYNC110 - the peer has no event for it
                await trio.sleep(0.01)
        await page.click("talk")
        await _until_stopped(peer)
        await page.begin()
        peer.websockets = False
        await page.js("relayClient.reconnect()")
        await page.click("talk")
        await _until_stopped(peer)

    assert peer.violations == []


async def test_the_microphone_is_let_go_at_once_however_long_the_connection_takes_to_close(page: Page) -> None:
    peer = BrowserPeer()
    async with serving(peer) as port:
        await page.open(port, before=_REMEMBER_MICROPHONES)
        await page.click_in_lab("lab-polling")
        await page.begin("polling")
        await page.js("networkLab.stall(3000)")
        await trio.sleep(0.3)  # a request with audio hangs
        await page.click("talk")
        open_microphones = await page.js(f"return {_MICROPHONES_OPEN}")
        await _until_stopped(peer)

    assert open_microphones == 0


async def _until_stopped(peer: BrowserPeer) -> None:
    with trio.fail_after(20):
        while not peer.session.stopped:
            await peer.session.changed.wait()


async def test_a_page_that_is_left_says_goodbye(page: Page) -> None:
    peer = BrowserPeer()
    async with serving(peer) as port:
        await page.open(port)
        await page.begin()
        await page.js("dispatchEvent(new PageTransitionEvent('pagehide', { persisted: true }))")
        await trio.sleep(0.5)
        when_kept = peer.session.stopped
        await page.js("location.href = 'about:blank'")
        await _until_stopped(peer)

    assert not when_kept
    assert peer.violations == []


async def test_a_headset_that_is_unplugged_is_told_and_the_next_microphone_is_taken(page: Page) -> None:
    peer = BrowserPeer()
    async with serving(peer) as port:
        await page.open(port, before=_REMEMBER_MICROPHONES)
        await page.look()
        await page.begin()
        await page.js("isUnplugged = true; microphones[0].dispatchEvent(new Event('ended'))")
        await page.until("events.some(({type, status}) => type === 'audio' && status === 'no_microphone')")
        await page.screenshot("microphone-lost")
        title, shown = await page.text("problem-title"), await page.text("connection")
        await page.js("isUnplugged = false; navigator.mediaDevices.dispatchEvent(new Event('devicechange'))")
        await page.until("events.findLast(({type}) => type === 'audio').status === 'running'")
        alarmed = await page.js("return !document.getElementById('problem').hidden")
        await page.until_live()
        open_microphones = await page.js(f"return {_MICROPHONES_OPEN}")
        await page.js("said.length = 0")
        await page.until("said.some((pcm) => pcm.some((x) => x !== 0))")

    assert (title, shown) == ("The microphone is gone", "No microphone: connect one to go on")
    assert not alarmed
    assert open_microphones == 1
    assert peer.violations == []


async def test_sound_that_the_device_takes_away_is_told_and_goes_on_at_the_next_gesture(page: Page) -> None:
    wants_gesture = """
    window.isTouched = false;
    const Device = AudioContext;
    window.AudioContext = class extends Device { async resume() { if (isTouched) await super.resume(); } };
    """
    peer = BrowserPeer()
    async with serving(peer) as port:
        await page.open(port, before=wants_gesture)
        await page.look(width=390, height=900)
        await page.begin()
        await page.js("void relayClient.output.context.suspend()")
        await page.until("events.some(({type, status}) => type === 'audio' && status === 'interrupted')")
        await page.screenshot("sound-interrupted")
        shown = await page.text("connection")
        await page.js("isTouched = true")
        await page.press("SHIFT")
        await page.until("events.findLast(({type}) => type === 'audio').status === 'running'")
        await page.js("void relayClient.output.context.suspend()")  # now the browser asks for no gesture
        await page.until("events.filter(({type}) => type === 'audio').length === 4")
        statuses = [event["status"] for event in await page.events("audio")]

    assert shown == "The sound is interrupted: tap here or press a key to go on"
    assert statuses == ["interrupted", "running"] * 2
    assert peer.violations == []


async def test_a_session_that_the_relay_forgot_is_told_and_begun_anew(page: Page) -> None:
    peer = BrowserPeer()
    async with serving(peer) as port:
        await page.open(port)
        await page.begin()
        peer.sessions.clear()
        await peer.cut()
        await page.until("relayClient.status === 'lost'")
        assert await page.text("problem-code") == "SESSION_GONE"
        await page.click("talk")
        await page.until_live()
        await page.until("said.length > 3")
        with trio.fail_after(20):
            while len(peer.session.upward) < 3:
                await peer.session.changed.wait()

    assert sorted(peer.session.upward)[:3] == [1, 2, 3]
    assert peer.violations == []


async def test_what_is_said_and_what_happens_is_on_the_screen(page: Page) -> None:
    """And a look at it in light and dark, wide and narrow."""
    peer = BrowserPeer(rate_hz=16000)
    async with serving(peer) as port:
        await page.open(port)
        await page.look(dark=False)
        await page.screenshot("idle-light")
        await page.begin()
        await _scene(peer)
        await page.until("document.getElementById('partial-user').innerText !== ''")
        await page.until("document.getElementById('rtt').innerText.endsWith('ms')")
        await page.screenshot("live-light")
        await page.look(dark=True)
        await page.screenshot("live-dark")
        await page.look(dark=False, width=390, height=1500)
        await page.screenshot("live-phone")
        overflow = await page.js("return document.documentElement.scrollWidth - document.documentElement.clientWidth")
        transcript, flushed = await page.text("transcript"), await page.text("flushed")
        peer.session.tell("state", status="ended", reason="assistant_ended")
        await page.until("relayClient.status === 'ended'")
        await page.look(dark=True, width=390, height=1500)
        await trio.sleep(0.2)  # nothing moves any more
        await page.screenshot("ended-phone-dark")
        levels = await page.js(
            "return [...document.querySelectorAll('[role=meter]')].map((meter) => meter.ariaValueNow)"
        )
        transcript_of_end = await page.text("transcript")
        complaints = await page.complaints()

    assert "Good morning. What can I do for you?" in transcript
    assert "of the answer thrown away" in transcript
    assert flushed.endswith(" ms")
    assert overflow <= 0
    assert transcript_of_end.endswith("The assistant has ended the conversation.")
    assert levels == ["0", "0"]
    assert complaints == []


async def test_how_the_assistant_stands_is_on_the_screen(page: Page) -> None:
    peer = BrowserPeer(rate_hz=16000)
    async with serving(peer) as port:
        await page.open(port)
        await page.look()
        await page.begin()
        shown = []
        peer.session.tell("error", error="the assistant failed", code="ASSISTANT_LOST", leg="assistant")
        for status, reason in (
            ("live", "assistant ready"),
            ("reconnecting", "assistant lost"),
            ("reconnecting", "assistant unavailable"),
            ("degraded", "assistant stands in"),
            ("live", "assistant ready"),
        ):
            peer.session.tell("state", status=status, reason=reason)
            await page.until("events.findLast(({type}) => type === 'call')?.reason === arguments[0]", reason)
            shown.append(await page.text("connection"))
            await page.screenshot(f"assistant-{status}")
        alarmed = await page.js("return !document.getElementById('problem').hidden")
        errors = await page.events("error")
        notes = await page.js(
            "return [...document.querySelectorAll('#transcript .note')].map((line) => line.innerText)"
        )
        await page.click("talk")

    assert [error["code"] for error in errors] == ["ASSISTANT_LOST"]
    assert not alarmed
    assert shown == ["Connected", *["Waiting for the assistant …"] * 2, "Connected", "Connected"]
    assert notes == [
        "The assistant is reconnecting. Go on talking: nothing is lost.",
        "The assistant is back.",
        "Another assistant stands in for the usual one.",
    ]


async def test_the_controls_of_the_network_lab_make_the_network_bad(page: Page) -> None:
    async with serving(BrowserPeer()) as port:
        await page.open(port)
        await page.begin()
        await page.click_in_lab("lab-drop")
        await page.until("events.some(({status}) => status === 'reconnecting')")
        await page.until_live()
        await page.click_in_lab("lab-stall")
        stalled_ms = await page.js("return networkLab.delayMs()")
        await page.js("document.getElementById('lab-jitter').focus()")
        await page.press("ARROW_RIGHT")
        jitter_ms, label = await page.js("return networkLab.jitterMs"), await page.text("lab-jitter-value")

    assert 0 < stalled_ms <= 2_000
    assert (jitter_ms, label) == (10, "10 ms")


async def _scene(peer: BrowserPeer) -> None:
    session = peer.session
    session.tell("speech", role="assistant", status="started")
    for number in range(100):
        session.play(1, number * 20, bytes([number, 8] * 320))
    session.tell("final", role="assistant", text="Good morning. What can I do for you?")
    await trio.sleep(1.2)
    session.tell("speech", role="user", status="started")
    session.tell("interrupt", turn=1)
    session.tell("speech", role="assistant", status="stopped")
    session.tell("final", role="user", text="Wait, one moment please.")
    session.tell("partial", role="user", text="Do you have a table for")
    await trio.sleep(0.6)


async def test_every_control_has_a_name_and_works_by_keyboard(page: Page) -> None:
    async with serving(BrowserPeer()) as port:
        await page.open(port)
        await page.js("document.getElementById('lab').open = true")
        reached = []
        for _ in range(8):
            await page.press("TAB")
            reached.append(await page.js("return document.activeElement.id || document.activeElement.tagName"))
        names = await page.accessible_names()
        await page.js("document.getElementById('talk').focus()")
        await page.press("ENTER")
        await page.until_live()
        await page.js("document.getElementById('lab-polling').focus()")
        await page.press("SPACE")
        await page.until_live("polling")

    assert reached[:7] == ["talk", "transcript", "SUMMARY", "lab-drop", "lab-stall", "lab-jitter", "lab-polling"]
    assert {"Start talking", "You", "Assistant", "Transcript", "Jitter", "Force HTTP polling", "Network lab"} <= names
    assert "" not in names
