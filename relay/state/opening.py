"""Opens the store that the configuration names in `state.url`."""

import os
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress

from relay.errors import ConfigError, StateUnavailable
from relay.metrics import Metrics
from relay.state.backend import Backend
from relay.state.memory import MemoryBackend
from relay.state.sqlite import SqliteBackend, file_of
from relay.state.store import TIMEOUT_S, StateStore, inline, one_worker


@asynccontextmanager
async def open_store(
    url: str,
    metrics: Metrics,
    *,
    password: str | None = None,
    timeout_s: float = TIMEOUT_S,
    environ: Mapping[str, str] = os.environ,
) -> AsyncIterator[StateStore]:
    """Open the store that `url` names, and try it: "memory:", "sqlite:[PATH]", "redis://..." or "rediss://...".

    `password` is for Redis. On leaving, the store is closed. A file that cannot be used, or a server that does not
    answer, may be mended while the relay runs: it is logged, and tried again with the next operation. An address of no
    kind that is known raises `ConfigError`.
    """
    store = StateStore(
        _backend(url, password, timeout_s, environ),
        metrics,
        executor=inline if url.startswith("memory:") else one_worker(),
        timeout_s=timeout_s,
    )
    try:
        with suppress(StateUnavailable):
            await store.beat()
        yield store
    finally:
        await store.aclose()


def _backend(url: str, password: str | None, timeout_s: float, environ: Mapping[str, str]) -> Backend:
    owner = secrets.token_hex(8)
    scheme, _, rest = url.partition(":")
    match scheme:
        case "memory":
            return MemoryBackend(owner)
        case "sqlite":
            return SqliteBackend(owner, file_of(rest, environ))
        case "redis" | "rediss":
            from relay.state.redis import RedisBackend  # noqa: PLC0415 - 6 MB that only its users need

            # Half of the store's deadline each, for the two tries of the client.
            return RedisBackend(owner, url, password=password, timeout_s=timeout_s / 2)
    raise ConfigError(f"state.url is {url!r}, must begin with memory:, sqlite:, redis: or rediss:")
