"""The webhooks of a call are posted here, one after the other and in order (Vapi server URL guide)."""

import json
import math
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import httpx
import trio

from relay.standin.assistant.credentials import Credential

_QUEUE = 256
_TIMEOUT_S = 20.0

Reply = dict[str, Any] | None
"""The answer to a webhook that needs one; None: there was none that Vapi would take."""


class Hooks:
    """The webhooks of one call. What cannot be delivered, or does not fit into the queue, is counted and dropped.

    `server` is the `server` of the order: `url`, and perhaps `secret`, `headers`, `timeoutSeconds` and `backoffPlan`,
    without which nothing is sent again. A webhook that is sent again is the same, but for its signature.
    """

    def __init__(
        self, server: Mapping[str, Any], call_id: str, counts: Counter[str], credential: Credential | None = None
    ) -> None:
        self._url = str(server["url"])
        self._headers = {"content-type": "application/json", **server.get("headers", {}), "x-call-id": call_id}
        if "secret" in server:
            self._headers["x-vapi-secret"] = str(server["secret"])
        self._timeout_s = float(server.get("timeoutSeconds", _TIMEOUT_S))
        self._plan = server.get("backoffPlan") or {}
        self._counts = counts
        self._credential = credential
        self._send, self._receive = trio.open_memory_channel[tuple[bytes, Callable[[Reply], None] | None]](_QUEUE)

    def put(self, message: dict[str, Any], reply: Callable[[Reply], None] | None = None) -> None:
        """Queue a message, with the time added. `reply` gets its answer, once it has been delivered or has failed."""
        stamped = {**message, "timestamp": math.floor(time.time() * 1000)}
        try:
            self._send.send_nowait((json.dumps({"message": stamped}).encode(), reply))
        except trio.WouldBlock:
            self._counts["dropped"] += 1
            if reply is not None:
                reply(None)

    def close(self) -> None:
        """Nothing follows: `deliver` ends when the queue is empty."""
        self._send.close()

    async def deliver(self, client: httpx.AsyncClient) -> None:
        """Post what is queued until the queue is closed and empty. Cancelled, the rest is lost."""
        async for body, reply in self._receive:
            answer = await self._deliver_one(client, body)
            delivered = answer is not None and answer.is_success
            self._counts["delivered" if delivered else "failed"] += 1
            if reply is not None:
                reply(_reply(answer))

    async def _deliver_one(self, client: httpx.AsyncClient, body: bytes) -> httpx.Response | None:
        retries, base_s = int(self._plan.get("maxRetries", 0)), float(self._plan.get("baseDelaySeconds", 0))
        growth = 2.0 if self._plan.get("type") == "exponential" else 1.0
        answer = await self._post(client, body)
        for retry in range(retries):
            if answer is not None and (answer.is_success or answer.status_code in self._excluded):
                break
            await trio.sleep(base_s * growth**retry)
            self._counts["retried"] += 1
            answer = await self._post(client, body)
        return answer

    @property
    def _excluded(self) -> list[int]:
        return self._plan.get("excludedStatusCodes") or []

    async def _post(self, client: httpx.AsyncClient, body: bytes) -> httpx.Response | None:
        signed = {} if self._credential is None else self._credential.headers("POST", self._url, body, time.time())
        # A header of the order overrides that of the credential.
        names = {name.lower() for name in self._headers}
        headers = {**self._headers, **{name: value for name, value in signed.items() if name.lower() not in names}}
        try:
            return await client.post(self._url, content=body, headers=headers, timeout=self._timeout_s)
        except (httpx.HTTPError, httpx.InvalidURL):
            return None


def _reply(answer: httpx.Response | None) -> Reply:
    """Only the answer with 200 counts: Vapi ignores the body of any other."""
    if answer is None or answer.status_code != 200:
        return None
    try:
        value = answer.json()
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
