"""Runs `relay check`: prints the configuration in force with what is doubtful in it, or says what is wrong with it."""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from relay.config import Config
from relay.config_file import load, masked
from relay.daemon.assets import load_assets
from relay.daemon.certificate import Certificate
from relay.daemon.webhooks import journal_file
from relay.errors import ConfigError
from relay.metrics import Metrics
from relay.state.event_journal import ever_accepted


@dataclass(frozen=True, slots=True)
class Doubt:
    """A setting that is allowed, and may not do what the operator expects. `key` is named as `check` prints it."""

    code: str
    key: str
    text: str


def doubts(config: Config, certificate: Certificate | None = None) -> Iterator[Doubt]:
    """Yield what is doubtful in a valid configuration, and in the certificate that it names."""
    if certificate is not None and certificate.expires_soon:
        ends = datetime.fromtimestamp(certificate.expires_at, UTC).date().isoformat()
        text = f"the certificate ends on {ends}: replace it and its key, no restart is needed"
        yield Doubt("CERTIFICATE_EXPIRES", "tls.certificate_file", text)
    for index, assistant in enumerate(config.assistants):
        if assistant.send_silence_timeout:
            yield Doubt(
                "SILENCE_TIMEOUT_UNKNOWN",
                f"assistants[{index}].send_silence_timeout",
                "no schema of Vapi's has silenceTimeoutSeconds for a call: it may be refused, and costs a second "
                "request then; set it to false, and the silence timeout at the assistant itself",
            )
    if config.transfer.allow and config.webhooks is None:
        yield Doubt(
            "TRANSFERS_UNHEARD",
            "transfer.allow",
            "that an assistant asks for a transfer is proven by webhook only: set vapi.webhooks. relay probe vapi says "
            "whether it has a tool for that, relay probe twilio whether Twilio dials these numbers",
        )
    file = None if config.webhooks is None else journal_file(config.state.url, os.environ)
    if file is not None and not ever_accepted(file):
        yield Doubt(
            "NO_WEBHOOK_EVER",
            "webhooks",
            f"Vapi is asked for webhooks, and by {file} none was ever accepted. Before the first call that must be so; "
            "after it, look for auth.rejected of /vapi/events in the log: a wrong secret is silent at Vapi. The relay "
            "may also have another STATE_DIRECTORY than this command",
        )


def check(config_file: Path, *, as_json: bool) -> int:
    """Print the configuration in force, secrets masked, and the warnings: as text, those go to standard error.

    Raises ConfigError when the configuration is not good, or a file that the start needs cannot be used.
    """
    config = load(config_file, os.environ)
    try:
        certificate = load_assets(config, Metrics()).certificate
    except ConfigError as error:
        raise ConfigError(f"{config_file}: {error}") from None
    shown, found = masked(config), list(doubts(config, certificate))
    if as_json:
        told = [asdict(doubt) for doubt in found]
        click.echo(json.dumps({"ok": True, "file": str(config_file), "warnings": told, "config": shown}))
        return 0
    click.echo("\n".join(_lines("", shown)))
    for doubt in found:
        click.echo(f"warning {doubt.code}: {doubt.key}: {doubt.text}", err=True)
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
