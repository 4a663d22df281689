"""Sends HTTP requests to a peer's REST interface, over one pool of connections."""

import logging
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
"""Answers have some kilobytes; this bounds what one that goes wrong can take of the memory."""
MAX_CONNECTIONS = 100
"""Requests under way at a time; more wait for one of these, within their time-out. One whose answer is waited for after
its caller has gone keeps its connection for that time."""
IDLE_CONNECTIONS = 20
IDLE_CONNECTION_S = 30.0

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
            RemoteProtocolError: the body is longer than RESPONSE_MAX_BYTES.
        """
        request = partial(self._request, "POST", url, headers, json=json, answering=answering, limit_s=answer_timeout_s)
        if not fresh:
            return await request(self._client)
        async with _new_client(self._timeout_s) as client:
            return await request(client)

    async def get(self, url: str, headers: Mapping[str, str] | None = None) -> tuple[int, bytes]:
        """GET; otherwise as `post_json`."""
        return await self._request("GET", url, headers, self._client)

    async def _request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None,
        client: httpx.AsyncClient,
        *,
        json: Any = None,
        answering: Callable[[], None] | None = None,
        limit_s: float | None = None,
    ) -> tuple[int, bytes]:
        limit_s = self._timeout_s if limit_s is None else limit_s
        timeout = httpx.Timeout(self._timeout_s, read=limit_s)
        try:
            with trio.fail_after(limit_s):
                async with client.stream(method, url, headers=headers, json=json, timeout=timeout) as response:
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
    """Cancels the reading when it gets too long: leaving the loop would leave httpx's nested generators open."""
    body = bytearray()
    with trio.CancelScope() as reading:
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > RESPONSE_MAX_BYTES:
                reading.cancel()
    if len(body) > RESPONSE_MAX_BYTES:
        raise RemoteProtocolError("response body too long", "RESPONSE_TOO_LARGE")
    return bytes(body)


def _code(error: Exception) -> str:
    return next((code for kind, code in _CODES if isinstance(error, kind)), "NETWORK_ERROR")


def _host(url: str) -> str:
    try:
        return httpx.URL(url).host or "no host"
    except httpx.InvalidURL:
        return "no host"
