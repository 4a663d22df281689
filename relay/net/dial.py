"""Connects to a peer by TCP, with TLS where its address asks for it."""

import errno
import re
import socket
import ssl
from dataclasses import dataclass
from urllib.parse import urlsplit

import trio

from relay.errors import LegLost
from relay.net.link.prompt_stream import TlsStream
from relay.net.transport import default_tls, guard_tcp

_PORTS = {"ws": 80, "wss": 443}
_RESOURCE = re.compile(r"[!-~]+")
"""A request has no others (RFC 3986, section 2)."""


@dataclass(frozen=True, slots=True)
class Target:
    """The parts of a WebSocket address (RFC 6455, section 3). `resource` is a secret: never show it."""

    host: str
    port: int
    resource: str
    secure: bool

    @classmethod
    def parse(cls, url: str) -> "Target":
        """Raises LegLost, without quoting the address, when it is none."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise LegLost("not a WebSocket address") from None
        if parts.scheme not in _PORTS or not parts.hostname:
            raise LegLost("not a WebSocket address")
        resource = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        if not _RESOURCE.fullmatch(resource):
            raise LegLost("not a WebSocket address")
        return cls(parts.hostname, port or _PORTS[parts.scheme], resource, parts.scheme == "wss")

    @property
    def host_header(self) -> str:
        """The value of the `Host` header, with the port only when it is not the usual one."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS["wss" if self.secure else "ws"] else f"{host}:{self.port}"


async def dial(target: Target, tls: ssl.SSLContext | None) -> trio.abc.Stream:
    """Connect, with TLS done and verified where `target` is secure. No limit of its own.

    Raises LegLost with the host and the reason. Cancelled, nothing stays open.
    """
    try:
        stream = await trio.open_tcp_stream(target.host, target.port)
    except OSError as error:
        raise LegLost(f"{target.host}: no connection ({_network_reason(error)})") from None
    except UnicodeError:  # a part of it is empty, or longer than 63 characters (RFC 1035, 2.3.4)
        raise LegLost(f"{target.host}: no connection (not a name)") from None
    try:
        guard_tcp(stream)
        return await _secure(stream, target, tls or default_tls()) if target.secure else stream
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise


async def _secure(stream: trio.SocketStream, target: Target, tls: ssl.SSLContext) -> trio.abc.Stream:
    secured = TlsStream(stream, tls, target.host)
    try:
        await secured.do_handshake()
    except trio.BrokenResourceError as error:
        reason = getattr(error.__cause__, "reason", None) or "connection broken"
        raise LegLost(f"{target.host}: TLS failed ({reason})") from None
    return secured


def _network_reason(error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return "name not found"
    cause: BaseException | None = error.__cause__
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    number = cause.errno if isinstance(cause, OSError) else error.errno
    return errno.errorcode.get(number or 0, "unreachable")
