"""The daemon and the built-in assistant as real processes."""

import json
import os
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import trio

from relay.net.transport import default_tls

RELAY = [sys.executable, "-m", "relay"]
AUTH_TOKEN = "twilio-auth-token-of-the-test"
VAPI_KEY = "vapi-api-key-of-the-test"
PUBLIC = "https://relay.example.com"
MANAGER = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="relay")
os.execv(sys.argv[2], sys.argv[2:])
"""
"""What systemd does between fork and exec: only there the number of the process is known."""
START_S = 60.0
"""A loaded machine may take long to import everything."""


@dataclass
class Daemon:
    """A `relay serve` that is ready."""

    process: trio.Process
    port: int
    log_path: Path
    config_path: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def signal(self, number: signal.Signals = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in _lines(self.log_path)]

    def events(self) -> list[str]:
        return [line["event"] for line in self.log()]

    def events_of(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.log() if line["event"] == event]

    async def get(self, path: str, **headers: str) -> httpx.Response:
        async with httpx.AsyncClient(verify=default_tls(), trust_env=False, timeout=20) as client:
            return await client.get(self.url + path, headers=headers)


def environment(**more: str) -> dict[str, str]:
    names = ("PATH", "HOME", "LANG", "PYTHONPATH", "VIRTUAL_ENV")
    inherited = {name: os.environ[name] for name in names if name in os.environ}
    return {**inherited, "TWILIO_AUTH_TOKEN": AUTH_TOKEN, "VAPI_API_KEY": VAPI_KEY, **more}


def settings(
    assistant_url: str = "http://127.0.0.1:9",
    *,
    port: int = 0,
    drain_timeout_s: float = 30.0,
    state: str = "memory:",
    max_calls: int | str = 100,
) -> str:
    """A number of calls, or a busy machine makes the event loop late, which refuses the calls of a test."""
    return f"""
[server]
port = {port}
public_url = "{PUBLIC}"
drain_timeout_s = {drain_timeout_s}
[vapi]
api_base = "{assistant_url}"
assistant_id = "assistant-id"
[limits]
max_calls = {json.dumps(max_calls)}
[state]
url = "{state}"
"""


def mulaw_settings(assistant_url: str) -> str:
    """Audio passes byte for byte."""
    return settings(assistant_url).replace("[vapi]", '[vapi]\naudio_format = "mulaw"')


@asynccontextmanager
async def running_daemon(text: str, environ: Mapping[str, str] | None = None) -> AsyncIterator[Daemon]:
    """A daemon with this configuration, from when it says that it is ready. Killed on leaving if it still runs."""
    with tempfile.TemporaryDirectory() as folder:
        log_path, config_path = Path(folder, "log"), _written(Path(folder, "config.toml"), text)
        process = await _spawn(config_path, log_path, environ or environment())
        try:
            port = await ready_port(process, log_path)
            yield Daemon(process, port, log_path, config_path)
        finally:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()


@asynccontextmanager
async def activated(listener: socket.socket, folder: Path, name: str, text: str) -> AsyncIterator[trio.Process]:
    """A daemon on this socket, from when it says that it is ready; it logs to the file `name`. Killed on leaving."""
    config, log = folder / "config.toml", folder / name
    config.write_text(text)
    with log.open("wb") as errors:
        process = await trio.lowlevel.open_process(
            [sys.executable, "-c", MANAGER, str(listener.fileno()), *RELAY, "serve", "--config", str(config)],
            stderr=errors,
            env=environment(STATE_DIRECTORY=str(folder)),
            pass_fds=[listener.fileno()],
        )
    try:
        assert await ready_port(process, log) == listener.getsockname()[1]
        yield process
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


def _written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


async def _spawn(config: Path, log_path: Path, environ: Mapping[str, str]) -> trio.Process:
    with open(log_path, "wb") as log:  # noqa: ASYNC230, PTH123 - a small local file
        command = [*RELAY, "serve", "--config", str(config)]
        return await trio.lowlevel.open_process(command, stderr=log, env=dict(environ))


async def ready_port(process: trio.Process, log_path: Path) -> int:
    with trio.fail_after(START_S):
        while process.poll() is None:
            for line in _lines(log_path):
                if '"daemon.ready"' in line:
                    return int(json.loads(line)["port"])
            await trio.sleep(0.02)
    raise AssertionError(f"the daemon ended: {_lines(log_path)}")


def _lines(path: Path) -> list[str]:
    """Those that are written to the end: the other process may be in the middle of one."""
    return path.read_text().rpartition("\n")[0].splitlines()
