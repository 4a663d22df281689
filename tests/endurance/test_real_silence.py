"""Minutes without a word on every leg: a real daemon, real sockets, the strict stand-ins.

$ENDURANCE_SILENCE_S says how long nobody speaks (`make endurance`: 290); without it, 20 s. The idle limit of the relay,
which the assistant is asked for too, is 10 s longer. With less than five minutes pings come more often.
"""

import os

import trio

from relay.media.frames import WIDEBAND
from relay.standin.assistant import Assistant, Behaviour, open_assistant
from relay.standin.browser import BrowserClient, BrowserOptions, BrowserRefused, open_browser
from relay.standin.phone import Phone, PhoneOptions, open_phone
from tests.support.daemons import AUTH_TOKEN, PUBLIC, VAPI_KEY, Daemon, running_daemon, settings

SILENCE_S = float(os.environ.get("ENDURANCE_SILENCE_S") or 20)
IDLE_S = SILENCE_S + 10
KEEPALIVE_S = 30.0 if SILENCE_S >= 290 else 2.0
QUIET = Behaviour(script="silent", concurrency_limit=100)
STARTING_S = 60.0
LIMIT_WITHIN_S = 30.0


async def test_nothing_is_closed_while_nobody_speaks_and_at_the_limit_the_call_ends() -> None:
    """A telephone, a browser by WebSocket and one by polling, each with the assistant's leg behind it."""
    limits = f"[session]\nidle_timeout_s = {IDLE_S}\nkeepalive_s = {KEEPALIVE_S}\n"
    options = PhoneOptions(auth_token=AUTH_TOKEN, public_url=PUBLIC)
    browsers: list[BrowserClient] = []
    async with (
        open_assistant(key=VAPI_KEY, behaviour=QUIET, record_s=0) as assistant,
        running_daemon(asks_for_the_limit(settings(assistant.base_url)) + limits) as daemon,
        open_phone(daemon.url, options) as phone,
        trio.open_nursery() as nursery,
    ):
        with trio.fail_after(STARTING_S):
            await phone.wait_streaming()
            for polling in (False, True):
                await nursery.start(browse, daemon, browsers, polling)
            await assistant.wait_call(3)
        await trio.sleep(SILENCE_S)
        all_is_as_it_was(daemon, assistant, phone, browsers)
        with trio.fail_after(LIMIT_WITHIN_S):
            await phone.wait_ended()
            while daemon.events().count("call.ended") < 3:  # noqa: ASYNC110 - a log has no event for this
                await trio.sleep(0.2)
        reasons = [line["reason"] for line in daemon.log() if line["event"] == "call.ended"]
        nursery.cancel_scope.cancel()
    assert reasons == ["idle"] * 3
    assert phone.result().warnings == []
    assert {call.ended_reason for call in assistant.calls.values()} == {"customer-ended-call"}
    print(f"\nsilence: {SILENCE_S:g} s without a word on three callers' legs and three assistants', then idle")


def asks_for_the_limit(text: str) -> str:
    return text.replace("[vapi]", "[vapi]\nsend_silence_timeout = true")


def all_is_as_it_was(daemon: Daemon, assistant: Assistant, phone: Phone, browsers: list[BrowserClient]) -> None:
    assert (phone.end, phone.is_streaming, len(phone.streams)) == (None, True, 1)
    assert [browser.transport for browser in browsers] == ["websocket", "polling"]
    assert [call.status for call in assistant.calls.values()] == ["in-progress"] * 3
    closed = {"caller.lost", "assistant.lost", "assistant.ended", "call.ended", "call.failed"}
    assert closed.isdisjoint(daemon.events())


async def browse(
    daemon: Daemon,
    browsers: list[BrowserClient],
    polling: bool,
    task_status: trio.TaskStatus[None],
) -> None:
    """As a page whose microphone hears nothing, until the session is over."""
    silence = bytes(WIDEBAND.frame_bytes) * round((IDLE_S + LIMIT_WITHIN_S) * 50)
    try:
        async with open_browser(daemon.url, BrowserOptions(origin=PUBLIC, polling=polling)) as browser:
            browsers.append(browser)
            task_status.started()
            await browser.say(silence)
    except* BrowserRefused as refused:
        if refused.split(is_over)[1] is not None:
            raise


def is_over(error: BaseException) -> bool:
    return isinstance(error, BrowserRefused) and error.code == "SESSION_OVER"
