"""The record of a call, to JSON and back."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.logic.assistant.conversation import Turn, to_json
from relay.logic.caller.reattach import ReattachRules
from relay.state.record import CallRecord, KeptToken
from relay.wire.vapi_controls import dtmf_note

TIMES = st.floats(0, 4e9)
RECORDS = st.builds(
    CallRecord,
    version=st.just(1),
    call_sid=st.text(),
    call_id=st.text(),
    assistant=st.text(),
    started_at=TIMES,
    expires_at=TIMES,
    assistant_call_id=st.none() | st.text(),
    handed_to=st.none() | st.text(),
    variables=st.dictionaries(st.text(), st.text()),
    conversation=st.lists(st.builds(Turn, st.sampled_from(["user", "assistant"]), st.text(), st.booleans())).map(tuple),
    notes=st.lists(st.text()).map(tuple),
    policy=st.builds(ReattachRules, st.integers(0, 20), TIMES, TIMES),
    reattached_at=st.lists(TIMES).map(tuple),
    tokens=st.lists(st.builds(KeptToken, st.text(), TIMES)).map(tuple),
    end_reason=st.none() | st.text(),
    ended_before=st.booleans(),
)


@given(RECORDS)
def test_what_is_written_is_read_back_whole(record: CallRecord) -> None:
    assert CallRecord.from_json(record.to_json()) == record


def test_the_conversation_is_written_as_everywhere_else() -> None:
    turns = (Turn("assistant", "Good morning", interrupted=True), Turn("user", "Hello"))
    record = CallRecord(
        call_sid="CA1", call_id="1", assistant="main", started_at=1.0, expires_at=2.0, conversation=turns
    )

    assert json.loads(record.to_json())["conversation"] == to_json(turns)
    assert json.loads(record.to_json())["version"] == 1


def test_what_is_recorded_of_it_says_how_many_notes_there_are_and_not_what_is_in_them() -> None:
    notes = (dtmf_note("7"), dtmf_note("#"))
    record = CallRecord(call_sid="CA1", call_id="1", assistant="main", started_at=1.0, expires_at=2.0, notes=notes)
    plain = record.without_secrets()

    assert "7" not in json.dumps(plain["notes"])
    assert "pressed" not in json.dumps(plain)
    hidden = CallRecord.from_plain(plain).notes
    assert [json.loads(note)["type"] for note in hidden] == ["add-message", "add-message"]


GOOD = {"version": 1, "call_sid": "CA1", "call_id": "1", "assistant": "main", "started_at": 1.0, "expires_at": 2.0}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"[]",
        json.dumps({**GOOD, "version": 2}).encode(),
        json.dumps({**GOOD, "expires_at": "soon"}).encode(),
        json.dumps({**GOOD, "conversation": [{"role": "system", "text": "x", "interrupted": False}]}).encode(),
        json.dumps({name: value for name, value in GOOD.items() if name != "call_sid"}).encode(),
    ],
)
def test_what_is_no_record_of_this_version_is_refused(data: bytes) -> None:
    assert CallRecord.from_json(json.dumps(GOOD).encode()).call_sid == "CA1"
    with pytest.raises(ValueError, match="not a call record of version 1"):
        CallRecord.from_json(data)
