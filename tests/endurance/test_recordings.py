"""Recordings of real daemons whose process is killed, or whose disk is full, read-only, slow or taken away.

The call beside it must not notice: its audio is compared to the byte, both ways. $ENDURANCE_KILLS says how many times a
process is killed (`make endurance`: 20); without it twice. The disks need the right to mount file systems.
"""

import os
import shutil
import time
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import pytest
import trio

from relay.record.keys import RecordKey, parse_keys
from relay.record.recorded_call import RecordedCall, read_call
from relay.standin.assistant import Assistant, Behaviour, open_assistant
from relay.standin.phone import Phone, open_phone
from relay.standin.sound import mulaw_to_samples, write_wav
from tests.support.cuts import median_and_p95
from tests.support.daemons import VAPI_KEY, Daemon, environment, mulaw_settings, running_daemon
from tests.support.disks import fill, freezable_disk, frozen, remount, small_disk
from tests.support.machine import WORDS_S, Machine
from tests.support.numbered import PAIRS, heard_pairs, numbered
from tests.support.places import OPTIONS
from tests.support.recorded import files_in

FRAMES = 4000
FIRST_SAID = 64
SAID_FRAMES = 1500
PATIENCE_S = 30.0
LAST_SECOND_S = 1.0
CALLS_EACH = 3
KEY = b64encode(bytes(range(32))).decode()


@asynccontextmanager
async def recorded(folder: Path, words: Path, key: str = "") -> AsyncIterator[tuple[Daemon, Assistant]]:
    """A daemon that records all calls to this folder, and whose assistant counts aloud; nobody interrupts it."""
    write_wav(words, 8000, mulaw_to_samples(numbered(0, FRAMES)))
    behaviour = Behaviour(script="file", audio=words, first_audio_ms=0, agree=False)
    async with open_assistant(key=VAPI_KEY, behaviour=behaviour, record_s=60) as assistant:
        text = f'[audio]\necho = "off"\n[barge_in]\nenabled = false\n[record]\nmode = "all"\ndir = "{folder}"\n'
        text = mulaw_settings(assistant.base_url) + text
        async with running_daemon(text, environment(RELAY_RECORD_KEY=key)) as daemon:
            yield daemon, assistant


async def until_said(daemon: Daemon, event: str, times: int = 1) -> None:
    with trio.fail_after(PATIENCE_S):
        while len(daemon.events_of(event)) < times:  # noqa: ASYNC110 - a log file
            await trio.sleep(0.05)


class Call:
    """A live call in which both sides count."""

    def __init__(self, phone: Phone, assistant: Assistant) -> None:
        self.phone = phone
        self._record = list(assistant.calls.values())[-1].record
        phone.start_saying(numbered(FIRST_SAID, SAID_FRAMES))

    async def go_on(self, ms: float) -> None:
        assert await self.phone.wait_heard(ms, PATIENCE_S), self.phone.result()

    def problems(self) -> list[str]:
        """Who did not hear every byte that the other side has said so far, once and in order."""
        heard = {"caller": (0, self.phone.players[0].heard), "assistant": (FIRST_SAID, self._record.received.audio)}
        return [who for who, (first, audio) in heard.items() if not _counts_up(heard_pairs(bytes(audio)), first)]


def _counts_up(pairs: list[int], first: int) -> bool:
    return len(pairs) > 50 * PAIRS and pairs == [first + at // PAIRS for at in range(len(pairs))]


@asynccontextmanager
async def live_call(daemon: Daemon, assistant: Assistant) -> AsyncIterator[Call]:
    """Judged on leaving, unless the machine itself was too late."""
    machine = Machine()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(machine.run)
        async with open_phone(daemon.url, OPTIONS) as phone:
            assert await phone.wait_heard(200, PATIENCE_S)
            call = Call(phone, assistant)
            yield call
            await call.go_on(1000)
            assert (phone.end, phone.result().streams) == (None, 1)
            machine.judge(call.problems(), WORDS_S)
        nursery.cancel_scope.cancel()


async def recording_of_next_call(daemon: Daemon, folder: Path, kept_before: int = 0) -> RecordedCall:
    """Place another call, and read what was recorded of it."""
    async with open_phone(daemon.url, OPTIONS) as phone:
        assert await phone.wait_heard(500, PATIENCE_S)
        await phone.hang_up()
    await until_said(daemon, "record.kept", kept_before + 1)
    return read_call([folder / daemon.events_of("record.kept")[-1]["file"]])


def failures(daemon: Daemon) -> list[str]:
    return [line["error"] for line in daemon.events_of("record.failed")]


# -- the process is killed


async def lost_s(folder: Path, words: Path, dice: Random, key: str) -> list[float]:
    """Kill a daemon at some moment of its calls; returns how long before that each recording ends."""
    async with recorded(folder, words, key) as (daemon, _), trio.open_nursery() as nursery:

        async def call() -> None:
            async with open_phone(daemon.url, OPTIONS) as phone:
                await phone.wait_heard(200, PATIENCE_S)
                talking.release()
                await trio.sleep_forever()

        talking = trio.Semaphore(0)
        for _ in range(CALLS_EACH):
            nursery.start_soon(call)
        with trio.fail_after(PATIENCE_S):
            for _ in range(CALLS_EACH):
                await talking.acquire()
        await trio.sleep(dice.uniform(0.0, 3.0))
        daemon.process.kill()
        await daemon.process.wait()
        killed_at = time.time()
        nursery.cancel_scope.cancel()
    keys: tuple[RecordKey, ...] = parse_keys(key) if key else ()
    calls = [read_call([path], keys) for path in files_in(folder)]
    assert len(calls) == CALLS_EACH
    assert not any(call.complete for call in calls)
    return [killed_at - call.header.began_at - call.end_s for call in calls]


async def test_killed_at_any_moment_a_recording_opens_up_to_the_last_second(tmp_path: Path) -> None:
    dice, lost = Random(1), list[float]()
    for number in range(int(os.environ.get("ENDURANCE_KILLS") or 2)):
        lost += await lost_s(tmp_path / str(number), tmp_path / "words.wav", dice, KEY if number % 2 else "")
    median, p95 = median_and_p95(lost)
    print(
        f"\nkilled: {len(lost)} recordings of {len(lost) // CALLS_EACH} processes end before the kill by: "
        f"median {median:.2f} s, p95 {p95:.2f} s, at most {max(lost):.2f} s"
    )
    assert max(lost) < LAST_SECOND_S


# -- the disk


async def test_a_disk_that_fills_up_costs_the_recording_and_not_the_call(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        async with recorded(disk, tmp_path / "words.wav") as (daemon, assistant):
            async with live_call(daemon, assistant) as call:
                filler = fill(disk)
                await until_said(daemon, "record.failed")
                await call.go_on(2000)
                filler.unlink()
                assert (await recording_of_next_call(daemon, disk)).complete
            assert failures(daemon) == ["No space left on device"]


async def test_a_disk_that_is_read_only_costs_the_recording_and_not_the_call(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        remount(disk, "ro")
        async with recorded(disk, tmp_path / "words.wav") as (daemon, assistant):
            async with live_call(daemon, assistant) as call:
                await until_said(daemon, "record.failed")
                await call.go_on(2000)
                remount(disk, "rw")
                assert (await recording_of_next_call(daemon, disk)).complete
            assert failures(daemon) == ["Read-only file system"]


async def test_a_disk_that_hangs_for_seconds_costs_nothing_at_all(tmp_path: Path) -> None:
    with freezable_disk(tmp_path / "disk") as disk:
        async with recorded(disk, tmp_path / "words.wav") as (daemon, assistant):
            async with live_call(daemon, assistant) as call:
                for _ in range(3):
                    with frozen(disk):
                        await call.go_on(2000)
                    await call.go_on(300)
            await until_said(daemon, "record.kept")
            assert failures(daemon) == []
        (path,) = [path for path in files_in(disk) if path.suffix == ".relay"]
        assert read_call([path]).complete


@pytest.mark.parametrize("lost", ["removed", "replaced by a file", "replaced by a link"])
async def test_a_folder_that_is_taken_away_costs_recordings_and_no_call(lost: str, tmp_path: Path) -> None:
    folder = tmp_path / "calls"
    async with recorded(folder, tmp_path / "words.wav") as (daemon, assistant):
        async with live_call(daemon, assistant) as call:
            await until_recorded(folder)
            shutil.rmtree(folder)
            elsewhere = folder
            if lost == "replaced by a file":
                folder.touch()
            elif lost == "replaced by a link":
                elsewhere = tmp_path / "elsewhere"
                elsewhere.mkdir()
                folder.symlink_to(elsewhere)
            await until_said(daemon, "record.failed")
            await call.go_on(1000)
            if lost == "replaced by a file":
                async with open_phone(daemon.url, OPTIONS):
                    await until_said(daemon, "record.failed", 2)
                folder.unlink()
            assert (await recording_of_next_call(daemon, elsewhere)).complete
        assert failures(daemon)[0] == "its file was removed"


async def until_recorded(folder: Path) -> None:
    with trio.fail_after(PATIENCE_S):
        while not os.path.isdir(folder) or not files_in(folder):  # noqa: ASYNC110, ASYNC240, PTH112 - a folder
            await trio.sleep(0.05)
