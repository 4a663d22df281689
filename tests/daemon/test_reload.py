"""A real daemon reads its configuration again, while a caller hears every byte of the assistant."""

import signal
import socket
from pathlib import Path
from typing import Any

import trio

from relay.standin.assistant import Behaviour, open_assistant
from relay.standin.phone import Phone, open_phone
from relay.standin.sound import mulaw_to_samples, write_wav
from tests.support.daemons import VAPI_KEY, Daemon, environment, mulaw_settings, running_daemon, settings
from tests.support.numbered import PAIRS, heard_pairs, numbered
from tests.support.places import OPTIONS

FRAMES = 300
"""Of 20 ms: what the assistant says in the call over which the configuration changes."""


async def reload(daemon: Daemon, text: str | None) -> dict[str, Any]:
    """Give the daemon this file, or none; what it says of it."""
    before = len(outcomes(daemon))
    replace(daemon.config_path, text)
    daemon.signal(signal.SIGHUP)
    with trio.fail_after(20):
        while len(outcomes(daemon)) == before:  # noqa: ASYNC110 - another process
            await trio.sleep(0.02)
    return outcomes(daemon)[-1]


def replace(path: Path, text: str | None) -> None:
    if text is None:
        path.unlink()
    else:
        path.write_text(text)


def outcomes(daemon: Daemon) -> list[dict[str, Any]]:
    return [line for line in daemon.log() if line["event"] in {"config.reloaded", "config.rejected"}]


async def heard_from_the_start(phone: Phone) -> list[int]:
    """The frame of every byte pair that the caller hears, once there were as many as the assistant says."""
    await phone.wait_until(lambda: phone.heard_audible_ms >= FRAMES * 20 + 500, FRAMES * 0.02 + 20)
    return heard_pairs(bytes(phone.players[0].heard))[: FRAMES * PAIRS]


async def test_a_caller_hears_every_byte_over_reloads_good_and_bad_and_the_next_call_has_the_new_configuration(
    tmp_path: Path,
) -> None:
    voice = tmp_path / "numbered.wav"
    write_wav(voice, 8000, mulaw_to_samples(numbered(0, FRAMES)))
    behaviour = Behaviour(script="file", audio=voice, first_audio_ms=0)
    async with (
        open_assistant(key=VAPI_KEY, behaviour=behaviour) as assistant,
        running_daemon(mulaw_settings(assistant.base_url)) as daemon,
    ):
        good = mulaw_settings(assistant.base_url)
        async with open_phone(daemon.url, OPTIONS) as phone:
            assert await phone.wait_heard(500)
            first = await reload(daemon, good + "[session]\nmax_duration_s = 60\n")
            second = await reload(daemon, good.replace("port = 0", "port = 1") + "[session]\nmax_duration_s = 90\n")
            wrong = await reload(daemon, good + "[session]\nmax_duration_s = -1\n")
            gone = await reload(daemon, None)
            heard = await heard_from_the_start(phone)
        async with open_phone(daemon.url, OPTIONS) as phone:
            assert await phone.wait_heard(100)
            health = (await daemon.get("/health")).json()
        asked = [call.order.overrides["maxDurationSeconds"] for call in assistant.calls.values()]
        begun = [line["generation"] for line in daemon.events_of("call.started")]

    file = str(daemon.config_path)
    assert heard == [frame for frame in range(FRAMES) for _ in range(PAIRS)]
    assert [first, second] == [
        first | changed(2, "session.max_duration_s"),
        second | changed(3, "session.max_duration_s", "server.port"),
    ]
    assert wrong | {"file": file, "level": "error", "event": "config.rejected"} == wrong
    assert wrong["error"] == "session.max_duration_s = -1 is not allowed: a number from 1 to 43200"
    assert gone["error"] == "cannot be read: No such file or directory"
    assert (asked, begun, health["generation"]) == ([3600, 90], [1, 3], 3)


def changed(generation: int, key: str, *needs_restart: str) -> dict[str, Any]:
    return {"generation": generation, "changed": [key], "needs_restart": list(needs_restart)}


async def test_a_new_secret_opens_what_the_old_one_opened_and_no_line_has_either(tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text("old-token-of-the-operator")
    text = settings() + f'[admin]\ntoken_file = "{secret}"\n[logging]\nlevel = "debug"\n'
    async with running_daemon(text) as daemon:
        before = [await admitted(daemon, token) for token in ("old", "new")]
        secret.write_text("new-token-of-the-operator")
        outcome = await reload(daemon, text)
        after = [await admitted(daemon, token) for token in ("old", "new")]

        assert (before, after) == ([200, 401], [401, 200])
        assert outcome["changed"] == ["RELAY_ADMIN_TOKEN"]
        assert "token-of-the-operator" not in daemon.log_path.read_text()


async def admitted(daemon: Daemon, token: str) -> int:
    return (await daemon.get("/calls", authorization=f"Bearer {token}-token-of-the-operator")).status_code


async def test_the_level_of_the_log_changes_without_a_restart() -> None:
    """The first reload would say at "info" that it is done; the second is wrong, which is an error."""
    quiet = settings() + '[logging]\nlevel = "error"\n'
    async with running_daemon(settings()) as daemon:
        replace(daemon.config_path, quiet)
        daemon.signal(signal.SIGHUP)
        with trio.fail_after(20):
            while (await daemon.get("/health")).json()["generation"] == 1:  # noqa: ASYNC110 - another process
                await trio.sleep(0.02)
        await reload(daemon, quiet + "no TOML")

        assert [line["event"] for line in outcomes(daemon)] == ["config.rejected"]


async def test_a_daemon_that_drains_reads_it_too_and_keeps_its_call() -> None:
    async with (
        open_assistant(key=VAPI_KEY, behaviour=Behaviour(script="tone")) as assistant,
        running_daemon(settings(assistant.base_url)) as daemon,
        open_phone(daemon.url, OPTIONS) as phone,
    ):
        assert await phone.wait_heard(200)
        daemon.signal()
        outcome = await reload(daemon, settings(assistant.base_url, max_calls=7))
        heard_on = await phone.wait_heard(1000)
        await phone.hang_up()
        with trio.fail_after(20):
            status = await daemon.process.wait()

        assert "daemon.draining" in daemon.events()
        assert (outcome["event"], heard_on, status) == ("config.reloaded", True, 0)


async def test_systemd_is_told_when_a_reload_begins_and_when_it_is_done(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.setblocking(False)
        async with running_daemon(settings(), environment(NOTIFY_SOCKET=listener.getsockname())) as daemon:
            await reload(daemon, "no TOML")
            told: list[str] = []
            with trio.fail_after(20):
                while told.count("READY=1") < 2:
                    await trio.lowlevel.wait_readable(listener)
                    told.append(listener.recv(4096).decode())
                while "rejected" not in told[-1]:
                    await trio.lowlevel.wait_readable(listener)
                    told.append(listener.recv(4096).decode())

    begun = next(index for index, text in enumerate(told) if text.startswith("RELOADING=1\nMONOTONIC_USEC="))
    assert told.index("READY=1") < begun < len(told) - 1 - told[::-1].index("READY=1")
    assert told[-1] == "STATUS=0 calls, the last reload was rejected"
