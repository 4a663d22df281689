"""The webhooks of a call are posted here, one after the other and in order (Vapi server URL guide)."""

import math
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

import httpx
import trio

_QUEUE = 256
_TIMEOUT_S = 20.0


class Hooks:
    """The webhooks of one call. What cannot be delivered, or does not fit into the queue, is counted and dropped.

    `server` is the `server` of the order: `url`, and perhaps `secret`, `headers` and `timeoutSeconds`.
    """

    def __init__(self, server: Mapping[str, Any], call_id: str, counts: Counter[str]) -> None:
        self._url = str(server["url"])
        self._headers = {**server.get("headers", {}), "x-call-id": call_id}
        if "secret" in server:
            self._headers["x-vapi-secret"] = str(server["secret"])
        self._timeout_s = float(server.get("timeoutSeconds", _TIMEOUT_S))
        self._call_id = call_id
        self._counts = counts
        self._send, self._receive = trio.open_memory_channel[dict[str, Any]](_QUEUE)

    def put(self, message: dict[str, Any]) -> None:
        """Queue a message, with the time and the call's id added."""
        stamped = {**message, "timestamp": math.floor(time.time() * 1000), "call": {"id": self._call_id}}
        try:
            self._send.send_nowait({"message": stamped})
        except trio.WouldBlock:
            self._counts["dropped"] += 1

    def close(self) -> None:
        """Nothing follows: `deliver` ends when the queue is empty."""
        self._send.close()

    async def deliver(self, client: httpx.AsyncClient) -> None:
        """Post what is queued until the queue is closed and empty. Cancelled, the rest is lost."""
        async for body in self._receive:
            try:
                answer = await client.post(self._url, json=body, headers=self._headers, timeout=self._timeout_s)
            except (httpx.HTTPError, httpx.InvalidURL):
                self._counts["failed"] += 1
            else:
                self._counts["delivered" if answer.is_success else "failed"] += 1
