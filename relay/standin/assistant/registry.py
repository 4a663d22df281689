"""The registry keeps the calls of an assistant, finds and lists them, and says how many of them are active."""

import operator
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from relay.standin.assistant.call import AssistantCall

_KEEP_CALLS = 1000
_LIST_LIMIT = (0, 1000)
_LIST_DEFAULT = 100
_COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "Gt": operator.gt,
    "Lt": operator.lt,
    "Ge": operator.ge,
    "Le": operator.le,
}


class BadQuery(Exception):
    """The query of `GET /call` is wrong; it is answered with 400 and this text."""


class Registry:
    """`calls` holds the newest 1000 calls, and older ones that go on, oldest first, by their ids."""

    def __init__(self) -> None:
        self.calls: dict[str, AssistantCall] = {}

    def keep(self, call: AssistantCall) -> None:
        """Add a call; the oldest that have ended are forgotten."""
        self.calls[call.id] = call
        for old in list(self.calls.values())[:-_KEEP_CALLS]:
            if old.status == "ended":
                del self.calls[old.id]

    def active(self, now_s: float) -> int:
        """How many calls hold a place: they have not ended, and do not wait for one."""
        for call in self.calls.values():
            call.settle(now_s)
        return sum(call.status != "ended" and not call.blocked for call in self.calls.values())

    def unblock(self, now_s: float) -> None:
        """Give the places that are free to those who wait for one, oldest first."""
        active = self.active(now_s)
        for call in self.calls.values():
            if call.blocked and call.status == "queued" and active < call.behaviour.concurrency_limit:
                call.unblock(now_s)
                active += 1

    def find(self, call_id: str) -> AssistantCall | None:
        """The call with this id, unless its record was erased."""
        call = self.calls.get(call_id)
        return None if call is None or call.erased else call

    def select(self, query: Mapping[str, str]) -> list[AssistantCall]:
        """The calls that `GET /call` lists for its query, newest first. Raises `BadQuery`."""
        limit = _limit(query.get("limit", str(_LIST_DEFAULT)))
        chosen = [call for call in self.calls.values() if not call.erased and _matches(call, query)]
        return chosen[::-1][:limit]


def _limit(text: str) -> int:
    try:
        limit = float(text)
    except ValueError:
        raise BadQuery("limit must be a number") from None
    low, high = _LIST_LIMIT
    if not low <= limit <= high:
        raise BadQuery(f"limit must be {low} to {high}")
    return int(limit)


def _matches(call: AssistantCall, query: Mapping[str, str]) -> bool:
    wanted = {"id": call.id, "assistantId": call.order.assistant_id, "phoneNumberId": None}
    if any(key in query and query[key] != value for key, value in wanted.items()):
        return False
    times = {"createdAt": call.created_at, "updatedAt": call.updated_at}
    return all(
        compare(_time(own), _time(query[name + suffix]))
        for name, own in times.items()
        for suffix, compare in _COMPARISONS.items()
        if name + suffix in query
    )


def _time(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise BadQuery(f"{text} is no ISO 8601 time") from None
    return time if time.tzinfo is not None else time.astimezone()
