"""Whole calls on the virtual clock that are recorded."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from relay.config import SECTIONS, RecordConfig
from relay.record.entries import Recorded
from relay.record.file_format import read
from relay.record.recorder import open_recorder
from relay.redaction import Redactor
from tests.support.callrig import CONTROL_URL, SOCKET_URL, Rig, config, open_rig


@asynccontextmanager
async def recorded_rig(folder: Path, mode: Literal["trouble", "all"] = "all", **more: Any) -> AsyncIterator[Rig]:
    """A rig whose calls are recorded in this folder. Leave it, and the files are whole: there a deadline of the virtual
    clock would pass while a thread writes, so nothing is left to the end of the recorder."""
    sections = {name: section for name, section in more.items() if name in SECTIONS}
    known = replace(config(**sections), record=RecordConfig(mode=mode, dir=str(folder)))
    async with open_recorder(known, Redactor({SOCKET_URL, CONTROL_URL})) as recorder:
        assert recorder is not None
        async with open_rig(recorder=recorder, **more) as rig:
            yield rig
        await recorder.write()


def entries_of(path: Path) -> list[Recorded]:
    """All of a file, the header first."""
    header, entries = read(path.read_bytes())
    return [header, *entries]


def files_in(folder: Path) -> list[Path]:
    """All files of a folder."""
    return sorted(folder.iterdir())
