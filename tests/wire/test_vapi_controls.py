"""The messages sent to Vapi, read back with another JSON parser."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import LocalProtocolError
from relay.wire import vapi_controls


def test_end_call_is_the_documented_message() -> None:
    assert json.loads(vapi_controls.end_call()) == {"type": "end-call"}


@given(st.sampled_from(["system", "user", "assistant"]), st.text(st.characters(codec="utf-8")), st.booleans())
def test_add_message_is_the_documented_message(role: str, content: str, trigger: bool) -> None:
    text = vapi_controls.add_message(role, content, trigger_response=trigger)  # type: ignore[arg-type]

    assert json.loads(text) == {
        "type": "add-message",
        "message": {"role": role, "content": content},
        "triggerResponseEnabled": trigger,
    }


@pytest.mark.parametrize("digit", "0123456789*#ABCD")
def test_a_key_is_told_as_a_turn_of_the_caller_that_asks_for_an_answer(digit: str) -> None:
    message = json.loads(vapi_controls.dtmf_note(digit))

    assert message["message"]["role"] == "user"
    assert f"pressed {digit} " in message["message"]["content"]
    assert message["triggerResponseEnabled"] is True


@pytest.mark.parametrize("digit", ["", "12", "E", "x", "\n", "1\n", "\u0661"])
def test_anything_but_one_key_is_a_bug_of_ours(digit: str) -> None:
    with pytest.raises(LocalProtocolError, match="DTMF"):
        vapi_controls.dtmf_note(digit)
