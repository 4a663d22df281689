"""The limit that was found is written into a configuration file, in which nothing else changes."""

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
    """Set `limits.max_calls` to this number; comments, order and line ends stay as they are. Raises ConfigError."""
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
    path.write_bytes(written.encode())
