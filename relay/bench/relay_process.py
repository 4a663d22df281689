"""The relay under test is `relay serve` with a configuration made for it, on a core of its own where there are two."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from relay.bench.errors import BenchFailed

READY_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 15.0
FORMATS = {"pcm": ("pcm_s16le", 16000), "mulaw": ("mulaw", 8000)}
TARGET_MS, LEAD_MS = 200, 100
"""The playout buffer and the part of it that is sent ahead: the defaults, here because delays depend on them."""

CONNECTIONS_OF_A_BROWSER = 2
"""One that polls waits for an answer while it sends."""

PLACES = 1000
"""For what is limited beside calls, where these are by default."""
PUBLIC_URL = "https://bench.example"
AUTH_TOKEN = "bench"  # noqa: S105 - opens nothing but the relay under test
"""With which the load signs as Twilio would."""
WEBHOOK_SECRET = EVENTS_SECRET = "secret-of-the-bench"  # noqa: S105 - as above
"""With which webhooks are let in, and what is passed on of them is signed."""

_CONFIG = """\
[server]
port = 0
public_url = "{public_url}"
drain_timeout_s = 0.0
[vapi]
api_base = "http://127.0.0.1:{port}"
assistant_id = "bench"
audio_format = "{audio_format}"
sample_rate_hz = {rate_hz}
webhooks = {webhooks}
[events]
forward_url = "{forward_url}"
[jitter]
target_ms = {target_ms}
lead_ms = {lead_ms}
[limits]
max_calls = {max_calls}
web_calls = {places}
connections = {connections}
connections_per_address = {connections}
client_starts_burst = {places}
unstarted_sockets = {places}
unstarted_sockets_per_address = {places}
sessions_per_address = {places}
talk_per_address_s = 10000000.0
[state]
url = "memory:"
[record]
mode = "{record_mode}"
dir = "{record_dir}"
"""


@dataclass(frozen=True, slots=True)
class RelayProcess:
    """A relay that answers on `port` of 127.0.0.1, and writes its `log`."""

    pid: int
    port: int
    log: Path

    def lines(self) -> Iterator[Mapping[str, Any]]:
        """The log so far."""
        return _lines(self.log)


@contextmanager
def run_relay(
    folder: Path,
    assistant_port: int,
    audio: str,
    max_calls: int | None,
    core: int | None,
    *,
    record_mode: str = "off",
    forward_url: str = "",
) -> Iterator[RelayProcess]:
    """Run a relay until the context is left; it answers when this is entered. `max_calls`: None for the default.

    Its configuration, log and recordings are written to `folder`. With a `forward_url` it takes webhooks, and passes
    them on there. Raises BenchFailed with the end of the log if it does not answer.
    """
    audio_format, rate_hz = FORMATS[audio]
    places = max_calls or PLACES
    text = _CONFIG.format(
        port=assistant_port,
        public_url=PUBLIC_URL,
        audio_format=audio_format,
        rate_hz=rate_hz,
        target_ms=TARGET_MS,
        lead_ms=LEAD_MS,
        max_calls=max_calls or '"auto"',
        places=places,
        connections=1000 + CONNECTIONS_OF_A_BROWSER * places,
        record_mode=record_mode,
        record_dir=folder / "calls",
        webhooks=str(bool(forward_url)).lower(),
        forward_url=forward_url,
    )
    with run_configured(folder, text, core) as relay:
        yield relay


@contextmanager
def run_configured(
    folder: Path, text: str, core: int | None, module: Sequence[str] = ("relay",)
) -> Iterator[RelayProcess]:
    """As `run_relay`, with this configuration. `module`: what is run as `relay` would be, and its first arguments."""
    config = folder / "config.toml"
    config.write_text(text)
    log = folder / "relay.log"
    command = [sys.executable, "-P", "-m", *module, "serve", "--config", str(config)]
    with (
        log.open("wb") as sink,
        _start(command, sink) as process,
    ):
        if core is not None:
            os.sched_setaffinity(process.pid, {core})
        try:
            yield RelayProcess(process.pid, _wait_ready(process, log), log)
        finally:
            _stop(process)


def _start(command: list[str], sink: BinaryIO) -> subprocess.Popen[bytes]:
    secrets = {"VAPI_API_KEY": "bench", "TWILIO_AUTH_TOKEN": AUTH_TOKEN}
    secrets |= {"VAPI_WEBHOOK_SECRET": WEBHOOK_SECRET, "RELAY_EVENTS_SECRET": EVENTS_SECRET}
    environ = {**os.environ, **secrets}
    return subprocess.Popen(command, stderr=sink, env=environ)  # noqa: S603 - our own


def _wait_ready(process: subprocess.Popen[bytes], log: Path) -> int:
    deadline = time.monotonic() + READY_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        for line in _lines(log):
            if line.get("event") == "daemon.ready":
                return int(line["port"])
        time.sleep(0.05)
    raise BenchFailed(f"the relay did not start:\n{tail(log)}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()


def tail(log: Path) -> str:
    """The end of a log, for an error text."""
    return log.read_text(errors="replace")[-1500:]


def _lines(log: Path) -> Iterator[Mapping[str, Any]]:
    for line in log.read_text(errors="replace").splitlines():
        try:
            values = json.loads(line)
        except ValueError:
            continue
        if isinstance(values, dict):
            yield values
