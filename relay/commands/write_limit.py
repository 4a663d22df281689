"""The limit that was found is written into a configuration file, in which nothing else changes."""

import os
from pathlib import Path

import tomlkit
from tomlkit.exceptions import TOMLKitError

from relay.errors import ConfigError
from relay.toml_table import parse_toml, problem

BOM = "\ufeff"


def check_writable(path: Path) -> None:
    """To be asked before a long measurement. Raises ConfigError: `write_limit` could not do it."""
    limits = parse_toml(path).get("limits", {})
    if not isinstance(limits, dict):
        raise problem(str(path), "limits", limits, "it must be a table")
    try:
        with path.open("r+b"):
            pass
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from None


def write_limit(path: Path, calls: int) -> None:
    """Set `limits.max_calls` to this number; comments, order and line ends stay as they are.

    Raises ConfigError, and nothing has changed then, also where the disk is full.
    """
    check_writable(path)
    text = path.read_bytes().decode()
    try:
        document = tomlkit.parse(text.removeprefix(BOM))
        if "limits" not in document:
            document["limits"] = tomlkit.table()
        document["limits"]["max_calls"] = calls
        written = (BOM if text.startswith(BOM) else "") + document.as_string()
    except TOMLKitError as error:
        raise ConfigError(f"{path}: is not TOML: {error}") from None
    try:
        _overwrite(path, written.encode())
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from None


def _overwrite(path: Path, data: bytes) -> None:
    """In place, so that the file keeps its owner and its mode; the room for it is there before anything is written."""
    with path.open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, len(data))
        file.write(data)
        file.truncate()
