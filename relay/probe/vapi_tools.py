"""The question to a Vapi account what its assistant can ask for. It takes no call, and costs nothing.

Source: Vapi's API reference, `GET /assistant/{id}` (`model.tools`, `model.toolIds`) and `GET /tool/{id}`.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from relay.probe.finding import Answer
from relay.probe.vapi_account import VapiAccount
from relay.wire.vapi_actions import TRANSFER_TOOL

TOOLS_MAX = 50
"""Of those that stand apart from the assistant: each takes a request."""
GIVE_IT_ONE = f'give the assistant a tool of type "function" named {TRANSFER_TOOL}, with the parameter destination'


async def transfer_tool(account: VapiAccount) -> Answer:
    """By which of its tools the configured assistant can ask for a transfer."""
    assistant = await account.read("assistant", account.assistant.assistant_id)
    model = assistant.get("model")
    model = model if isinstance(model, dict) else {}
    apart = [it for it in model.get("toolIds") or () if isinstance(it, str)][:TOOLS_MAX]
    found = [*_objects(model.get("tools")), *[await account.read("tool", tool_id) for tool_id in apart]]
    if any(tool.get("type") == "function" and _name(tool) == TRANSFER_TOOL for tool in found):
        heard = account.config.webhooks is not None
        return Answer(found=f"a function named {TRANSFER_TOOL}", note="none" if heard else "set vapi.webhooks")
    if any(tool.get("type") == TRANSFER_TOOL for tool in found):
        found_text = f"Vapi's own {TRANSFER_TOOL}: that the relay is told of it is not documented"
        return Answer(found=found_text, note=f"if transfers do not happen, {GIVE_IT_ONE}")
    return Answer(found="none", note=GIVE_IT_ONE, failed=True)


def _objects(value: object) -> Iterable[Mapping[str, Any]]:
    return [it for it in value if isinstance(it, dict)] if isinstance(value, list) else []


def _name(tool: Mapping[str, Any]) -> object:
    function = tool.get("function")
    return function.get("name") if isinstance(function, dict) else None
