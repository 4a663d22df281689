"""The report in a process of its own: its output, its status, and its end when nobody waits for it any more."""

import errno
import os
import tempfile
from base64 import b64encode
from pathlib import Path

import pytest
import trio

from relay.daemon.report_process import run_report
from relay.record.keys import parse_key
from tests.support.recordings_of_calls import attached, ended, write_recording


@pytest.mark.parametrize(("exists", "status"), [(True, 0), (False, 2)])
async def test_what_it_prints_and_its_status_are_those_of_the_command(
    exists: bool, status: int, tmp_path: Path
) -> None:
    if exists:
        write_recording(tmp_path / "call.relay", [attached(), ended(4.0)])
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        found = await run_report([str(tmp_path / "call.relay")], output, errors)
        output.seek(0)
        errors.seek(0)

        assert found == status
        assert (b"Nothing went wrong." in output.read(), bool(errors.read())) == (exists, not exists)


async def test_a_sealed_recording_is_opened_with_the_keys_that_the_daemon_has(tmp_path: Path) -> None:
    key = b64encode(bytes(32)).decode()
    write_recording(tmp_path / "call.relay", [attached(), ended(4.0)], key=parse_key(key))
    with tempfile.TemporaryFile() as output:
        assert await run_report([str(tmp_path / "call.relay")], output, output, [key]) == 0


async def test_cancelled_it_is_gone(tmp_path: Path) -> None:
    """It waits for a writer of this file, and then there is no reader."""
    os.mkfifo(tmp_path / "call.relay")
    with tempfile.TemporaryFile() as output:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run_report, [str(tmp_path / "call.relay")], output, output)
            writer = await trio.to_thread.run_sync(os.open, tmp_path / "call.relay", os.O_WRONLY)
            nursery.cancel_scope.cancel()
        os.close(writer)

    with pytest.raises(OSError, match=os.strerror(errno.ENXIO)):
        os.open(tmp_path / "call.relay", os.O_WRONLY | os.O_NONBLOCK)
