"""The ways of a frame and of an interruption are as short as docs/architecture.md says, and lead where it says."""

import re

import trio
from trio.testing import MockClock

from relay.media.detector import Confirmed
from tests.support.callrig import FRAME_S, SILENCE, TONE, Rig, open_rig
from tests.support.reference import ROOT, section
from tests.support.walks import steps, walked

ARCHITECTURE = ROOT / "docs" / "architecture.md"
SOCKETS = {"net/asgi_socket.py", "net/link/link.py", "net/link/protocol.py"}
"""The ends of both ways, in whose place a call on the virtual clock has memory sockets."""
FILES_MAX = 14
NO_MARK_IS_DUE = 45
"""After so many frames the next one is sent without a mark behind it, which comes every 200 ms."""


def documented(title: str) -> set[str]:
    """The files that stand in the first column of a walk."""
    rows = re.findall(r"^\| `relay/([^`]+)`", section(title, ARCHITECTURE), re.MULTILINE)
    assert len(rows) == len(set(rows))
    return set(rows)


async def converse(rig: Rig, frames: int, *, caller: bytes = SILENCE, assistant: bytes | None = None) -> None:
    """Both sides send so many frames in real time; the caller's come first."""
    for _ in range(frames):
        rig.phone.media(caller)
        await trio.sleep(FRAME_S / 4)
        if assistant is not None:
            rig.assistant.send(assistant)
        await trio.sleep(FRAME_S * 3 / 4)


async def begin(rig: Rig) -> None:
    rig.call = rig.ring()
    await rig.dialer.connected.wait()
    rig.assistant = await rig.meet_assistant()
    rig.assistant.silent_when_quiet = True
    rig.phone = await rig.attach(rig.call, speaking=False)
    await converse(rig, 50)


async def test_a_frame_up(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        await begin(rig)
        with walked() as files:
            rig.phone.media(TONE)
            await trio.sleep(0.0001)

    assert set(steps(files)) == documented("A frame up") - SOCKETS
    assert len(documented("A frame up")) <= FILES_MAX


async def test_a_frame_down(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        await begin(rig)
        await converse(rig, NO_MARK_IS_DUE, assistant=TONE)
        rig.phone.media(SILENCE)
        await trio.sleep(FRAME_S / 4)
        with walked() as files:
            rig.assistant.send(TONE)
            await trio.sleep(FRAME_S / 2)

    assert set(steps(files)) == documented("A frame down") - SOCKETS
    assert len(documented("A frame down")) <= FILES_MAX


async def test_an_interruption_is_one_step_in_which_no_other_task_runs(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        await begin(rig)
        await converse(rig, 40, assistant=TONE)
        with walked() as files:
            rig.call._playback.interrupter.caller_heard(Confirmed(0, 0, 0), trio.current_time())

    assert set(steps(files)) == documented("An interruption") - SOCKETS
