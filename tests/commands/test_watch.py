"""`relay tail` and `relay top` beside a relay that runs."""

import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Self

import pytest
import trio

from relay.call.call import Call
from relay.call.report.assistant_events import Said
from relay.commands import watch
from relay.logic.end_reason import EndReason
from relay.watch.admin_client import RelayRefused, RelayUnreachable, ServerEvent
from tests.support.commands import one_line, relay
from tests.support.daemons import environment
from tests.support.frontrig import ADMIN_TOKEN, FrontRig, front_config, open_front
from tests.support.ports import free_port


@dataclass
class Done:
    """A command that has ended."""

    exit_code: int
    stdout: str
    stderr: str


async def run(rig: FrontRig, *arguments: str, token: str = ADMIN_TOKEN) -> Done:
    """In a process of its own: the relay of the test logs in this one."""
    command = [sys.executable, "-m", "relay", *arguments, "--url", f"http://127.0.0.1:{rig.port}"]
    with trio.fail_after(30):
        done = await trio.run_process(
            command,
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            env=environment(RELAY_ADMIN_TOKEN=token),
        )
    return Done(done.returncode, done.stdout.decode(), done.stderr.decode())


def only_line(done: Done) -> str:
    """The one line on standard error; nothing else was written anywhere."""
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    return done.stderr


@asynccontextmanager
async def tailed(rig: FrontRig, call: Call) -> AsyncIterator[None]:
    """Once somebody listens to the call."""
    with trio.fail_after(10):
        while not call.report.listeners.guests:  # noqa: ASYNC110 - a test has no event for this
            await trio.sleep(0.01)
    yield


@pytest.mark.parametrize("which", ["id", "letters", "sid"])
async def test_a_call_is_followed_by_its_id_some_letters_of_it_or_its_sid_until_it_ends(which: str) -> None:
    async with open_front() as rig, trio.open_nursery() as nursery:
        call = rig.calls.answer("CA1")
        results: list[Done] = []

        async def tail() -> None:
            results.append(await run(rig, "tail", {"id": call.id, "letters": call.id[:8], "sid": "CA1"}[which]))

        nursery.start_soon(tail)
        async with tailed(rig, call):
            call.report.tell(Said("user", "one moment", final=True))
            call.finish(EndReason.ADMIN)

    lines = results[0].stdout.splitlines()
    assert results[0].exit_code == 0
    assert (lines[0].split()[1], call.id in lines[0]) == ("call", True)
    assert any(line.endswith('final                   role=user  text="one moment"') for line in lines)
    assert lines[-1].endswith("state                   status=ended  reason=admin")


async def test_as_json_the_events_are_printed_as_they_came() -> None:
    async with open_front() as rig, trio.open_nursery() as nursery:
        call = rig.calls.answer("CA1")
        results: list[Done] = []

        async def tail() -> None:
            results.append(await run(rig, "tail", call.id, "--json"))

        nursery.start_soon(tail)
        async with tailed(rig, call):
            call.finish(EndReason.IDLE)

    told = [json.loads(line) for line in results[0].stdout.splitlines()]
    assert (told[0]["event"], told[0]["id"]) == ("call", call.id)
    assert told[-1] == {"event": "state", "at_s": told[-1]["at_s"], "status": "ended", "reason": "idle"}


async def test_a_call_that_does_not_run_is_a_failure_in_one_line() -> None:
    async with open_front() as rig:
        result = await run(rig, "tail", "feed")

    assert (result.exit_code, only_line(result)) == (1, "relay: no call with the id feed runs now\n")


async def test_letters_that_several_calls_begin_with_are_wrong_use() -> None:
    async with open_front() as rig:
        for number in range(17):  # of 17 ids two begin with the same of 16 letters
            rig.calls.answer(f"CA{number}")
        first = [call.id[0] for call in rig.calls.live()]
        result = await run(rig, "tail", max(first, key=first.count))

    assert result.exit_code == 2
    assert "give more of it" in only_line(result)


@pytest.mark.parametrize("arguments", [("top",), ("tail", "feed")])
@pytest.mark.parametrize(("configured", "given"), [(ADMIN_TOKEN, "guess"), (None, "guess"), (ADMIN_TOKEN, "")])
async def test_a_wrong_token_is_wrong_use_in_one_line(
    arguments: tuple[str, ...], configured: str | None, given: str
) -> None:
    async with open_front(front_config({"admin_token": configured})) as rig:
        result = await run(rig, *arguments, token=given)

    assert result.exit_code == 2
    assert "RELAY_ADMIN_TOKEN" in only_line(result)


@pytest.mark.parametrize("arguments", [("top",), ("tail", "feed")])
def test_a_relay_that_cannot_be_reached_is_a_failure_in_one_line(arguments: tuple[str, ...]) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    result = relay(*arguments, "--url", url, RELAY_ADMIN_TOKEN="token")

    assert result.exit_code == 1
    assert one_line(result).startswith(f"relay: {url}: ")


@pytest.mark.parametrize("url", ["127.0.0.1:8080", "ftp://x", "http://", "http://h:0"])
def test_what_is_no_address_is_wrong_use(url: str) -> None:
    result = relay("top", "--url", url, RELAY_ADMIN_TOKEN="token")

    assert result.exit_code == 2
    assert "--url" in one_line(result)


class ScriptedClient:
    """A client whose every try to listen ends as the script says; the last line of it repeats."""

    def __init__(self, script: list[list[ServerEvent] | RelayUnreachable | RelayRefused]) -> None:
        self._script = script

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        pass

    def calls(self) -> dict[str, object]:
        return {"calls": [{"id": "ab12", "call_sid": "CA1"}]}

    def events(self, _call_id: str) -> Iterator[ServerEvent]:
        told = self._script.pop(0) if len(self._script) > 1 else self._script[0]
        if isinstance(told, Exception):
            raise told
        yield from told


CALL = ServerEvent("call", {"id": "ab12", "duration_s": 1.0, "state": "live"})
ENDED = ServerEvent("state", {"at_s": 2.0, "status": "ended", "reason": "idle"})
WRONG = "http://127.0.0.1:8080: RELAY_ADMIN_TOKEN is not the one of the relay there"
CUT, GONE = RelayUnreachable("cut"), RelayRefused("no such call", "CALL_NOT_FOUND")


@pytest.mark.parametrize(
    ("script", "status", "said"),
    [
        ([[CALL], [CALL, ENDED]], 0, ["connection lost (the relay has ended the answer): ", "connected again"]),
        ([CUT, GONE, [CALL, ENDED]], 0, ["connection lost (cut): ", "connected again"]),
        ([[CALL], CUT], 1, ["connection lost (the relay has ended the answer): ", "http://127.0.0.1:8080: cut"]),
        ([[CALL], GONE], 1, ["connection lost (the relay has ended the answer): ", "no such call"]),
        ([[CALL], RelayRefused("another", "ADMIN_TOKEN_NEEDED")], 2, ["connection lost ", WRONG]),
    ],
)
def test_a_lost_connection_is_said_and_tried_again_for_a_while(
    script: list[list[ServerEvent] | RelayUnreachable | RelayRefused],
    status: int,
    said: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watch, "AGAIN_EVERY_S", 0.001)
    monkeypatch.setattr(watch, "AGAIN_FOR_S", 0.05)
    monkeypatch.setattr(watch, "AdminClient", lambda _url, _token: ScriptedClient([*script]))
    result = relay("tail", "ab12", RELAY_ADMIN_TOKEN="token")
    lines = [line.removeprefix("relay: ") for line in result.stderr.splitlines()]

    assert result.exit_code == status
    assert len(lines) == len(said)
    assert all(line.startswith(start) for line, start in zip(lines, said, strict=True))


async def test_without_a_terminal_what_runs_is_printed_once() -> None:
    async with open_front() as rig:
        call = rig.calls.answer("CA1")
        as_table = await run(rig, "top")
        as_json = await run(rig, "top", "--json")

    assert call.id[:8] in as_table.stdout
    assert "\x1b" not in as_table.stdout
    assert [it["id"] for it in json.loads(as_json.stdout)["calls"]] == [call.id]
    assert (as_table.exit_code, as_json.exit_code) == (0, 0)


async def test_in_a_terminal_it_is_refreshed_until_ctrl_c() -> None:
    main, side = os.openpty()
    async with open_front() as rig:
        command = [sys.executable, "-m", "relay", "top", "--url", f"http://127.0.0.1:{rig.port}"]
        environ = environment(RELAY_ADMIN_TOKEN=ADMIN_TOKEN, TERM="xterm", COLUMNS="80", LINES="24")
        process = await trio.lowlevel.open_process(command, stdin=side, stdout=side, stderr=side, env=environ)
        os.close(side)

        async def until_shown(text: str) -> None:
            seen = ""
            with trio.fail_after(20):
                while text not in seen:
                    seen += (await trio.to_thread.run_sync(os.read, main, 65536, abandon_on_cancel=True)).decode()

        await until_shown("No call runs.")
        call = rig.calls.answer("CA1")
        await until_shown(call.id[:8])
        process.send_signal(signal.SIGINT)
        with trio.fail_after(10):
            status = await process.wait()
        os.close(main)

    assert status == 0


@pytest.mark.parametrize("token", ["tok en", "tok\u00e9n", "tok\nen"])
@pytest.mark.parametrize("arguments", [("top",), ("tail", "x")])
def test_a_token_that_no_relay_can_have_is_refused_and_not_shown(arguments: tuple[str, ...], token: str) -> None:
    done = relay(*arguments, "--url", f"http://127.0.0.1:{free_port()}", RELAY_ADMIN_TOKEN=token)

    assert done.exit_code == 2
    assert "RELAY_ADMIN_TOKEN" in one_line(done)
    assert "tok" not in one_line(done).replace("RELAY_ADMIN_TOKEN", "")


def test_white_space_around_the_token_does_not_matter_as_it_does_not_to_the_relay() -> None:
    done = relay("top", "--url", f"http://127.0.0.1:{free_port()}", RELAY_ADMIN_TOKEN=f" {ADMIN_TOKEN}\n")

    assert done.exit_code == 1
    assert "refused" in one_line(done)  # the connection, not the token


@pytest.mark.parametrize("url", ["http://\u00fc..x", "http://x/\x01"])
def test_an_address_that_no_client_takes_is_refused_with_one_line(url: str) -> None:
    done = relay("top", "--url", url, RELAY_ADMIN_TOKEN=ADMIN_TOKEN)

    assert done.exit_code == 2
    assert one_line(done).startswith("relay: --url ")
