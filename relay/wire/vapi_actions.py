"""Reads what an assistant asks of the telephone: to connect the caller to somebody else, or to hang up.

| it asks by                                                  | how sure                                               |
|-------------------------------------------------------------|--------------------------------------------------------|
| a call of the tool `transferCall` or `endCall`              | the tools are documented; that this transport tells of |
|                                                             | them by `tool-calls` is not                            |
| `transfer-update` to a number or a SIP address              | in the schema; by this transport never seen            |
| the webhook `phone-call-control`, "forward" or "hang-up"    | in the schema; proven for telephone calls of Vapi's    |

Vapi dials nobody by this transport, whatever it says. Sources: Vapi's "Default tools" page, and the schemas
`TransferDestinationNumber`, `TransferDestinationSip` and `ServerMessagePhoneCallControl` of its API reference.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from relay.wire.dial_address import destination_of

TRANSFER_TOOL, HANG_UP_TOOL = "transferCall", "endCall"
TELEPHONE_TOOLS = frozenset({TRANSFER_TOOL, HANG_UP_TOOL})


class Transfer(Struct, frozen=True):
    """Connect the caller to this number, in E.164 form, or SIP address, which the `repr` does not show."""

    destination: str

    def __repr__(self) -> str:
        return "Transfer()"


class HangUp(Struct, frozen=True):
    """End the call."""


Action = Transfer | HangUp


def action_of_tool(name: object, arguments: object) -> Action | None:
    """Return what a tool call asks for; None for any other tool, and where the destination is no telephone, as when
    an assistant of a squad is named. `arguments` are an object, or its JSON text."""
    if name == HANG_UP_TOOL:
        return HangUp()
    if name != TRANSFER_TOOL:
        return None
    if isinstance(arguments, str):
        try:
            arguments = msgspec.json.decode(arguments)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return None
    return action_of_destination(arguments.get("destination")) if isinstance(arguments, Mapping) else None


def action_of_tools(called: list[dict[str, Any]]) -> Action | None:
    """Return what the first of these tool calls asks for that asks for anything, in Vapi's present form of a call."""
    actions = (action_of_tool(it["function"]["name"], it["function"]["arguments"]) for it in called)
    return next((action for action in actions if action is not None), None)


def action_of_destination(told: object) -> Transfer | None:
    """Return the transfer to a destination: an object with `number` or `sipUri`, or the bare text. None for others."""
    if isinstance(told, Mapping):
        told = told.get("number") or told.get("sipUri")
    found = destination_of(told) if isinstance(told, str) else None
    return None if found is None else Transfer(found)


def action_of_control(request: object, destination: object) -> Action | None:
    """Return what `phone-call-control` asks for."""
    match request:
        case "hang-up":
            return HangUp()
        case "forward":
            return action_of_destination(destination)
    return None
