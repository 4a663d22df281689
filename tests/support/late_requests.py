"""Requests that come too early, and then wait for as long as a test likes."""

from dataclasses import dataclass, field
from typing import Any

import pytest
import trio

from relay.daemon import limits as limits_module
from relay.daemon.limits import Limits, Pause

FEW: dict[str, Any] = {"requests_burst": 8, "requests_per_s": 1.0, "max_calls": 1}
"""With these keys ten requests of an address may come at once, and two a second."""


@dataclass
class Waits:
    """With these keys of [limits] ten requests may come at once, and the next wait for minutes: `begun` says that one
    does."""

    keys: dict[str, Any] = field(default_factory=lambda: FEW | {"requests_per_s": 0.001})
    begun: trio.Event = field(default_factory=trio.Event)


def late_requests(monkeypatch: pytest.MonkeyPatch) -> Waits:
    """Have those wait that come too early, for as long as the test lasts."""
    found, pause_of = Waits(), Limits.pause

    def noted(limits: Limits, peer: str, client: str, pause: Pause) -> Pause:
        async def note(seconds: float) -> None:
            found.begun.set()
            await pause_of(limits, peer, client, pause)(seconds)

        return note

    monkeypatch.setattr(limits_module, "LATE_S", 600.0)
    monkeypatch.setattr(limits_module, "REQUESTS_OF_A_CALL_PER_S", 0.0)
    monkeypatch.setattr(Limits, "pause", noted)
    return found
