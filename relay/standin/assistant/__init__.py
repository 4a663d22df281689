"""The built-in assistant serves Vapi's REST interface and WebSocket transport, as strictly as they are known."""

from relay.standin.assistant.acts import Act
from relay.standin.assistant.behaviour import Behaviour
from relay.standin.assistant.call import AssistantCall
from relay.standin.assistant.credentials import BearerCredential, HmacCredential
from relay.standin.assistant.server import Assistant, open_assistant

__all__ = ["Act", "Assistant", "AssistantCall", "BearerCredential", "Behaviour", "HmacCredential", "open_assistant"]
