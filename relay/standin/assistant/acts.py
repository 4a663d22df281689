"""An act is what the model does before it answers: it calls a tool, transfers the call, or hands it to an assistant.

The webhook is asked for the result, or where to. Two of Vapi's own tools are for the telephone: `transferCall` to a
number or a SIP address, of which this transport dials none, and `endCall`. Sources: Vapi API reference,
ServerMessageToolCalls, ServerMessageTransferDestinationRequest, ServerMessageHandoffDestinationRequest,
ServerMessagePhoneCallControl and ClientMessageTransferUpdate.
"""

import json
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import uuid4

from relay.standin.assistant.bodies import assistant_json
from relay.standin.assistant.hooks import Reply

Message = dict[str, Any]

AsksBy = Literal["tool-calls", "transfer-update", "phone-call-control"]
"""The message by which the client learns that the telephone is to transfer the caller, or to hang up."""
FAREWELLS = {"dial": "I will connect you now.", "hang_up": "Goodbye."}

REQUESTS = frozenset({"tool-calls", "transfer-destination-request", "handoff-destination-request"})
"""The webhooks whose answer is waited for."""
NO_RESULT = "No result returned."
"""What the model is told of a tool whose server gave no result."""


@dataclass(frozen=True, slots=True)
class Act:
    """What the model does in place of, or before, one answer. `name`: of the tool, of the assistant to hand off to, or
    whom to dial; a transfer, and a hand-off without a name, ask the webhook where to."""

    kind: Literal["tool", "transfer", "handoff", "dial", "hang_up"]
    name: str = ""


@dataclass(slots=True)
class Doing:
    """An act under way, for an utterance of the caller, until the webhook's reply is there."""

    act: Act
    caller_text: str
    call_id: str = field(default_factory=lambda: f"call_{uuid4().hex[:24]}")

    def request(self) -> Message | None:
        """What is told to the client and asked of the webhook; None when nothing has to be asked."""
        match self.act.kind:
            case "tool":
                return self._tool_calls()
            case "transfer":
                return {"type": "transfer-destination-request"}
            case "handoff" if not self.act.name:
                return {"type": "handoff-destination-request", "parameters": {"reason": self.caller_text}}
        return None

    @property
    def is_for_telephone(self) -> bool:
        """Whether the telephone is to do it."""
        return self.act.kind in ("dial", "hang_up")

    def telephone_request(self, by: AsksBy) -> Message:
        """What tells that the telephone is to do it."""
        kind = "sip" if self.act.name.startswith("sip") else "number"
        to = {"type": kind, "sipUri" if kind == "sip" else "number": self.act.name}
        dials = self.act.kind == "dial"
        match by:
            case "transfer-update" if dials:
                return {"type": "transfer-update", "destination": to}
            case "phone-call-control":
                asked = {"request": "forward", "destination": to} if dials else {"request": "hang-up"}
                return {"type": "phone-call-control", **asked}
        return self._called("transferCall", {"destination": self.act.name}) if dials else self._called("endCall", {})

    def _tool_calls(self) -> Message:
        return self._called(self.act.name, {"question": self.caller_text})

    def _called(self, name: str, arguments: dict[str, str]) -> Message:
        function = {"name": name, "arguments": json.dumps(arguments)}
        tool_call = {"id": self.call_id, "type": "function", "function": function}
        tool = {"type": "function", "function": {"name": name}, "toolCall": tool_call}
        return {"type": "tool-calls", "toolCallList": [tool_call], "toolWithToolCallList": [tool]}

    def result(self, reply: Reply) -> str:
        """The result of the tool, or its error, in the webhook's reply."""
        results = (reply or {}).get("results")
        for result in results if isinstance(results, list) else ():
            if isinstance(result, dict) and result.get("toolCallId") == self.call_id:
                return str(result.get("result") or result.get("error") or NO_RESULT)
        return NO_RESULT

    def updates(self, reply: Reply, from_id: str | None) -> list[Message]:
        """What is told of a transfer or a hand-off to the destination in the reply, or to the assistant by its name."""
        named = {"type": "assistant", "assistantId": self.act.name, "assistantName": self.act.name}
        destination = named if self.act.name else (reply or {}).get("destination")
        if not isinstance(destination, dict):
            return []
        if self.act.kind == "transfer":
            forwarding = {"type": "status-update", "status": "forwarding", "destination": destination}
            return [forwarding, {"type": "transfer-update", "destination": destination}]
        to = assistant_json(destination.get("assistantId") or destination.get("assistantName"))
        update = {"destination": destination, "fromAssistant": assistant_json(from_id), "toAssistant": to}
        return [{"type": "transfer-update", **update}, {"type": "assistant.started", "newAssistant": to}]
