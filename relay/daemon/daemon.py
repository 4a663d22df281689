"""The composition root: it opens everything in order, serves, and stops the daemon.

| state    | new calls                  | leaves when                                    | deadline                 |
|----------|----------------------------|------------------------------------------------|--------------------------|
| ready    | taken                      | SIGTERM or SIGINT                              |                          |
| draining | told to wait and ask again | the last call is over; at once on a 2nd signal | `server.drain_timeout_s` |
| leaving  | told to wait and ask again | those that are left are handed over, and ended | 7 s                      |
| stopping | nothing is accepted        | open requests are answered                     | 3 s                      |
| closing  | nothing is accepted        | calls left at the assistants' are ended,       | 2 s,                     |
|          |                            | spans are exported, recordings are written     | 0.5 s, and 2 s           |
"""

import errno
import os
import signal
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import structlog
import trio

from relay import __version__
from relay.call.assistant.watched_dialer import WatchedDialer, WatchedDialers
from relay.call.browser.sessions import open_browser_sessions
from relay.call.caller.vad_engine import VadEngine
from relay.call.calls import Calls, open_calls
from relay.call.services import Services
from relay.call.takeover import Takeover
from relay.config import AdminConfig, Config, ServerConfig
from relay.config_file import listen_address
from relay.daemon.assets import load_assets
from relay.daemon.certificate import Certificate
from relay.daemon.descriptors import make_room
from relay.daemon.endpoint_context import EndpointContext
from relay.daemon.garbage import collect_garbage
from relay.daemon.gate import Gate
from relay.daemon.generations import DialerSet, Generations
from relay.daemon.huge_pages import move_to_huge_pages
from relay.daemon.limits import Limits
from relay.daemon.loop_lag import probe_loop_lag
from relay.daemon.notify import Notifier, report
from relay.daemon.reload import Reloader
from relay.daemon.server import Server
from relay.daemon.tracing import open_tracer
from relay.daemon.warm_up import warm_up
from relay.daemon.webhooks import open_webhooks
from relay.errors import ConfigError, StartFailed
from relay.metrics import Metrics
from relay.net.link.shared_reader import shared_reader
from relay.net.listen import inherited_listener, open_listener, serve_asgi
from relay.record.recorder import Recorder, open_recorder
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

    scheme: str
    host: str
    port: int
    calls: Calls
    generations: Generations
    admin_port: int | None = None
    """Of the address that is for operators only, if there is one."""

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


@asynccontextmanager
async def open_relay(config: Config, metrics: Metrics, redactor: Redactor) -> AsyncIterator[Relay]:
    """Everything but signals and systemd: answers when entered, and everything of it is gone on leaving.

    Leaving does not wait for calls: `calls.drain` does.

    Raises:
        ConfigError: the address, a file of `Assets` or the kind of store cannot be used until somebody mends that.
        StartFailed: the address cannot be used now: it is taken, or not there yet.
    """
    assets = await trio.to_thread.run_sync(load_assets, config, metrics)
    warm_up(config, assets.model, assets.probe)
    with ExitStack() as listeners, shared_reader() as reader:
        public = listeners.enter_context(closing(_listen(config.server)))
        if (for_operators := _listen_for_operators(config.admin)) is not None:
            listeners.enter_context(closing(for_operators))
        async with (
            _open_store(config, metrics) as store,
            open_recorder(config, redactor, metrics.recordings_failed.inc) as recorder,
            AsyncExitStack() as stack,
            trio.open_nursery() as nursery,
        ):
            model = assets.model
            gain_db, in_place = config.vad.model_gain_db, model.engine == "numpy"
            vad = VadEngine(model, metrics, probe=assets.probe, gain_db=gain_db, in_place=in_place)
            refusals = Refusals(metrics)
            for task in (vad.run, reader.run, refusals.run):
                nursery.start_soon(task)
            if (certificate := assets.certificate) is not None:
                nursery.start_soon(certificate.watch)
                metrics.certificate_expires.set_function(lambda: certificate.expires_at)
            dialer_set = DialerSet(redactor, stack)
            dialers = await dialer_set.of(config)
            of_calls = recorder if config.record.mode != "off" else None
            services = Services(config, metrics, vad, store, assets.apology, assets.classifier, of_calls)
            async with _open_context(services, dialers, refusals, recorder) as context:
                if assets.span_receiver is not None:
                    tracer = await stack.enter_async_context(
                        open_tracer(assets.span_receiver, metrics.spans_dropped.inc)
                    )
                    stack.enter_context(context.calls.listeners.listening(tracer.note))
                async with _serving(context, public, for_operators, certificate):
                    generations = Generations(context, dialer_set, recorder, redactor)
                    host, port = public.getsockname()[:2]
                    scheme = "http" if certificate is None else "https"
                    admin_port = None if for_operators is None else for_operators.getsockname()[1]
                    yield Relay(scheme, host, port, context.calls, generations, admin_port)
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def _open_context(
    services: Services, dialers: Sequence[WatchedDialer], refusals: Refusals, recorder: Recorder
) -> AsyncIterator[EndpointContext]:
    """The calls, and what the endpoints need beside them; on leaving, nothing of it is left."""
    config, metrics = services.config, services.metrics
    async with (
        open_calls(services, *dialers) as calls,
        open_browser_sessions(config, calls, refusals) as sessions,
        open_webhooks(config, metrics, calls, services.store, recorder) as webhooks,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(collect_garbage, lambda: not len(calls))
        nursery.start_soon(partial(probe_loop_lag, metrics, note=calls.note_loop_lag))
        watched, limits = WatchedDialers(dialers), Limits(config, refusals)
        takeover, gate = Takeover(calls, services), Gate(config, refusals, limits)
        now = trio.current_time()
        yield EndpointContext(
            config, metrics, calls, takeover, sessions, watched, gate, refusals, limits, now, webhooks
        )
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def _serving(
    context: EndpointContext,
    public: socket.socket,
    for_operators: socket.socket | None,
    certificate: Certificate | None,
) -> AsyncIterator[None]:
    """Requests are answered; on leaving, those that are open are, and nothing else is accepted."""
    shutdown, server, limits = trio.Event(), Server(context), context.limits
    serve = partial(
        serve_asgi,
        shutdown=shutdown,
        admit=limits.connection,
        failed=limits.connection_failed,
        tls=None if certificate is None else lambda: certificate.context,
    )
    of_public = partial(serve, is_proxy=limits.is_proxy) if context.config.server.proxy_protocol else serve
    async with trio.open_nursery() as nursery:
        if for_operators is not None:
            await nursery.start(serve, server, for_operators)
        await nursery.start(of_public, server if for_operators is None else server.public, public)
        yield
        shutdown.set()


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


def _listen_for_operators(admin: AdminConfig) -> socket.socket | None:
    host, port = listen_address(admin.listen) or ("", 0)
    if not host:
        return None
    try:
        return open_listener(host, port)
    except OSError as error:
        kind = ConfigError if error.errno in _FOR_THE_OPERATOR else StartFailed
        told = f"admin.listen is {admin.listen!r}, must be an address of this machine and a port that is free"
        raise kind(f"{told} ({error.strerror})") from None


async def run_daemon(config: Config, metrics: Metrics, redactor: Redactor, config_file: Path) -> None:
    """Serve until SIGTERM or SIGINT, then drain. `config_file`, which `config` was read from, is read again at SIGHUP.

    Raises what `open_relay` does before anything is answered.
    """
    descriptors = make_room(config)
    with (
        trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals,
        closing(Notifier(os.environ)) as notifier,
        trio.CancelScope() as at_once,
    ):
        async with open_relay(config, metrics, redactor) as relay, trio.open_nursery() as nursery:
            move_to_huge_pages()  # before it says that it is ready: no call is held up
            reloader = Reloader(config_file, relay.generations, metrics)
            nursery.start_soon(report, notifier, partial(_status, relay, reloader))
            nursery.start_soon(_log_ignored)
            await nursery.start(reloader.run, notifier)
            _say_ready(config, relay, descriptors, notifier)
            await anext(signals)
            nursery.start_soon(_cancel_on_next, signals, at_once)
            await _drain(relay.generations.config.server.drain_timeout_s, relay.calls, notifier)
            nursery.cancel_scope.cancel()
    log.info("daemon.stopped", at_once=at_once.cancelled_caught)


def _say_ready(config: Config, relay: Relay, descriptors: int, notifier: Notifier) -> None:
    log.info(
        "daemon.ready",
        address=relay.host,
        port=relay.port,
        admin_port=relay.admin_port,
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
    with trio.open_signal_receiver(signal.SIGUSR1, signal.SIGUSR2) as signals:
        async for number in signals:
            name = signal.Signals(number).name
            log.warning("daemon.signal_ignored", signal=name, repeats=(name,))


def _status(relay: Relay, reloader: Reloader) -> str:
    calls, rejected = relay.calls, ", the last reload was rejected" if reloader.rejected else ""
    return f"{len(calls)} calls{', draining' if calls.draining else ''}{rejected}"
