"""Sends HTTP requests to a peer's REST interface, over one pool of connections."""

import logging
import zlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import httpx
import trio

from relay import __version__
from relay.errors import LegLost, RemoteProtocolError
from relay.net.transport import default_tls

RESPONSE_MAX_BYTES = 2**20
"""Answers have some kilobytes; this bounds what one that goes wrong can take of the memory, compressed or not."""
MAX_CONNECTIONS = 100
"""Requests under way at a time; more wait for one of these, within their time-out. One whose answer is waited for after
its caller has gone keeps its connection for that time."""
IDLE_CONNECTIONS = 20
IDLE_CONNECTION_S = 30.0

_WINDOW_BITS = {"gzip": zlib.MAX_WBITS | 16, "x-gzip": zlib.MAX_WBITS | 16, "deflate": zlib.MAX_WBITS}
"""How zlib is told the form of what it reads."""

_CODES: tuple[tuple[type[Exception], str], ...] = (
    (httpx.ConnectTimeout, "CONNECT_TIMEOUT"),
    (httpx.PoolTimeout, "POOL_TIMEOUT"),
    (httpx.TimeoutException, "TIMEOUT"),
    (httpx.ConnectError, "CONNECT_FAILED"),
    (httpx.UnsupportedProtocol, "BAD_ADDRESS"),
    (httpx.InvalidURL, "BAD_ADDRESS"),
)


class RestClient:
    """Shared by all calls; made by `open_rest_client`. Redirects are answers like any other."""

    def __init__(self, client: httpx.AsyncClient, timeout_s: float) -> None:
        self._client = client
        self._timeout_s = timeout_s

    async def post_json(
        self,
        url: str,
        json: Any,
        headers: Mapping[str, str] | None = None,
        *,
        fresh: bool = False,
        answering: Callable[[], None] | None = None,
        answer_timeout_s: float | None = None,
    ) -> tuple[int, bytes]:
        """POST `json`; the status and the body, whatever the status is.

        Args:
            fresh: over a connection of its own, not one that other requests have left open.
            answering: called once the head of the answer is there.
            answer_timeout_s: the limit of the request in place of the client's, which holds for the connection still.

        Raises:
            LegLost: no answer. The text is a code and the host, never the rest of the URL.
            RemoteProtocolError: the body is longer than RESPONSE_MAX_BYTES, or compressed in a way that cannot be read,
                though none was asked for.
        """
        request = partial(self._request, "POST", url, headers, json=json, answering=answering, limit_s=answer_timeout_s)
        if not fresh:
            return await request(self._client)
        async with _new_client(self._timeout_s) as client:
            return await request(client)

    async def get(self, url: str, headers: Mapping[str, str] | None = None) -> tuple[int, bytes]:
        """GET; otherwise as `post_json`."""
        return await self._request("GET", url, headers, self._client)

    async def post_form(
        self, url: str, form: Mapping[str, str], headers: Mapping[str, str] | None = None
    ) -> tuple[int, bytes]:
        """POST `form`, URL-encoded; otherwise as `post_json`."""
        return await self._request("POST", url, headers, self._client, form=form)

    async def post_bytes(
        self, url: str, body: bytes, headers: Mapping[str, str], *, answer_timeout_s: float | None = None
    ) -> tuple[int, bytes]:
        """POST `body` as it is, with the Content-Type among the headers; otherwise as `post_json`."""
        return await self._request("POST", url, headers, self._client, content=body, limit_s=answer_timeout_s)

    async def delete(self, url: str, headers: Mapping[str, str] | None = None) -> tuple[int, bytes]:
        """DELETE; otherwise as `post_json`."""
        return await self._request("DELETE", url, headers, self._client)

    async def _request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None,
        client: httpx.AsyncClient,
        *,
        json: Any = None,
        form: Mapping[str, str] | None = None,
        content: bytes | None = None,
        answering: Callable[[], None] | None = None,
        limit_s: float | None = None,
    ) -> tuple[int, bytes]:
        limit_s = self._timeout_s if limit_s is None else limit_s
        timeout = httpx.Timeout(self._timeout_s, read=limit_s)
        try:
            with trio.fail_after(limit_s):
                async with client.stream(
                    method, url, headers=headers, json=json, data=form, content=content, timeout=timeout
                ) as response:
                    if answering is not None:
                        answering()
                    return response.status_code, await _bounded_body(response)
        except trio.TooSlowError:
            raise LegLost(f"TIMEOUT {_host(url)}") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise LegLost(f"{_code(error)} {_host(url)}") from None


@asynccontextmanager
async def open_rest_client(timeout_s: float) -> AsyncIterator[RestClient]:
    """A client whose requests take at most `timeout_s` each, body included. No proxy is taken from the environment."""
    for name in ("httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.WARNING)  # below it they log addresses and headers, which are secrets
    async with _new_client(timeout_s) as client:
        yield RestClient(client, timeout_s)


def _new_client(timeout_s: float) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        verify=default_tls(),
        timeout=timeout_s,
        limits=httpx.Limits(
            max_connections=MAX_CONNECTIONS,
            max_keepalive_connections=IDLE_CONNECTIONS,
            keepalive_expiry=IDLE_CONNECTION_S,
        ),
        headers={"User-Agent": f"relay/{__version__}", "Accept-Encoding": "identity"},
        follow_redirects=False,
        trust_env=False,
    )


async def _bounded_body(response: httpx.Response) -> bytes:
    """Read the body as it was sent, because httpx would inflate each part whole, a thousandfold if need be.

    Cancels the reading when it gets too long: leaving the loop would leave httpx's nested generators open.
    """
    body = bytearray()
    with trio.CancelScope() as reading:
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > RESPONSE_MAX_BYTES:
                reading.cancel()
    coding = response.headers.get("content-encoding", "identity").lower()
    plain = bytes(body) if coding == "identity" else _inflated(bytes(body[: RESPONSE_MAX_BYTES + 1]), coding)
    if max(len(body), len(plain)) > RESPONSE_MAX_BYTES:
        raise RemoteProtocolError("response body too long", "RESPONSE_TOO_LARGE")
    return plain


def _inflated(body: bytes, coding: str) -> bytes:
    """The content of a body that was compressed (RFC 9110, 8.4.1), one byte more than RESPONSE_MAX_BYTES at most."""
    if coding not in _WINDOW_BITS:
        raise RemoteProtocolError(f"response compressed by {coding[:20]!r}", "RESPONSE_UNREADABLE")
    try:
        return zlib.decompressobj(_WINDOW_BITS[coding]).decompress(body, RESPONSE_MAX_BYTES + 1)
    except zlib.error:
        raise RemoteProtocolError(f"response is no {coding}", "RESPONSE_UNREADABLE") from None


def _code(error: Exception) -> str:
    return next((code for kind, code in _CODES if isinstance(error, kind)), "NETWORK_ERROR")


def _host(url: str) -> str:
    try:
        return httpx.URL(url).host or "no host"
    except httpx.InvalidURL:
        return "no host"
