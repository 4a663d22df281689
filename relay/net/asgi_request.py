"""One HTTP request that hypercorn hands over, without a framework: bodies are read as far as they are wanted.

Quart reads a body whole, up to one limit for all addresses, with two tasks around each request. Audio wants neither.
"""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from typing import Any
from urllib.parse import parse_qsl

import trio

from relay.errors import LegLost, RemoteProtocolError, RequestRefused
from relay.net.asgi_socket import Receive, Scope, Send

BODY_TIMEOUT_S = 10.0
"""For the whole body: at most 10 MB, which takes a second at 80 Mbit/s."""
PROMPT_S = 0.5
"""What has not come by then is a slow body, of which there may only be so many."""
UNREAD_MAX_BYTES = 2**18
UNREAD_TIMEOUT_S = 5.0
"""What is left of a body that nobody wants is still read, so much of it and so long, and thrown away: a client that is
cut off while it sends never sees the answer."""

Slow = Callable[[], AbstractAsyncContextManager[None]]
"""Gives a place to a body that takes longer than PROMPT_S, or raises RequestRefused."""


class AsgiRequest:
    """ASGI 3.0, "HTTP". Read the body, if at all, before `answer`, which comes once.

    `client` is whose request it is. `slow` is asked for a place when the body is slow.
    """

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        slow: Slow = nullcontext,
    ) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.client: str = scope["client"][0]
        self._query: bytes = scope["query_string"]
        self._headers: list[tuple[bytes, bytes]] = list(scope["headers"])
        self._receive = receive
        self._send = send
        self.slow = slow
        self._peeked = b""
        self._body_over = False
        self._body_began_at: float | None = None
        self._given_up = False
        self._uninvited = (self.header("expect") or "").lower() == "100-continue"

    def header(self, name: str) -> str | None:
        """The values of the headers of that name, in any case of letters, joined by commas; None if there is none."""
        wanted = name.lower().encode("latin-1")
        values = [value.decode("latin-1") for key, value in self._headers if key.lower() == wanted]
        return ", ".join(values) if values else None

    def query(self, name: str) -> str | None:
        """The first value of that name in the query, or None."""
        try:
            pairs = parse_qsl(self._query.decode("latin-1"), keep_blank_values=True, max_num_fields=20)
        except ValueError:
            return None
        return next((value for key, value in pairs if key == name), None)

    @property
    def content_length(self) -> int | None:
        """What the client announces, if it does."""
        text = self.header("content-length") or ""
        return int(text) if text.isascii() and text.isdigit() else None

    async def peek(self, n_bytes: int, limit_bytes: int) -> bytes:
        """The first bytes of the body, `n_bytes` of them if it has so many. They can still be read or counted.

        `limit_bytes` is that of the whole body. Raises as `read`.
        """
        head = bytearray()

        def is_enough(part: bytes) -> bool:
            head.extend(part)
            return len(head) >= n_bytes

        await self._read_until(is_enough, limit_bytes)
        self._peeked = bytes(head)
        return self._peeked[:n_bytes]

    async def read(self, limit_bytes: int) -> bytes:
        """The whole body.

        Raises:
            RemoteProtocolError: BODY_TOO_LARGE, before anything is read if it is announced, or BODY_TIMEOUT.
            RequestRefused: there is no place for one more slow body.
            LegLost: the client went away in the middle.
        """
        body = bytearray()
        await self._read_until(body.extend, limit_bytes)
        return bytes(body)

    async def count(self, limit_bytes: int) -> int:
        """How long the body is, without keeping it. Raises as `read`."""
        return await self._read_until(lambda _: None, limit_bytes)

    async def wait_gone(self) -> None:
        """Return when the client has gone away. What is left of the body is thrown away."""
        try:
            while await self._next_part() is not None:
                pass
        except LegLost:
            return
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def cancel_when_gone(self, scope: trio.CancelScope) -> None:
        """Cancel what is done for the client once it has gone away. As `wait_gone`."""
        await self.wait_gone()
        scope.cancel()

    async def answer(
        self, status: int, body: bytes, content_type: str = "application/json", headers: Mapping[str, str] | None = None
    ) -> None:
        """Send the answer whole. A client that is gone is no error.

        A client that waits to be asked for the body (`Expect: 100-continue`), and was not, has the answer before that.
        """
        lines = {"content-type": content_type, "cache-control": "no-store"}
        if status != 304:
            lines["content-length"] = str(len(body))
        lines |= {name.lower(): value for name, value in (headers or {}).items()}
        answer_first = self._uninvited
        if not answer_first and not await self._finish_body():
            lines["connection"] = "close"
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in lines.items()]
        with trio.CancelScope(shield=True):
            await self._send({"type": "http.response.start", "status": status, "headers": raw})
            sent = b"" if self.method == "HEAD" else body
            await self._send({"type": "http.response.body", "body": sent, "more_body": answer_first})
        if answer_first:
            await self._finish_body()
            await self.send_part(b"", last=True)

    async def begin(self, content_type: str, headers: Mapping[str, str] | None = None) -> None:
        """Answer 200 with a body that comes in parts and has no length. The client must not have sent a body.

        Proxies are asked not to collect the parts (nginx, "proxy_buffering").
        """
        lines = {"content-type": content_type, "cache-control": "no-store", "x-accel-buffering": "no"}
        lines |= {name.lower(): value for name, value in (headers or {}).items()}
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in lines.items()]
        with trio.CancelScope(shield=True):
            await self._send({"type": "http.response.start", "status": 200, "headers": raw})

    async def send_part(self, part: bytes, *, last: bool = False) -> None:
        """Send the next part. A client that is gone is no error; one that does not read is cut off by the kernel."""
        with trio.CancelScope(shield=True):
            await self._send({"type": "http.response.body", "body": part, "more_body": not last})

    async def _read_until(self, is_enough: Callable[[bytes], bool | None], limit_bytes: int) -> int:
        """Give each part to `is_enough`, until it says so or the body is over. Returns how many bytes these were."""
        if (self.content_length or 0) > limit_bytes:
            raise _too_large(limit_bytes)
        received = 0

        async def read() -> None:
            nonlocal received
            while (part := await self._next_part()) is not None:
                received += len(part)
                if received > limit_bytes:
                    raise _too_large(limit_bytes)
                if is_enough(part):
                    break

        if self._body_began_at is None:
            self._body_began_at = trio.current_time()
        if not await self._in_time(read, self._body_began_at, BODY_TIMEOUT_S):
            raise _timed_out()
        return received

    async def _in_time(self, read: Callable[[], Awaitable[None]], began_at: float, limit_s: float) -> bool:
        """Read until `limit_s` after `began_at`, from PROMPT_S on in a place of the slow. Whether that was enough; if
        not, or when there is no place, what is left of the body is given up."""
        with trio.move_on_at(began_at + PROMPT_S):
            await read()
            return True
        self._given_up = True
        async with self.slow():
            self._given_up = False
            with trio.move_on_at(began_at + limit_s):
                await read()
                return True
        self._given_up = True
        return False

    async def _next_part(self) -> bytes | None:
        if self._peeked:
            part, self._peeked = self._peeked, b""
            return part
        if self._body_over:
            return None
        self._uninvited = False
        event: Any = await self._receive()
        if event["type"] == "http.disconnect":
            self._body_over = True
            raise LegLost("the client went away")
        self._body_over = not event.get("more_body", False)
        body: bytes = event.get("body", b"")
        return body

    async def _finish_body(self) -> bool:
        """Whether the body has been read to its end."""
        unread = 0

        async def throw_away() -> None:
            nonlocal unread
            while unread <= UNREAD_MAX_BYTES and (part := await self._next_part()) is not None:
                unread += len(part)

        if not (self._body_over or self._given_up):
            with suppress(LegLost, RequestRefused):
                await self._in_time(throw_away, trio.current_time(), UNREAD_TIMEOUT_S)
        return self._body_over


def _timed_out() -> RemoteProtocolError:
    return RemoteProtocolError("the body did not arrive in time: send it again", "BODY_TIMEOUT")


def _too_large(limit_bytes: int) -> RemoteProtocolError:
    return RemoteProtocolError(f"the body is too long: at most {limit_bytes} bytes", "BODY_TOO_LARGE")
