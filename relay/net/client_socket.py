"""Dials a WebSocket: connects, shakes hands with wsproto, and hands the stream to a link."""

import re
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager

import trio
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, RejectConnection, Request
from wsproto.utilities import RemoteProtocolError

from relay.errors import LegLost
from relay.net.dial import Target, dial
from relay.net.link.fragments import MessageBounds
from relay.net.link.link import Link
from relay.net.link.pace import OF_AN_ASSISTANT
from relay.net.link.prompt_stream import RECEIVE_BYTES
from relay.net.link.protocol import Side, WebSocketProtocol

MESSAGE_MAX_BYTES = 8 * 2**20
"""A text message may hold a whole conversation, which nobody bounds."""
BINARY_MAX_BYTES = 2**20
"""A binary message is audio: half a minute of it, at 16 kHz."""
UNREAD_MAX = 16
"""Messages: of the longest texts these are 128 MiB, of audio a third of a second."""

_HEAD_END = re.compile(rb"\n\r?\n")


@asynccontextmanager
async def open_client_socket(
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    connect_timeout_s: float,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Link]:
    """Dial a `ws:` or `wss:` address; on leaving, the connection is closed within about a second.

    The limit covers DNS, TCP, TLS and the handshake. `tls` is for peers the system does not trust.
    What the body raises passes unchanged.

    Raises:
        LegLost: no connection. The text names the host and what failed, never the rest of the URL,
            which is a secret.
    """
    target = Target.parse(url)
    deadline = trio.current_time() + connect_timeout_s
    with _limit(target, deadline):
        stream = await dial(target, tls)
    async with client_socket_over(stream, target, headers=headers, deadline=deadline) as socket:
        yield socket


@asynccontextmanager
async def client_socket_over(
    stream: trio.abc.Stream, target: Target, *, headers: Mapping[str, str] | None = None, deadline: float
) -> AsyncIterator[Link]:
    """`open_client_socket` on a stream that is connected already, which is closed in any case."""
    failure: BaseException | None = None
    try:
        with _limit(target, deadline):
            behind = await _shake_hands(stream, target, headers or {})
        protocol = WebSocketProtocol(Side.CLIENT, MessageBounds(MESSAGE_MAX_BYTES, BINARY_MAX_BYTES), OF_AN_ASSISTANT)
        protocol.feed(behind)
        link = Link(stream, protocol, target.host, unread_max=UNREAD_MAX)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(link.run)
            try:
                yield link
            except BaseException as error:
                failure = error
                raise
            finally:
                await link.close()
                nursery.cancel_scope.cancel()
    except BaseExceptionGroup:
        if failure is None:
            raise
    finally:
        await trio.aclose_forcefully(stream)
    if failure is not None:
        raise failure


async def _shake_hands(stream: trio.abc.Stream, target: Target, headers: Mapping[str, str]) -> bytes:
    """Ask for the WebSocket, and return what came behind the answer (RFC 6455, 4.1). Of a refusal, only the head is
    read, and no more than 16 KiB of it. Raises LegLost when there is none."""
    connection = WSConnection(ConnectionType.CLIENT)
    extra = [(name.encode(), value.encode()) for name, value in headers.items()]
    request = Request(host=target.host_header, target=target.resource, extra_headers=extra)
    answer = b""
    try:
        await stream.send_all(connection.send(request))
        while data := await stream.receive_some(RECEIVE_BYTES):
            answer += data
            connection.receive_data(bytes(data))
            match next(connection.events(), None):
                case AcceptConnection():
                    head = _HEAD_END.search(answer)
                    return answer[head.end() :] if head else b""
                case RejectConnection():
                    break
    except (RemoteProtocolError, trio.BrokenResourceError):
        pass
    raise LegLost(f"{target.host}: {_refusal(answer)}")


def _refusal(answer: bytes) -> str:
    status = re.match(rb"HTTP/1\.[01] (\d{3})", answer)
    if status is None:
        return "no WebSocket handshake" if answer else "closed during the handshake"
    return "bad WebSocket handshake" if status[1] == b"101" else f"HTTP {status[1].decode()}"


@contextmanager
def _limit(target: Target, deadline: float) -> Iterator[None]:
    with trio.CancelScope(deadline=deadline) as scope:
        yield
    if scope.cancelled_caught:
        raise LegLost(f"{target.host}: no answer in time")
