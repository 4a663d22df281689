"""Counts what strangers were refused, and says it in the log, however often they try, in a bounded number of lines.

The first refusal of a kind from a client is a line at once. How many followed is `repeated` of one more line a minute.
Metrics count each.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import structlog
import trio

from relay.errors import RequestRefused
from relay.logic.repeats import Repeats
from relay.metrics import Metrics

WINDOW_S = 60.0
LOOK_EVERY_S = 5.0
KINDS_MAX = 500
"""Kinds of all clients together, and so lines at once in a minute. For those beyond it there is one line of each kind,
with the client `others`."""
KINDS_OF_OTHERS_MAX = 100
OTHERS = "others"

log = structlog.get_logger(__name__)

_client: ContextVar[str] = ContextVar("client", default="unknown")


@contextmanager
def asked_by(client: str) -> Iterator[None]:
    """Refusals in this context, and in tasks that are started in it, are those of this client."""
    token = _client.set(client)
    try:
        yield
    finally:
        _client.reset(token)


@dataclass(frozen=True, slots=True)
class _Line:
    level: str
    event: str
    values: dict[str, Any]

    def write(self, **more: Any) -> None:
        getattr(log, self.level)(self.event, **self.values, **more)


class Refusals:
    """One for the daemon. `run` must run for the counts to be said."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._clients = Repeats[tuple[str, str, str], _Line](window_s=WINDOW_S, max_kinds=KINDS_MAX)
        self._others = Repeats[tuple[str, str], _Line](window_s=WINDOW_S, max_kinds=KINDS_OF_OTHERS_MAX)

    def rejected(self, endpoint: str, reason: str) -> None:
        """Credentials were missing or wrong. Both texts come from fixed lists."""
        self._metrics.auth_rejected.labels(endpoint).inc()
        self.warning("auth.rejected", f"{endpoint} {reason}", endpoint=endpoint, reason=reason)

    def limited(self, limit: str, status: int, code: str, text: str) -> RequestRefused:
        """A limit was reached: `limit` is its key in [limits]. Returns what to raise."""
        self._metrics.limited.labels(limit).inc()
        self.warning("limit.reached", limit, limit=limit)
        return RequestRefused(status, code, text)

    def warning(self, event: str, kind: str, **values: Any) -> None:
        """Any other refusal. `kind` comes from a closed set; the values told are those of the first."""
        self._say("warning", event, kind, values)

    def info(self, event: str, kind: str, **values: Any) -> None:
        """As `warning`, for what peers do every day."""
        self._say("info", event, kind, values)

    async def run(self) -> None:
        """Say the counts when they are due, until cancelled, and what is left of them then."""
        try:
            while True:
                await trio.sleep(LOOK_EVERY_S)
                self._say_counts(trio.current_time())
        finally:
            self._say_counts(float("inf"))

    def _say(self, level: str, event: str, kind: str, values: dict[str, Any]) -> None:
        client, now = _client.get(), trio.current_time()
        line = _Line(level, event, {**values, "client": client})
        done = self._clients.note((event, kind, client), line, now)
        if done == "full":
            line = _Line(level, event, {**values, "client": OTHERS})
            done = self._others.note((event, kind), line, now)
        if done == "tell":
            line.write()

    def _say_counts(self, now: float) -> None:
        for line, repeated in (*self._clients.due(now), *self._others.due(now)):
            line.write(repeated=repeated)
