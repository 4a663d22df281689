"""Listen, and serve an ASGI application with hypercorn's trio protocol stack."""

import json
import logging
import os
import socket
import ssl
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, closing, nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial

import trio
from hypercorn.config import Config
from hypercorn.trio.lifespan import Lifespan
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import AppWrapper, ASGIFramework, ConnectionState, LifespanState
from hypercorn.utils import wrap_app

from relay.errors import RemoteProtocolError, RequestRefused
from relay.net.accept import accept_connections
from relay.net.asgi_socket import STREAM_STATE
from relay.net.hang_ups import HangUps
from relay.net.http1 import Http1Connection
from relay.net.link.fragments import MessageBounds
from relay.net.link.pace import SURPLUS_OF_CALLS, FramePace
from relay.net.link.prompt_stream import TlsStream
from relay.net.link.shared_reader import notify_closing
from relay.net.proxy_protocol import receive_client
from relay.net.readiness import Readiness
from relay.net.request_head import HEAD_MAX_BYTES
from relay.net.server_stream import Place, ServerStream
from relay.net.transport import TCP_CLOSE, TCP_CLOSE_WAIT, USER_TIMEOUT_MS, guard_tcp, tcp_state
from relay.net.turns import Turns

BACKLOG = 1024
GRACEFUL_TIMEOUT_S = 3.0
ABORT_AFTER_S = 1.5
APP_QUEUE_MESSAGES = 50
WEBSOCKET_MESSAGE_MAX_BYTES = 65_536
MESSAGE_BOUNDS = MessageBounds(WEBSOCKET_MESSAGE_MAX_BYTES, WEBSOCKET_MESSAGE_MAX_BYTES, fragments_max=64)
"""In pieces of 4 KiB, which some proxies make, the longest message has 16. A flood of empty ones would be read at a
call's pace for a minute before it came to the assistant's 4096."""
IDLE_CONNECTION_S = 10.0
HANDSHAKE_S = 5.0
"""For TLS. Who waits for it has a stranger's place, as who sends no request."""
FIRST_INHERITED_FD = 3
INHERITED_NAME = "relay"
"""Which of several sockets is ours: `FileDescriptorName=` of the unit."""

Admit = Callable[[str, Callable[[], None]], AbstractContextManager[Place]]
"""Holds a place for a connection of a peer, named by its address, while it is open; raises RequestRefused. It may call
the function that it is given, which closes the connection."""


def open_listener(host: str, port: int, *, user_timeout_ms: int = USER_TIMEOUT_MS) -> socket.socket:
    """A bound, listening TCP socket whose accepted connections inherit `guard_tcp`.

    `host` is an IPv4 or IPv6 address or a name, of which the first address is taken; port 0 takes any
    free one. Raises OSError if it cannot be bound.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, kind, protocol, _, address = found[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        guard_tcp(listener, user_timeout_ms=user_timeout_ms)
        listener.bind(address)
        listener.listen(BACKLOG)
        listener.setblocking(False)  # noqa: FBT003 - positional only
    except BaseException:
        listener.close()
        raise
    return listener


def inherited_listener(
    environ: Mapping[str, str], *, first_fd: int = FIRST_INHERITED_FD, user_timeout_ms: int = USER_TIMEOUT_MS
) -> socket.socket | None:
    """The listening TCP socket that the service manager opened for this process (sd_listen_fds(3)); None without one.

    It is for this process when LISTEN_PID says so, and is the only one of LISTEN_FDS, or the one that LISTEN_FDNAMES
    calls "relay". The manager holds it too: closing it here ends nothing, and what connects while no process runs waits
    in the kernel for the next. Raises OSError when what was given cannot be served on.
    """
    count = environ.get("LISTEN_FDS", "")
    if environ.get("LISTEN_PID") != str(os.getpid()) or not count.isdecimal() or int(count) == 0:
        return None
    names = environ.get("LISTEN_FDNAMES", "").split(":")
    ours = [0] if int(count) == 1 else [index for index, name in enumerate(names) if name == INHERITED_NAME]
    if len(ours) != 1:
        raise OSError(f"{count} sockets were inherited, of which not exactly one is named {INHERITED_NAME}")
    listener = socket.socket(fileno=first_fd + ours[0])
    try:
        _check_listens(listener)
        listener.set_inheritable(False)
        guard_tcp(listener, user_timeout_ms=user_timeout_ms)
        listener.setblocking(False)  # noqa: FBT003 - positional only
    except BaseException:
        listener.close()
        raise
    return listener


def _check_listens(given: socket.socket) -> None:
    listens = given.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    if given.family not in {socket.AF_INET, socket.AF_INET6} or not listens:
        raise OSError("the inherited socket is not a listening TCP socket")


async def serve_asgi(
    app: ASGIFramework,
    listener: socket.socket,
    *,
    shutdown: trio.Event,
    graceful_timeout_s: float = GRACEFUL_TIMEOUT_S,
    admit: Admit = lambda _peer, _close: nullcontext(Place()),
    failed: Callable[[str], None] = lambda _: None,
    tls: Callable[[], ssl.SSLContext] | None = None,
    is_proxy: Callable[[str], bool] = lambda _: False,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve `app` on `listener`, which is owned from here on and closed in any case.

    A connection is served within `admit`, and turned away when that raises. `failed` is told the kinds of errors that
    ended one. `is_proxy` says of which peers a connection must begin with a header of the PROXY protocol: it is that of
    the client that is named there. `tls` gives what a connection that comes now is to be served with; without it, it is
    plain HTTP.

    When `shutdown` is set nothing more is accepted, idle connections close, the rest have
    `graceful_timeout_s`, then are cancelled, and what still hangs in a send after ABORT_AFTER_S is cut.
    Each connection stands alone: hypercorn lets some malformed requests (a header that is not ASCII)
    raise out of its connection task, which under its own `serve` ends the whole server.
    """
    with listener:
        server = _Server(wrap_app(app, 0, "asgi"), shutdown, graceful_timeout_s, admit, failed, tls, is_proxy)
        async with trio.open_nursery() as nursery:
            await nursery.start(server.lifespan.handle_lifespan)
            await server.lifespan.wait_for_startup()
            await server.run(listener, task_status)
            await server.lifespan.wait_for_shutdown()
            nursery.cancel_scope.cancel()


@dataclass(slots=True)
class _Server:
    """One run of `serve_asgi`."""

    app: AppWrapper
    shutdown: trio.Event
    graceful_timeout_s: float
    admit: Admit
    failed: Callable[[str], None]
    tls: Callable[[], ssl.SSLContext] | None
    is_proxy: Callable[[str], bool]
    config: Config = field(init=False)
    lifespan: Lifespan = field(init=False)
    state: LifespanState = field(default_factory=dict)
    context: WorkerContext = field(default_factory=lambda: WorkerContext(None))
    streams: set[ServerStream] = field(default_factory=set)
    turns: Turns = field(default_factory=Turns)
    surplus: FramePace = field(default_factory=lambda: FramePace(SURPLUS_OF_CALLS))
    hang_ups: HangUps = field(default_factory=HangUps)
    readiness: Readiness = field(default_factory=Readiness)
    drained: trio.Event = field(default_factory=trio.Event)

    def __post_init__(self) -> None:
        self.config = _hypercorn_config()
        self.lifespan = Lifespan(self.app, self.config, self.state)

    async def run(self, listener: socket.socket, task_status: trio.TaskStatus[None]) -> None:
        with closing(self.hang_ups), closing(self.readiness):
            await self._run(listener, task_status)

    async def _run(self, listener: socket.socket, task_status: trio.TaskStatus[None]) -> None:
        async with trio.open_nursery() as outer:
            outer.start_soon(self.hang_ups.run)
            outer.start_soon(self.readiness.run)
            outer.start_soon(self._cut_stragglers)
            try:
                async with trio.open_nursery() as connections:
                    await self._accept_until_shutdown(listener, connections, task_status)
                    connections.cancel_scope.deadline = trio.current_time() + self.graceful_timeout_s
            finally:
                self.drained.set()
            outer.cancel_scope.cancel()

    async def _accept_until_shutdown(
        self, listener: socket.socket, connections: trio.Nursery, task_status: trio.TaskStatus[None]
    ) -> None:
        accepted = trio.SocketListener(trio.socket.from_stdlib_socket(listener))
        async with accepted, trio.open_nursery() as accepting:
            accepting.start_soon(accept_connections, accepted, self._admitted, connections)
            task_status.started()
            await self.shutdown.wait()
            accepting.cancel_scope.cancel()
        await self.context.terminated.set()

    async def _admitted(self, accepted: trio.SocketStream) -> None:
        def close() -> None:
            scope.cancel()
            notify_closing(accepted.socket)  # hypercorn shields what it sends, and the peer may not take it
            accepted.socket.close()

        try:
            with trio.CancelScope() as scope:
                peer = _peer(accepted)
                if self.is_proxy(peer):
                    with self.admit(peer, close) as of_proxy:
                        of_proxy.waits()
                        peer = await receive_client(accepted) or peer
                with self.admit(peer, close) as place:
                    await self._connection(accepted, peer, place)
        except RequestRefused as refused:
            if self.tls is None:
                _turn_away(accepted, refused)
        except RemoteProtocolError as error:
            self.failed(error.code)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # a proxy that looks only whether somebody listens, or whose place was given away meanwhile

    async def _connection(self, accepted: trio.SocketStream, peer: str, place: Place) -> None:
        tls = None
        if self.tls is not None and (tls := await self._agreed(accepted, self.tls(), place.client)) is None:
            if _is_open(accepted):
                self.failed("TlsHandshake")
            return
        of_server = (MESSAGE_BOUNDS, self.hang_ups, self.readiness)
        stream = ServerStream(accepted, *of_server, place=place, surplus=self.surplus, tls=tls, peer=peer)
        self.streams.add(stream)
        state = ConnectionState({**self.state, STREAM_STATE: stream})
        connection = Http1Connection(self.app, self.config, self.context, state, stream, turns=self.turns)
        try:
            await connection
            await stream.part()
        except* Exception as failures:  # noqa: BLE001 - see serve_asgi
            self.failed(_names(failures))
        finally:
            self.streams.discard(stream)
            stream.abort()
            connection.forget()

    async def _agreed(self, accepted: trio.SocketStream, context: ssl.SSLContext, client: str) -> TlsStream | None:
        """TLS over a connection; None for a peer that does not speak it, or takes longer than HANDSHAKE_S.

        Each step is made in a turn of the client.
        """
        stream = TlsStream(accepted, context)
        with trio.move_on_after(HANDSHAKE_S), suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await stream.do_handshake(partial(self.turns.wait, client))
            return stream
        return None

    async def _cut_stragglers(self) -> None:
        try:
            await self.shutdown.wait()
            await trio.sleep(self.graceful_timeout_s)
        finally:
            with trio.move_on_after(ABORT_AFTER_S, shield=True):
                await self.drained.wait()
            for stream in self.streams:
                stream.abort()


def _peer(accepted: trio.SocketStream) -> str:
    """The address of the peer; "" if it is gone already."""
    try:
        peer: str = accepted.socket.getpeername()[0]
    except OSError:
        return ""
    return peer


def _is_open(accepted: trio.SocketStream) -> bool:
    """Whether the peer still holds the connection: one that left may have looked only whether somebody listens."""
    with suppress(OSError):
        return tcp_state(accepted.socket) not in (TCP_CLOSE, TCP_CLOSE_WAIT)
    return False


def _turn_away(accepted: trio.SocketStream, refused: RequestRefused) -> None:
    """Answer without reading anything, as far as the kernel takes the answer at once, and close."""
    body = json.dumps({"error": str(refused), "code": refused.code})
    head = f"HTTP/1.1 {refused.status} \r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
    with suppress(OSError):
        os.write(accepted.socket.fileno(), f"{head}\r\nconnection: close\r\n\r\n{body}".encode())
        accepted.socket.shutdown(socket.SHUT_WR)
    accepted.socket.close()


def _names(failures: BaseExceptionGroup[BaseException]) -> str:
    """The kinds only: the texts of such errors quote the request."""
    kinds = (_names(one) if isinstance(one, BaseExceptionGroup) else type(one).__name__ for one in failures.exceptions)
    return ", ".join(sorted(set(kinds)))


def _hypercorn_config() -> Config:
    config = Config()
    config.max_app_queue_size = APP_QUEUE_MESSAGES
    config.websocket_ping_interval = None
    config.alpn_protocols = ["http/1.1"]
    config.h11_max_incomplete_size = HEAD_MAX_BYTES
    config.keep_alive_timeout = IDLE_CONNECTION_S
    config.include_server_header = False
    config.accesslog = None
    config.errorlog = logging.getLogger("hypercorn.error")
    return config
