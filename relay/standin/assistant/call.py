"""A call is what `POST /call` makes: it is queued until its socket is connected, in progress, and ended."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

import trio

from relay.standin.assistant.behaviour import Behaviour
from relay.standin.assistant.conversation import AssistantConversation
from relay.standin.assistant.hooks import Hooks
from relay.standin.assistant.order import Order
from relay.standin.assistant.record import SocketRecord, Track

PICK_UP_S = 15.0
"""A call whose socket is not connected by then is given up."""
_NEVER_CONNECTED = "call.in-progress.error-vapifault-transport-never-connected"


def timestamp() -> str:
    """Now, as Vapi writes it: ISO 8601 with milliseconds, in UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(slots=True)
class AssistantCall:
    """One call: tests and the demo look at it here. Times are on trio's clock.

    `conversation` exists once the socket is connected. `changed` wakes the task that writes to the socket.
    """

    id: str
    order: Order
    behaviour: Behaviour
    record: SocketRecord
    hooks: Hooks | None
    created_s: float
    created_at: str = field(default_factory=timestamp)
    status: Literal["queued", "in-progress", "ended"] = "queued"
    ended_reason: str | None = None
    ended_at: str | None = None
    conversation: AssistantConversation | None = None
    changed: trio.Event = field(default_factory=trio.Event, repr=False)

    @property
    def received(self) -> Track:
        """The caller's audio."""
        return self.record.received

    @property
    def sent(self) -> Track:
        """The assistant's audio."""
        return self.record.sent

    def settle(self, now_s: float) -> None:
        """A call that nobody connected to in time is over."""
        if self.status == "queued" and now_s - self.created_s >= PICK_UP_S:
            self.finish(_NEVER_CONNECTED)

    def connect(self, now_s: float) -> None:
        """The socket is there; only once, and only while `status` is queued."""
        self.status = "in-progress"
        self.conversation = AssistantConversation(self.order, self.behaviour, now_s)

    def disconnected(self) -> None:
        """The socket is gone."""
        ending = self.conversation.ending if self.conversation is not None else None
        self.finish(_NEVER_CONNECTED if self.conversation is None else ending.reason if ending else "worker-shutdown")

    def end(self, reason: str) -> None:
        """The assistant's side ends the call, in order."""
        if self.conversation is None:
            self.finish(reason)
        else:
            self.conversation.end(reason)
        self.wake()

    def drop(self) -> None:
        """The assistant's side vanishes: TCP reset."""
        assert self.conversation is not None
        self.conversation.break_off()
        self.wake()

    def wake(self) -> None:
        """Let the writer look at the conversation now."""
        self.changed.set()

    def finish(self, reason: str) -> None:
        """The call is over, for this reason; the first one stands."""
        if self.status == "ended":
            return
        self.status, self.ended_reason, self.ended_at = "ended", reason, timestamp()
        self.pass_on_hooks()
        if self.hooks is not None:
            self.hooks.put(self.report())
            self.hooks.close()
        self.wake()

    def pass_on_hooks(self) -> None:
        """Hand what the narrator has for the webhook on, or drop it where there is none."""
        if self.conversation is not None:
            waiting = self.conversation.narrator.hooks
            while waiting:
                message = waiting.popleft()
                if self.hooks is not None:
                    self.hooks.put(message)

    def report(self) -> dict[str, Any]:
        """The `end-of-call-report` (Vapi API reference, ServerMessage)."""
        said = self.conversation.narrator.conversation if self.conversation is not None else []
        return {
            "type": "end-of-call-report",
            "endedReason": self.ended_reason,
            "startedAt": self.created_at,
            "endedAt": self.ended_at,
            "artifact": {"messages": said, "transcript": "\n".join(f"{m['role']}: {m['content']}" for m in said)},
        }

    def as_json(self) -> dict[str, Any]:
        """The call as `POST /call` and `GET /call/{id}` show it."""
        value: dict[str, Any] = {
            "id": self.id,
            "orgId": "00000000-0000-4000-8000-000000000000",
            "type": "vapi.websocketCall",
            "createdAt": self.created_at,
            "updatedAt": timestamp(),
            "cost": 0,
            "status": self.status,
            "transport": {"provider": "vapi.websocket"},
        }
        if self.order.assistant_id is not None:
            value["assistantId"] = self.order.assistant_id
        if self.ended_reason is not None:
            value |= {"endedReason": self.ended_reason, "endedAt": self.ended_at}
        return value
