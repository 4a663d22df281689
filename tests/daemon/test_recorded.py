"""A real daemon that is killed in the middle of a call: its recording opens, up to the last second."""

from pathlib import Path

import trio

from relay.record.entries import RecordingEnd, RecordingHeader
from relay.record.recorder import WRITE_EVERY_S
from relay.standin.assistant import Behaviour, open_assistant
from relay.standin.phone import PhoneOptions, open_phone
from tests.support.daemons import AUTH_TOKEN, PUBLIC, VAPI_KEY, running_daemon, settings
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
