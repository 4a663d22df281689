"""Says how many descriptors a configuration can need, and lets the process have so many.

Where nobody has set it otherwise, a process may have 1,024, and raise that itself to a hard limit that is far higher:
the soft one is for programs that use select(2), which breaks beyond it, and the relay uses none.
"""

import resource
from contextlib import suppress

import structlog

from relay.config import Config
from relay.daemon.limits import CONNECTIONS_OF_A_CALL
from relay.net import rest
from relay.net.accept import RESERVE_MAX

ASSISTANT_SOCKETS_OF_A_CALL = 2
"""That of its assistant, and of the one that follows."""
OWN = 64
"""The log, the listening socket, the state store, the event loop."""

log = structlog.get_logger(__name__)


def make_room(config: Config) -> int:
    """Let this process have what the configuration can need, or say that it cannot; returns how many it may have."""
    needed = descriptors_needed(config)
    limit = raise_descriptor_limit(needed)
    if limit < needed:
        log.warning("daemon.few_descriptors", limit=limit, needed=needed)
    return limit


def descriptors_needed(config: Config) -> int:
    """How many there are when all places of [limits] are taken, and what is kept for calls that run."""
    of_a_call = CONNECTIONS_OF_A_CALL + ASSISTANT_SOCKETS_OF_A_CALL
    requests = rest.MAX_CONNECTIONS * len(config.assistants)
    return config.limits.connections + of_a_call * config.limits.calls + requests + OWN + RESERVE_MAX


def raise_descriptor_limit(needed: int) -> int:
    """Let this process have `needed` descriptors, or as many as its hard limit allows; it keeps a limit that is higher.

    Returns how many it may have now.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max(soft, min(needed, hard))
    with suppress(OSError, ValueError):  # a filter of system calls may forbid it, as that of our own unit does
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
