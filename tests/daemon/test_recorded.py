"""Recordings of real daemons: of a browser, and of a process that is killed in the middle of a call."""

from pathlib import Path

import trio

from relay.config import RecordConfig
from relay.media.frames import TELEPHONE
from relay.record.entries import MarkReturned, RecordingEnd, RecordingHeader
from relay.record.recorded_call import read_call
from relay.record.recorder import WRITE_EVERY_S
from relay.record.sides import CallSides
from relay.record.stereo import stereo
from relay.replay.decisions import count, differences
from relay.replay.exact_run import run_exactly
from relay.replay.settings import config_of
from relay.replay.stage import is_browser
from relay.standin.assistant import Behaviour, open_assistant
from relay.standin.phone import PhoneOptions, open_phone
from relay.standin.phrases import spoken
from tests.support.browserrig import FRAME, browser
from tests.support.callrig import TONE
from tests.support.daemons import AUTH_TOKEN, PUBLIC, VAPI_KEY, running_daemon, settings
from tests.support.frontrig import front_config, open_front
from tests.support.lively import timed_entries
from tests.support.recorded import entries_of, files_in

OPTIONS = PhoneOptions(auth_token=AUTH_TOKEN, public_url=PUBLIC)
BUSY_S = 1.0
"""How much later than planned a loaded machine may write."""


async def test_killed_in_the_middle_of_a_call_the_file_opens_up_to_the_last_second(tmp_path: Path) -> None:
    async with open_assistant(key=VAPI_KEY, behaviour=Behaviour(script="tone")) as assistant:
        text = f'{settings(assistant.base_url)}[record]\nmode = "all"\ndir = "{tmp_path}"\n'
        async with running_daemon(text) as daemon, open_phone(daemon.url, OPTIONS) as phone:
            began = trio.current_time()
            assert await phone.wait_heard(2000)
            talked_s = trio.current_time() - began
            daemon.process.kill()
            await daemon.process.wait()
            (started,) = daemon.events_of("call.started")
    (path,) = files_in(tmp_path)
    entries = entries_of(path)

    assert isinstance(entries[0], RecordingHeader)
    assert path.name == f"{entries[0].call_id}.relay" == f"{started['call_id']}.relay"
    last = entries[-1]
    assert not isinstance(last, RecordingHeader | RecordingEnd)
    assert last.at_s > talked_s - WRITE_EVERY_S - BUSY_S


async def test_a_daemon_that_is_stopped_leaves_whole_recordings_and_ends_with_status_0(tmp_path: Path) -> None:
    async with open_assistant(key=VAPI_KEY, behaviour=Behaviour(script="tone")) as assistant:
        text = settings(assistant.base_url, drain_timeout_s=0.0)
        text += f'[record]\nmode = "all"\ndir = "{tmp_path}"\n'
        async with running_daemon(text) as daemon, open_phone(daemon.url, OPTIONS) as phone:
            assert await phone.wait_heard(500)
            daemon.signal()
            with trio.fail_after(30):
                assert await daemon.process.wait() == 0
            assert daemon.events()[-1] == "daemon.stopped"
            assert daemon.events().count("record.kept") == 1
    (path,) = files_in(tmp_path)

    assert read_call([path]).complete


async def test_a_browsers_call_is_recorded_at_its_rate_and_with_what_it_says_it_played(tmp_path: Path) -> None:
    config = front_config(record=RecordConfig(mode="all", dir=str(tmp_path)))
    async with open_front(config) as rig, browser(rig) as page:
        ready = await page.start(sampleRate=16000)
        await page.speak(*range(1, 26))
        await rig.inner.connected.wait()
        for _ in range(25):
            rig.inner.peers[0].send(TONE)
        turn = (await page.until("audio"))["turn"]
        while len(page.down.audio) < 25:
            await page.receive()
        await page.say("played", turn=turn, ms=400)
        await page.say("stop")
        with trio.fail_after(10):
            await rig.calls.wait_empty()
    call = read_call([tmp_path / f"{ready['sessionId']}.relay"])
    sides = CallSides(call)

    assert call.complete
    assert [entry.position_ms for entry in call.entries if isinstance(entry, MarkReturned)] == [400]
    assert b"".join(frame.data for frame in sides.said) == FRAME * 25
    assert b"".join(frame.data for frame in sides.heard) == page.down.pcm
    assert stereo(sides).any(axis=0).all()
    await assert_replayed(tmp_path)


async def test_a_call_over_real_sockets_comes_out_the_same_in_a_replay(tmp_path: Path) -> None:
    """The caller interrupts, and both sockets break off: on a machine that may be busy."""
    async with open_assistant(key=VAPI_KEY) as assistant:
        text = f'{settings(assistant.base_url)}[record]\nmode = "all"\ndir = "{tmp_path}"\n'
        async with running_daemon(text) as daemon, open_phone(daemon.url, OPTIONS) as phone:
            assert await phone.wait_heard(500)
            await phone.say(spoken("stop", TELEPHONE))
            await trio.sleep(1)
            phone.drop()
            (await assistant.wait_call()).drop()
            await trio.sleep(2)
            await phone.hang_up()
            with trio.fail_after(20):
                while not daemon.events_of("record.kept"):  # noqa: ASYNC110 - another process writes its log
                    await trio.sleep(0.1)
    await assert_replayed(tmp_path)


async def assert_replayed(folder: Path) -> None:
    """The one call in this folder runs again as it was."""
    (path,) = files_in(folder)
    header, entries = timed_entries(path)
    found = await trio.to_thread.run_sync(run_exactly, header, entries, config_of(header, {}), None)

    assert differences(entries, found, browser=is_browser(header.call_sid)) == []
    assert count(entries) > 50
