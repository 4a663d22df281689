"""Runs `relay check`: prints the configuration in force, or says what is wrong with it."""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from relay.config_file import load, masked
from relay.daemon.apology import load_apology
from relay.errors import ConfigError


def check(config_file: Path, *, as_json: bool) -> int:
    """Print the configuration in force, secrets masked. Raises ConfigError when it is not good."""
    config = load(config_file, os.environ)
    try:
        load_apology(config.reconnect)
    except ConfigError as error:
        raise ConfigError(f"{config_file}: {error}") from None
    shown = masked(config)
    if as_json:
        click.echo(json.dumps({"ok": True, "file": str(config_file), "config": shown}))
    else:
        click.echo("\n".join(_lines("", shown)))
    return 0


def _lines(place: str, value: object) -> Iterator[str]:
    """Yield `section.key = JSON` for each value under this place."""
    items: Iterator[tuple[str, Any]] | None = None
    if isinstance(value, Mapping):
        items = ((f"{place}.{key}" if place else str(key), item) for key, item in value.items())
    elif isinstance(value, list | tuple) and any(isinstance(item, Mapping) for item in value):
        items = ((f"{place}[{index}]", item) for index, item in enumerate(value))
    if items is None:
        yield f"{place} = {json.dumps(value)}"
        return
    for inner, item in items:
        yield from _lines(inner, item)
