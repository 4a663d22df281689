"""The composition root: it opens everything in order, serves, and stops the daemon.

| state    | new calls                  | leaves when                                    | deadline                 |
|----------|----------------------------|------------------------------------------------|--------------------------|
| ready    | taken                      | SIGTERM or SIGINT                              |                          |
| draining | told to wait and ask again | the last call is over; at once on a 2nd signal | `server.drain_timeout_s` |
| leaving  | told to wait and ask again | those that are left are handed over, and ended | 7 s                      |
| stopping | nothing is accepted        | open requests are answered                     | 3 s                      |
| closing  | nothing is accepted        | calls left at the assistants' are ended,       | 2 s, and 2 s             |
|          |                            | recordings are written                         |                          |
"""

import errno
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from functools import partial

import structlog
import trio

from relay import __version__
from relay.call.assistant.dialer import VapiDialer
from relay.call.assistant.watched_dialer import WatchedDialer, WatchedDialers
from relay.call.browser.sessions import open_browser_sessions
from relay.call.caller.vad_engine import VadEngine
from relay.call.calls import Calls, open_calls
from relay.call.services import Services
from relay.call.takeover import Takeover
from relay.config import AssistantConfig, Config, ServerConfig
from relay.daemon.assets import load_assets
from relay.daemon.descriptors import descriptors_needed, raise_descriptor_limit
from relay.daemon.endpoint_context import EndpointContext
from relay.daemon.garbage import collect_garbage
from relay.daemon.gate import Gate
from relay.daemon.limits import Limits
from relay.daemon.loop_lag import probe_loop_lag
from relay.daemon.notify import Notifier, report
from relay.daemon.server import Server
from relay.errors import ConfigError, StartFailed
from relay.metrics import Metrics
from relay.net.link.shared_reader import shared_reader
from relay.net.listen import inherited_listener, open_listener, serve_asgi
from relay.net.rest import open_rest_client
from relay.record.recorder import open_recorder
from relay.redaction import Redactor
from relay.refusals import Refusals
from relay.state import StateStore, open_store

LAST_REQUESTS_S = 1.0
"""After the last call, for what Twilio still asks about it: without an answer from /twilio/resume the caller hears of
an application error."""

_FOR_THE_OPERATOR = {errno.EACCES, errno.EAFNOSUPPORT, socket.EAI_NONAME, socket.EAI_NODATA}
"""All else may pass: another process ends, a network comes up, a name server answers."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Relay:
    """A relay that answers. `url` is its own address; what Twilio uses is `server.public_url`."""

    host: str
    port: int
    calls: Calls

    @property
    def url(self) -> str:
        return f"http://[{self.host}]:{self.port}" if ":" in self.host else f"http://{self.host}:{self.port}"


@asynccontextmanager
async def open_relay(config: Config, metrics: Metrics, redactor: Redactor) -> AsyncIterator[Relay]:
    """Everything but signals and systemd: answers when entered, and everything of it is gone on leaving.

    Leaving does not wait for calls: `calls.drain` does.

    Raises:
        ConfigError: the address, a file of `Assets` or the kind of store cannot be used until somebody mends that.
        StartFailed: the address cannot be used now: it is taken, or not there yet.
    """
    assets = await trio.to_thread.run_sync(load_assets, config, metrics)
    listener = _listen(config.server)
    host, port = listener.getsockname()[:2]
    shutdown, stopped = trio.Event(), trio.Event()
    with closing(listener), shared_reader() as reader:
        async with (
            _open_store(config, metrics) as store,
            open_recorder(config, redactor) as recorder,
            AsyncExitStack() as stack,
            trio.open_nursery() as nursery,
        ):
            model = assets.model
            gain_db, in_place = config.vad.model_gain_db, model.engine == "numpy"
            vad = VadEngine(model, metrics, probe=assets.probe, gain_db=gain_db, in_place=in_place)
            nursery.start_soon(vad.run)
            nursery.start_soon(reader.run)
            refusals = Refusals(metrics)
            nursery.start_soon(refusals.run)
            dialers = [await _dialer(assistant, config, redactor, stack) for assistant in config.assistants]
            services = Services(config, metrics, vad, store, assets.apology, assets.classifier, recorder)
            async with (
                open_calls(services, *dialers) as calls,
                open_browser_sessions(config, calls, refusals) as sessions,
            ):
                nursery.start_soon(collect_garbage, lambda: not len(calls))
                nursery.start_soon(partial(probe_loop_lag, metrics, note=calls.note_loop_lag))
                watched, limits = WatchedDialers(dialers), Limits(config, refusals)
                takeover, gate = Takeover(calls, services), Gate(config, refusals, limits)
                context = EndpointContext(
                    config, metrics, calls, takeover, sessions, watched, gate, refusals, limits, trio.current_time()
                )

                async def serve(task_status: trio.TaskStatus[None]) -> None:
                    await serve_asgi(
                        Server(context),
                        listener,
                        shutdown=shutdown,
                        admit=limits.connection,
                        failed=limits.connection_failed,
                        task_status=task_status,
                    )
                    stopped.set()

                await nursery.start(serve)
                yield Relay(host, port, calls)
                shutdown.set()
                await stopped.wait()
            nursery.cancel_scope.cancel()


async def _dialer(
    assistant: AssistantConfig, config: Config, redactor: Redactor, stack: AsyncExitStack
) -> WatchedDialer:
    rest = await stack.enter_async_context(open_rest_client(assistant.request_timeout_s))
    return WatchedDialer(VapiDialer(assistant, config, rest), redactor)


@asynccontextmanager
async def _open_store(config: Config, metrics: Metrics) -> AsyncIterator[StateStore | None]:
    """Where the next process finds the calls of this one; None if that is nowhere."""
    state = config.state
    if state.url == "memory:":
        yield None
        return
    password = config.secrets.redis_password
    async with open_store(state.url, metrics, password=password, timeout_s=state.timeout_s) as store:
        yield store


def _listen(server: ServerConfig) -> socket.socket:
    """The socket that the service manager keeps open between one process and the next, or else one of our own."""
    try:
        inherited = inherited_listener(os.environ)
    except OSError as error:
        raise ConfigError(f"LISTEN_FDS: {error}") from None
    if inherited is not None:
        return inherited
    try:
        return open_listener(server.host, server.port)
    except OSError as error:
        if error.errno in (errno.EADDRINUSE, errno.EACCES):
            told = f"server.port is {server.port}, must be a port that is free to listen on, or 0 for any"
        else:
            told = f"server.host is {server.host!r}, must be an address of this machine"
        kind = ConfigError if error.errno in _FOR_THE_OPERATOR else StartFailed
        raise kind(f"{told} ({error.strerror})") from None


async def run_daemon(config: Config, metrics: Metrics, redactor: Redactor) -> None:
    """Serve until SIGTERM or SIGINT, then drain. Raises what `open_relay` does before anything is answered."""
    descriptors = _make_room(config)
    with (
        trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals,
        closing(Notifier(os.environ)) as notifier,
        trio.CancelScope() as at_once,
    ):
        async with open_relay(config, metrics, redactor) as relay, trio.open_nursery() as nursery:
            nursery.start_soon(report, notifier, partial(_status, relay.calls))
            nursery.start_soon(_log_ignored)
            _say_ready(config, relay, descriptors, notifier)
            await anext(signals)
            nursery.start_soon(_cancel_on_next, signals, at_once)
            await _drain(config.server.drain_timeout_s, relay.calls, notifier)
            nursery.cancel_scope.cancel()
    log.info("daemon.stopped", at_once=at_once.cancelled_caught)


def _make_room(config: Config) -> int:
    """Raise the limit of descriptors; returns it."""
    needed = descriptors_needed(config)
    limit = raise_descriptor_limit(needed)
    if limit < needed:
        log.warning("daemon.few_descriptors", limit=limit, needed=needed)
    return limit


def _say_ready(config: Config, relay: Relay, descriptors: int, notifier: Notifier) -> None:
    log.info(
        "daemon.ready",
        address=relay.host,
        port=relay.port,
        version=__version__,
        assistants=[assistant.name for assistant in config.assistants],
        descriptors=descriptors,
    )
    notifier.send("READY=1")


async def _drain(timeout_s: float, calls: Calls, notifier: Notifier) -> None:
    log.info("daemon.draining", calls=len(calls), timeout_s=timeout_s)
    notifier.send("STOPPING=1")
    idle = not len(calls)
    await calls.drain(timeout_s)
    if not idle:
        await trio.sleep(LAST_REQUESTS_S)


async def _cancel_on_next(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
    await anext(signals)
    scope.cancel("second signal")


async def _log_ignored() -> None:
    """Say that a signal came that changes nothing, to whoever sent it and waits."""
    with trio.open_signal_receiver(signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2) as signals:
        async for number in signals:
            log.warning("daemon.signal_ignored", signal=signal.Signals(number).name)


def _status(calls: Calls) -> str:
    return f"{len(calls)} calls{', draining' if calls.draining else ''}"
