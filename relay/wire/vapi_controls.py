"""Writes the text messages that the relay sends on Vapi's socket, which closes when it does not know one.

Sources: Vapi's "Call features" page and the `ClientInboundMessage*` schemas of its API reference.
"""

import re
from typing import Literal

import msgspec

from relay.errors import LocalProtocolError

_DIGIT = re.compile(r"[0-9*#A-D]")


END_CALL = {"type": "end-call"}
"""Vapi ends the call, over the socket as at the call's control URL."""


def end_call() -> str:
    """The text of END_CALL. Close the socket after this."""
    return msgspec.json.encode(END_CALL).decode()


def add_message(role: Literal["system", "user", "assistant"], content: str, *, trigger_response: bool) -> str:
    """Vapi adds this to the conversation. With `trigger_response` the model answers it now, otherwise it only knows."""
    return msgspec.json.encode(
        {
            "type": "add-message",
            "message": {"role": role, "content": content},
            "triggerResponseEnabled": trigger_response,
        }
    ).decode()


def dtmf_note(digit: str) -> str:
    """The assistant is told which key the caller pressed, as a turn of the caller: this transport carries no DTMF."""
    if _DIGIT.fullmatch(digit) is None:
        raise LocalProtocolError("a DTMF digit is one of 0-9, *, #, A-D")
    return add_message("user", f"[The caller pressed {digit} on the telephone keypad.]", trigger_response=True)
