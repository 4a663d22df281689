"""Simulated calls are placed here, by hand (`open_phone`) or by a plan (`place_call`)."""

import secrets
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import trio

from relay.media.frames import TELEPHONE
from relay.media.wav import read_wav
from relay.net.transport import default_tls
from relay.standin.phone.lips import Lips
from relay.standin.phone.operator import Operator
from relay.standin.phone.phone import Phone, PhoneOptions
from relay.standin.phone.result import PhoneResult
from relay.standin.phone.webhooks import Site, Webhooks
from relay.standin.sound import encode

_REPORTS_S = 5.0
"""So long the last status callbacks may take when the call is over."""
_LISTEN_S = 3.0


@asynccontextmanager
async def open_phone(url: str, options: PhoneOptions | None = None) -> AsyncGenerator[Phone, None]:
    """Dial the relay at `url`; on exit the caller hangs up. The stream is usually not open yet when this is entered.

    Webhooks are posted directly, as the media socket is opened: a proxy of the environment is not used. Each is posted
    on a connection of its own.
    """
    options = options or PhoneOptions()
    placed_s = trio.current_time()
    phone = Phone(options, f"CA{secrets.token_hex(16)}", placed_s, Lips(placed_s))
    # On a kept connection that the relay just closes, a request would break off, and Twilio does not send it again.
    no_reuse = httpx.Limits(max_keepalive_connections=0)
    async with (
        httpx.AsyncClient(verify=default_tls(), trust_env=False, limits=no_reuse) as client,
        trio.open_nursery() as callbacks,
    ):
        site = Site(url, options.public_url or url)
        webhooks = Webhooks(site, options.auth_token, client, options.retry_on, options.read_timeout_s)
        operator = Operator(phone, webhooks, callbacks)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(phone.live, operator.connect_call)
            yield phone
            await phone.hang_up()
        callbacks.cancel_scope.deadline = trio.current_time() + _REPORTS_S


@dataclass(frozen=True, slots=True)
class Cue:
    """Something to say, in mu-law, `at_s` after the stream has opened; with `after_heard_ms` not before so much audible
    audio was heard since the cue before it."""

    audio: bytes = field(repr=False)
    at_s: float = 0.0
    after_heard_ms: float | None = None


async def place_call(
    url: str,
    says: Sequence[Cue] = (),
    *,
    options: PhoneOptions | None = None,
    seconds: float | None = None,
    record: Path | None = None,
) -> PhoneResult:
    """A whole call by a plan. The caller hangs up `seconds` after dialling or, without, 3 s after the last word.

    `record` gets a stereo WAV: left what the caller said, right what the caller heard.
    """
    async with open_phone(url, options) as phone, trio.open_nursery() as nursery:
        nursery.start_soon(_carry_out, phone, says, seconds)
        await phone.wait_ended()
        nursery.cancel_scope.cancel()
    if record is not None:
        phone.write_wav(record)
    return phone.result()


async def _carry_out(phone: Phone, says: Sequence[Cue], seconds: float | None) -> None:
    with trio.move_on_after(float("inf") if seconds is None else seconds):
        if await phone.wait_streaming(float("inf")):
            await _speak(phone, says)
            await trio.sleep(_LISTEN_S if seconds is None else float("inf"))
    await phone.hang_up()


async def _speak(phone: Phone, says: Sequence[Cue]) -> None:
    opened_s = trio.current_time()
    for item in says:
        if item.after_heard_ms is not None:
            await phone.wait_heard(item.after_heard_ms, float("inf"))
        await trio.sleep_until(opened_s + item.at_s)
        await phone.say(item.audio)


def mulaw_of_wav(path: Path) -> bytes:
    """A WAV of any rate as the telephone carries it. Raises as `read_wav`."""
    sound = read_wav(path)
    return encode(sound.samples, sound.rate_hz, TELEPHONE)
