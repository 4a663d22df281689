"""`relay call` places one simulated Twilio call."""

import json
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import click
import trio

from relay.commands import WrongUse
from relay.errors import FormatMismatch
from relay.standin.phone import Cue, PhoneOptions, PhoneResult, mulaw_of_wav, place_call


def call(
    url: str, wav: Path | None, record: Path | None, seconds: float | None, options: PhoneOptions, *, as_json: bool
) -> int:
    """Place the call, say the recording, print what came of it; 1 if the call or the relay did not do well.

    Raises WrongUse when `url` is no address or `wav` cannot be read.
    """
    if not _is_address(url):
        raise WrongUse(f"URL {url}: must be http://HOST[:PORT] or https://HOST[:PORT]")
    try:
        says = [] if wav is None else [Cue(mulaw_of_wav(wav))]
    except (OSError, FormatMismatch) as error:
        raise WrongUse(f"--wav: {error}") from None
    result = trio.run(partial(place_call, url, says, options=options, seconds=seconds, record=record))
    click.echo(json.dumps(result.as_json()) if as_json else _as_lines(result))
    return 0 if result.ok else 1


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _as_lines(result: PhoneResult) -> str:
    lines = [f"{name}: {value}" for name, value in result.as_json().items() if value not in ([], None)]
    return "\n".join(lines)
