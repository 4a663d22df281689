"""A call is what `POST /call` makes: it is queued until its socket is connected, in progress, and ended.

A call whose socket was closed may go on without one (`Behaviour.ends_with_socket`): it is billed and holds its place
until `end-call` comes to its control URL, or nobody has spoken for as long as was ordered.
"""

import math
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, Literal

import trio

from relay.standin.assistant import bodies
from relay.standin.assistant.acts import REQUESTS
from relay.standin.assistant.behaviour import Behaviour
from relay.standin.assistant.conversation import AssistantConversation
from relay.standin.assistant.hooks import Hooks, Reply
from relay.standin.assistant.inbound import END_CALL, Message
from relay.standin.assistant.order import Order
from relay.standin.assistant.record import SocketRecord, Track

_NEVER_CONNECTED = "call.in-progress.error-vapifault-transport-never-connected"


def timestamp() -> str:
    """Now, as Vapi writes it: ISO 8601 with milliseconds, in UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(slots=True)
class AssistantCall:
    """One call: tests and the demo look at it here. Times are on trio's clock.

    `conversation` exists once the socket is connected. `changed` wakes the task that writes to the socket. `host`: host
    and port at which the client found the assistant. `blocked`: it waits for a place among the active calls. `lost_s`:
    when the socket of a call that goes on was closed. `erased`: its record was deleted.
    """

    id: str
    order: Order
    behaviour: Behaviour
    record: SocketRecord
    hooks: Hooks | None
    created_s: float
    host: str = "127.0.0.1"
    blocked: bool = False
    erased: bool = False
    lost_s: float | None = None
    created_at: str = field(default_factory=timestamp)
    updated_at: str = field(default_factory=timestamp)
    started_at: str | None = None
    name: str | None = field(init=False)
    status: Literal["queued", "in-progress", "ended"] = "queued"
    ended_reason: str | None = None
    ended_at: str | None = None
    conversation: AssistantConversation | None = None
    changed: trio.Event = field(default_factory=trio.Event, repr=False)

    def __post_init__(self) -> None:
        self.name = self.order.name

    @property
    def assistant_id(self) -> str | None:
        """The assistant on the line: the one that was ordered, or the one that it handed the call to."""
        return self.order.assistant_id if self.conversation is None else self.conversation.narrator.assistant_id

    @property
    def duration_s(self) -> float:
        """How long the call was in progress."""
        if self.started_at is None or self.ended_at is None:
            return 0.0
        return (datetime.fromisoformat(self.ended_at) - datetime.fromisoformat(self.started_at)).total_seconds()

    @property
    def socket_url(self) -> str:
        """The address of the socket: whoever has it has the call."""
        return f"ws://{self.host}/{self.id}/transport"

    @property
    def monitor(self) -> dict[str, str]:
        """The control URL, a capability like the socket's, and the URL to listen at, where nothing is served here."""
        return {
            "listenUrl": f"ws://{self.host}/{self.id}/listen",
            "controlUrl": f"http://{self.host}/{self.id}/control",
        }

    @property
    def times_out_s(self) -> float:
        """When a call ends if nothing happens to it."""
        if self.lost_s is not None:
            return self.lost_s + self.order.silence_timeout_s
        is_waited_for = self.status == "queued" and not self.blocked
        return self.created_s + self.behaviour.unsettled.pick_up_s if is_waited_for else math.inf

    @property
    def received(self) -> Track:
        """The caller's audio."""
        return self.record.received

    @property
    def sent(self) -> Track:
        """The assistant's audio."""
        return self.record.sent

    def settle(self, now_s: float) -> None:
        """End the call if nobody connected to it in time, or if it has been alone for too long."""
        if self.status != "ended" and now_s >= self.times_out_s:
            self.finish(_NEVER_CONNECTED if self.lost_s is None else "silence-timed-out")

    def rename(self, name: str | None) -> None:
        """Give the call another name, the only thing of it that can be changed."""
        self.name, self.updated_at = name, timestamp()

    def unblock(self, now_s: float) -> None:
        """There is a place for it: from now on it waits for its socket."""
        self.blocked = False
        self.created_s = now_s

    def takes_socket(self, now_s: float) -> bool:
        """Whether a socket may be connected now: the first one, or another where a lost one may be replaced."""
        if self.lost_s is not None and self.status == "in-progress":
            return now_s - self.lost_s < self.behaviour.unsettled.redial_s
        return self.status == "queued" and not self.blocked

    def connect(self, now_s: float) -> None:
        """The socket is there, see `takes_socket`."""
        self.status, self.lost_s = "in-progress", None
        self.started_at = self.updated_at = timestamp()
        self.conversation = AssistantConversation(self.order, self.behaviour, now_s)

    def disconnected(self) -> None:
        """The socket is gone."""
        ending = self.conversation.ending if self.conversation is not None else None
        if ending is not None and ending.how == "lost":
            self.lost_s = trio.current_time() if self.lost_s is None else self.lost_s
            return
        self.finish(_NEVER_CONNECTED if self.conversation is None else ending.reason if ending else "worker-shutdown")

    def obey(self, message: Message, now_s: float) -> bool:
        """Obey a control message, checked; False when the call is not active. `end-call` needs no working socket."""
        if self.status == "ended":
            return False
        talks = self.conversation is not None and self.lost_s is None
        if not talks and message["type"] not in END_CALL:
            return False
        self.record.note(now_s, outgoing=False, message=message)
        if self.conversation is not None and talks:
            self.conversation.obey(message, now_s)
        if message["type"] in END_CALL:
            self.finish("customer-ended-call")
        self.wake()
        return True

    def end(self, reason: str) -> None:
        """The assistant's side ends the call, in order."""
        if self.conversation is None or self.lost_s is not None:
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
        if self.lost_s is not None and self.conversation is not None:
            self.conversation.narrator.tell({"type": "status-update", "status": "ended", "endedReason": reason})
        self.pass_on_hooks()
        self.status, self.ended_reason, self.ended_at = "ended", reason, timestamp()
        self.updated_at = self.ended_at
        if self.hooks is not None:
            self.hooks.put(bodies.whole(self, bodies.end_of_call_report(self)))
            self.hooks.close()
        self.wake()

    def pass_on_hooks(self) -> None:
        """Hand what the narrator has for the webhook on, or drop it where there is none."""
        if self.conversation is None:
            return
        waiting = self.conversation.narrator.hooks
        while waiting:
            message = waiting.popleft()
            if self.hooks is not None and self.status != "ended":
                reply = partial(self._answered, message) if message["type"] in REQUESTS else None
                self.hooks.put(bodies.whole(self, message), reply)

    def _answered(self, request: Message, reply: Reply) -> None:
        if self.conversation is not None:
            self.conversation.answered(request, reply, trio.current_time())
            self.wake()

    def as_json(self, *, monitor: bool = True) -> dict[str, Any]:
        """The call as `POST /call` and `GET /call/{id}` show it, with or without `monitor`."""
        form = self.order.format
        value: dict[str, Any] = {
            "id": self.id,
            "orgId": bodies.ORG_ID,
            "type": "vapi.websocketCall",
            "createdAt": self.created_at,
            "updatedAt": self.updated_at,
            "cost": 0,
            "status": self.status,
            "assistantOverrides": self.order.overrides,
            "transport": {
                "provider": "vapi.websocket",
                "conversationType": "voice",
                "audioFormat": {"format": form.encoding.value, "container": "raw", "sampleRate": form.rate_hz},
                "websocketCallUrl": self.socket_url,
            },
        }
        optional = {
            "assistantId": self.assistant_id,
            "name": self.name,
            "startedAt": self.started_at,
            "endedAt": self.ended_at,
            "endedReason": self.ended_reason,
            "monitor": self.monitor if monitor else None,
        }
        return value | {key: known for key, known in optional.items() if known is not None}
