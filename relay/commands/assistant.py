"""`relay assistant` runs the built-in assistant alone."""

import signal
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import click
import trio

from relay.commands import WrongUse
from relay.errors import FormatMismatch
from relay.media.wav import read_wav
from relay.standin.assistant import Behaviour, open_assistant
from relay.standin.assistant.acts import Act
from relay.standin.assistant.behaviour import ScriptName, as_documented
from relay.standin.assistant.lockout import VAPI_BURST


def assistant(
    port: int,
    script: ScriptName,
    key: str,
    audio: Path | None,
    detect_after_ms: float,
    *,
    transfer_to: str | None,
    strict: bool,
) -> int:
    """Serve until SIGINT or SIGTERM; `strict` as in `as_documented`. `transfer_to`: whom the caller is connected to.

    Raises WrongUse when the port is taken, or `audio` cannot be read.
    """
    try:
        if audio is not None:
            read_wav(audio)  # now, and not in the middle of the first call
    except (OSError, FormatMismatch) as error:
        raise WrongUse(f"--audio: {error}") from None
    behaviour = Behaviour(
        script=script,
        audio=audio,
        detect_after_ms=detect_after_ms,
        create_burst=VAPI_BURST,
        acts=(Act("dial", transfer_to),) if transfer_to else (),
    )
    try:
        trio.run(partial(_serve, port, as_documented(behaviour) if strict else behaviour, key))
    except OSError as error:
        raise WrongUse(f"--port {port} cannot be listened on: {error.strerror}") from None
    return 0


async def _serve(port: int, behaviour: Behaviour, key: str) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        await _serve_until(signals, port, behaviour, key)


async def _serve_until(signals: AsyncIterator[int], port: int, behaviour: Behaviour, key: str) -> None:
    async with open_assistant(key=key, port=port, behaviour=behaviour) as running:
        click.echo(f"assistant at {running.base_url} (vapi.api_base), script {behaviour.script}; Ctrl-C ends it")
        await anext(signals)
