"""Runs `relay report`: says what a recorded call was like, shows it, and erases the recordings of a call."""

import gc
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from relay.commands import WrongUse
from relay.config import RecordConfig
from relay.errors import NotARecording
from relay.extras import extra
from relay.record.event_log import event_log, printable
from relay.record.file_format import is_sealed
from relay.record.folder import erase, folder_of
from relay.record.keys import KEY_BYTES, RecordKey, parse_keys
from relay.record.page import page
from relay.record.page_sound import page_sound
from relay.record.recorded_call import RecordedCall, read_call
from relay.record.reportable import check_reportable
from relay.record.sides import CallSides
from relay.record.stereo import write_stereo
from relay.record.summary import summarise
from relay.record.timeline import Timeline, timeline
from relay.record.trace import trace
from relay.record.verdict import WORST, moments, verdict
from relay.secrets import SecretSource
from relay.toml_table import parse_toml, read_table

STANDARD_OUTPUT = Path("-")


@dataclass(frozen=True, slots=True)
class ReportFiles:
    """Where to write each form of a report; None: not wanted. The page may go to standard output, "-"."""

    wav: Path | None = None
    html: Path | None = None
    png: Path | None = None
    trace: Path | None = None

    def named(self) -> Iterator[Path]:
        """Those that are files, in the order in which they are written."""
        wanted = (self.wav, self.html, self.png, self.trace)
        return (path for path in wanted if path is not None and path != STANDARD_OUTPUT)


def report(
    files: Sequence[Path],
    wanted: ReportFiles,
    config_file: Path,
    *,
    as_json: bool = False,
    as_text: bool = False,
    is_live: bool = False,
) -> int:
    """Print what the call in these files was like; write it in each form that is wanted.

    `is_live`: the call still goes on. Raises WrongUse for what is no recording, or holds what no call does, and
    ConfigError if nothing here can draw the picture that is wanted.
    """
    if wanted.png is not None:
        _draw()  # what is missing is told before an hour of a call is read, not after it
    with _without_looking_for_garbage():
        call = _read(files, config_file)
        try:
            return _report(call, wanted, as_json=as_json, as_text=as_text, is_live=is_live)
        except MemoryError:  # it may be a call of two days
            raise WrongUse(printable(f"{files[0]}: no report can be made of it: there is too little memory")) from None


@contextmanager
def _without_looking_for_garbage() -> Iterator[None]:
    """All the entries of a call live to the end: the collector would look at half a million of them again and again,
    for a quarter of the time that an hour of a call takes."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _report(call: RecordedCall, wanted: ReportFiles, *, as_json: bool, as_text: bool, is_live: bool) -> int:
    sides = CallSides(call)
    _write(call, sides, wanted, is_live=is_live)
    if as_json:
        click.echo(json.dumps(_as_json(call, sides)))
    elif as_text:
        for line in event_log(call):
            click.echo(printable(line))
    elif wanted == ReportFiles():
        for sentence in verdict(call, summarise(call, sides), is_live=is_live):
            click.echo(printable(sentence))
    else:
        for path in wanted.named():
            click.echo(f"written: {path}")
    return 0


def erase_call(call_id: str, config_file: Path) -> int:
    """Remove the recordings of a call; 1 if there are none. Raises ConfigError, and WrongUse where it cannot."""
    folder = folder_of(_record_table(config_file).dir, os.environ)
    try:
        erased = erase(folder, call_id)
    except OSError as error:
        raise WrongUse(f"{error.filename or folder}: cannot be erased: {error.strerror}") from None
    for path in erased:
        click.echo(f"erased: {path}")
    if not erased:
        click.echo(f"relay: no recording of {call_id} in {folder}", err=True)
    return 0 if erased else 1


def _as_json(call: RecordedCall, sides: CallSides) -> dict[str, object]:
    summary = summarise(call, sides)
    worst = [moment.as_json() for moment in moments(call, summary)[:WORST]]
    return {**asdict(summary), "verdict": verdict(call, summary), "worst": worst}


def _read(files: Sequence[Path], config_file: Path) -> RecordedCall:
    try:
        call = read_call(files, record_keys(files, config_file))
    except NotARecording as error:
        raise WrongUse(printable(str(error))) from None
    except OSError as error:
        raise WrongUse(f"{error.filename}: cannot be read: {error.strerror}") from None
    try:
        check_reportable(call)
    except NotARecording as error:
        raise WrongUse(printable(f"{files[0]}: {error}")) from None
    return call


def record_keys(files: Sequence[Path], config_file: Path) -> tuple[RecordKey, ...]:
    """The keys for those of these files that are sealed, from where the relay has them: RELAY_RECORD_KEY, or else the
    `record.key_file` of the configuration, if that is there.

    Raises ConfigError, OSError for a recording that cannot be read, and WrongUse for what is no key.
    """
    if not any(is_sealed(path) for path in files):
        return ()
    key_file = _record_table(config_file).key_file if config_file.exists() else ""
    text = SecretSource(str(config_file), os.environ).find("RELAY_RECORD_KEY", "record.key_file", key_file)
    try:
        return parse_keys(text) if text else ()
    except ValueError as error:
        raise WrongUse(f"a key of RELAY_RECORD_KEY {error}, must be {KEY_BYTES} bytes in Base64") from None


def _record_table(config_file: Path) -> RecordConfig:
    return read_table(str(config_file), "record", parse_toml(config_file).get("record", {}), RecordConfig)


def _write(call: RecordedCall, sides: CallSides, wanted: ReportFiles, *, is_live: bool) -> None:
    if wanted.wav is not None:
        _to_file("--wav", wanted.wav, lambda path: write_stereo(path, sides))
    if wanted.html is None and wanted.png is None and wanted.trace is None:
        return
    shown = timeline(call, sides, is_live=is_live)
    if wanted.html == STANDARD_OUTPUT:
        sys.stdout.buffer.write(page(shown, page_sound(sides)).encode())
        sys.stdout.buffer.flush()
    elif wanted.html is not None:
        html = page(shown, page_sound(sides))
        _to_file("--html", wanted.html, lambda path: _write_text(path, html))
    if wanted.png is not None:
        draw = _draw()
        _to_file("--png", wanted.png, lambda path: draw(shown, path))
    if wanted.trace is not None:
        _to_file("--trace", wanted.trace, lambda path: _write_text(path, json.dumps(trace(shown))))


def _draw() -> Callable[[Timeline, Path], None]:
    with extra("plot", "--png"):
        from relay.record.picture import draw  # noqa: PLC0415 - 30 MB that only --png needs
    return draw


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _to_file(option: str, path: Path, write: Callable[[Path], None]) -> None:
    try:
        write(path)
    except OSError as error:
        raise WrongUse(f"{option} {path}: cannot be written: {error.strerror}") from None
