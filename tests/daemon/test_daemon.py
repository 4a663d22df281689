"""The daemon as a process: readiness, signals, drain, exit status, and no secret in its log."""

import signal
import socket
from pathlib import Path
from urllib.parse import urlencode
from xml.etree import ElementTree as ET

import httpx
import pytest
import trio

from relay.standin.assistant import Assistant, Behaviour, open_assistant
from relay.standin.phone import PhoneOptions, open_phone
from tests.support.daemons import AUTH_TOKEN, PUBLIC, VAPI_KEY, Daemon, environment, running_daemon, settings
from tests.support.frontrig import OTHER_SID, ringing, signature

OPTIONS = PhoneOptions(auth_token=AUTH_TOKEN, public_url=PUBLIC)


async def ends(daemon: Daemon, within_s: float) -> int:
    with trio.fail_after(within_s):
        return await daemon.process.wait()


async def until_event(daemon: Daemon, event: str) -> None:
    with trio.fail_after(20):
        while event not in daemon.events():  # noqa: ASYNC110 - another process
            await trio.sleep(0.02)


async def until_idle(assistant: Assistant) -> None:
    """What the daemon's last act was, its assistant need not have seen by the time the process is gone."""
    with trio.fail_after(20):
        while assistant.active_calls:  # noqa: ASYNC110 - another process
            await trio.sleep(0.02)


async def voice(daemon: Daemon, sid: str) -> list[str]:
    """The verbs that a ringing phone is answered with."""
    form = ringing(sid)
    headers = {
        "X-Twilio-Signature": signature(f"{PUBLIC}/twilio/voice", form, AUTH_TOKEN),
        "Content-Type": "application/x-www-form-urlencoded",
    }
    async with httpx.AsyncClient(trust_env=False, timeout=20) as client:
        answer = await client.post(f"{daemon.url}/twilio/voice", content=urlencode(form), headers=headers)
    return [element.tag for element in ET.fromstring(answer.text)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_an_idle_daemon_ends_soon_with_status_0(number: signal.Signals) -> None:
    async with running_daemon(settings()) as daemon:
        assert (await daemon.get("/health")).json()["status"] == "ok"
        daemon.signal(number)

        assert await ends(daemon, 20) == 0
        events = [event for event in daemon.events() if event != "daemon.stood_still"]  # as a busy machine makes it
        assert events == ["daemon.ready", "daemon.draining", "daemon.stopped"]


async def test_a_daemon_that_records_ends_with_status_0_too(tmp_path: Path) -> None:
    record = f'[record]\nmode = "all"\ndir = "{tmp_path}"\n'
    async with running_daemon(settings() + record) as daemon:
        daemon.signal()

        assert await ends(daemon, 20) == 0


async def test_a_live_call_goes_on_while_new_ones_are_asked_to_wait_and_the_daemon_ends_with_it() -> None:
    async with (
        open_assistant(key=VAPI_KEY, behaviour=Behaviour(script="tone")) as assistant,
        running_daemon(settings(assistant.base_url)) as daemon,
        open_phone(daemon.url, OPTIONS) as phone,
    ):
        assert await phone.wait_heard(500)
        daemon.signal()
        await until_event(daemon, "daemon.draining")
        health, ready = await daemon.get("/health"), await daemon.get("/ready")
        verbs = await voice(daemon, OTHER_SID)
        heard_on = await phone.wait_heard(1000)
        await phone.hang_up()
        status = await ends(daemon, 20)

        assert (health.status_code, health.json()["status"], health.json()["activeSessions"]) == (200, "draining", 1)
        assert (ready.status_code, ready.json()["reason"]) == (503, "draining")
        assert verbs == ["Pause", "Redirect"]
        assert heard_on
        assert status == 0
        assert [line["reason"] for line in daemon.log() if line["event"] == "call.ended"] == ["caller_hangup"]
        assert phone.result().warnings == []


async def test_when_the_drain_time_is_over_calls_are_ended_with_the_reason() -> None:
    async with (
        open_assistant(key=VAPI_KEY, behaviour=Behaviour(script="tone")) as assistant,
        running_daemon(settings(assistant.base_url, drain_timeout_s=1.0)) as daemon,
        open_phone(daemon.url, OPTIONS) as phone,
    ):
        assert await phone.wait_heard(200)
        daemon.signal()
        await phone.wait_ended()
        status = await ends(daemon, 20)
        ended = [line["reason"] for line in daemon.log() if line["event"] == "call.ended"]

        assert (status, ended, phone.end) == (0, ["drain"], "twiml_hangup")
        await until_idle(assistant)


async def test_a_second_signal_ends_everything_at_once() -> None:
    async with (
        open_assistant(key=VAPI_KEY, behaviour=Behaviour(script="tone")) as assistant,
        running_daemon(settings(assistant.base_url, drain_timeout_s=600.0)) as daemon,
        open_phone(daemon.url, OPTIONS) as phone,
    ):
        assert await phone.wait_heard(200)
        daemon.signal()
        await until_event(daemon, "daemon.draining")
        daemon.signal()

        assert await ends(daemon, 20) == 0
        assert daemon.events()[-1] == "daemon.stopped"
        assert "call.ended" in daemon.events()
        await until_idle(assistant)


async def test_systemd_is_told_of_readiness_life_and_stopping(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(20)
        environ = environment(NOTIFY_SOCKET=listener.getsockname(), WATCHDOG_USEC="400000")
        async with running_daemon(settings(), environ) as daemon:
            first = [listener.recv(4096).decode() for _ in range(3)]
            daemon.signal()
            await ends(daemon, 20)
        listener.setblocking(False)
        rest = []
        while True:
            try:
                rest.append(listener.recv(4096).decode())
            except BlockingIOError:
                break

    assert "READY=1" in first
    assert "WATCHDOG=1\nSTATUS=0 calls" in first
    assert "STOPPING=1" in rest


async def test_no_secret_of_the_configuration_or_of_a_call_is_in_the_log() -> None:
    text = settings("{}") + '\n[logging]\nlevel = "debug"\n'
    async with open_assistant(key=VAPI_KEY) as assistant:
        async with running_daemon(text.replace("{}", assistant.base_url)) as daemon:
            async with open_phone(daemon.url, OPTIONS) as phone:
                assert await phone.wait_heard(200)
            daemon.signal()
            await ends(daemon, 20)
            log = daemon.log_path.read_text()
        (call,) = assistant.calls.values()

    assert "call.ended" in log
    for secret in (AUTH_TOKEN, VAPI_KEY, f"{call.id}/transport", f"{call.id}/control", "token="):
        assert secret not in log


async def test_a_dead_assistant_ends_the_call_and_makes_the_relay_not_ready() -> None:
    async with running_daemon(settings()) as daemon, open_phone(daemon.url, OPTIONS) as phone:
        await phone.wait_ended()
        ready = await daemon.get("/ready")
        ended = [line["reason"] for line in daemon.log() if line["event"] == "call.ended"]

        assert ended == ["assistant_unavailable"]
        assert (ready.status_code, ready.json()["reason"]) == (503, "assistants")


async def test_a_key_that_the_caller_presses_reaches_the_assistant_and_the_log_says_only_that_it_came() -> None:
    async with (
        open_assistant(key=VAPI_KEY, behaviour=Behaviour(script="tone")) as assistant,
        running_daemon(settings(assistant.base_url)) as daemon,
        open_phone(daemon.url, OPTIONS) as phone,
    ):
        call = await assistant.wait_call()
        assert await phone.wait_heard(200)
        await phone.send_dtmf("7")
        await until_event(daemon, "caller.key_pressed")
        with trio.fail_after(20):
            while call.conversation is None or not call.conversation.context:  # noqa: ASYNC110 - another process
                await trio.sleep(0.02)
        (note,), (line,) = call.conversation.context, daemon.events_of("caller.key_pressed")

    assert "7" in note["content"]
    assert line.keys() == {"timestamp", "level", "event", "call_id"}
