"""The stage of a replay: the real call, as it was when its recording began, gets what it got."""

from dataclasses import replace
from typing import Any

import pytest
import trio
from msgspec.structs import replace as msgspec_replace
from trio.testing import MockClock, wait_all_tasks_blocked

from relay.errors import CannotReplay
from relay.logic.assistant.conversation import Turn
from relay.record.backlog import Backlog
from relay.record.call_recording import CallRecording
from relay.record.entries import (
    AssistantConnected,
    AssistantGone,
    CallerLent,
    CallerNote,
    CallStood,
    Dialled,
    FromCaller,
    RecordingHeader,
    ToAssistant,
    Told,
    ToldByWebhook,
    ToldToEnd,
)
from relay.record.recorder import recorded_settings
from relay.redaction import Redactor
from relay.replay.settings import config_of
from relay.replay.stage import open_stage, record_at_start
from relay.state import CallRecord, KeptToken
from tests.replay.test_peers import OpenedByHand
from tests.support.callrig import SILENCE, config
from tests.support.records import record

HEADER = RecordingHeader(
    "1", "f00d", "CA1", 1.0, "mulaw", 8000, "mulaw", 8000, recorded_settings(config()), clock_s=100.0
)


async def played(clock: MockClock, *entries: Any) -> list[Any]:
    clock.jump(100.0)
    recording = CallRecording(HEADER, Redactor(), trio.current_time(), Backlog())
    gate, known = OpenedByHand(open_=True), config_of(HEADER, {})
    async with open_stage(HEADER, known, record_at_start(HEADER, [], known), recording, gate, apology=None) as stage:
        for entry in entries:
            await wait_all_tasks_blocked()
            stage.give(entry)
        await wait_all_tasks_blocked()
        return list(recording.take())


async def test_the_call_gets_what_it_got_and_does_what_it_does(mock_clock: MockClock) -> None:
    done = await played(
        mock_clock,
        Dialled(0.0, 1, "vapi-1", "mulaw", 8000),
        AssistantConnected(0.0, 1),
        CallerLent(0.0, joins_frames=True),
        FromCaller(0.0, 0.0, 0, SILENCE),
        CallerNote(0.0, "hung_up"),
    )
    told = [entry.name for entry in done if isinstance(entry, Told)]

    assert told[:3] == ["call.started", "assistant.dialing", "assistant.ready"]
    assert told[-1] == "call.ended"
    assert sum(isinstance(entry, ToAssistant) for entry in done) == 1


async def test_a_call_that_was_ended_from_outside_is_again(mock_clock: MockClock) -> None:
    done = await played(mock_clock, ToldToEnd(0.0, "admin"))

    assert [entry.values["reason"] for entry in done if isinstance(entry, Told) and entry.name == "call.ended"] == [
        "admin"
    ]


async def test_what_a_webhook_told_is_told_again(mock_clock: MockClock) -> None:
    """The assistant's socket is lost, and the webhook says that the assistant had ended the call itself."""
    done = await played(
        mock_clock,
        Dialled(0.0, 1, "vapi-1", "mulaw", 8000),
        AssistantConnected(0.0, 1),
        CallerLent(0.0, joins_frames=True),
        FromCaller(0.0, 0.0, 0, SILENCE),
        AssistantGone(0.0, 1, "lost", None),
        ToldByWebhook(0.0, "status-update", "vapi-1", "assistant-ended-call", joined=True),
    )
    told = [(entry.name, entry.values) for entry in done if isinstance(entry, Told)]

    assert ("webhook.joined", "status-update") in [(name, values.get("type")) for name, values in told]
    assert [values["reason"] for name, values in told if name == "call.ended"] == ["assistant_ended"]


@pytest.mark.parametrize(
    ("first", "told"),
    [
        ([], "began in another process, and how it stood there is not recorded"),
        ([CallStood(0.0, {"version": 2})], "recorded in another way how the call stood"),
    ],
)
def test_a_call_of_another_process_whose_state_is_not_known_is_refused(first: list[Any], told: str) -> None:
    with pytest.raises(CannotReplay, match=told) as refused:
        record_at_start(msgspec_replace(HEADER, goes_on=True), first, config_of(HEADER, {}))
    assert refused.value.code == "CANNOT_REPLAY"


def test_tokens_and_what_is_known_of_the_caller_are_not_in_the_state() -> None:
    began = record(variables={"name": "Ada"}, tokens=(KeptToken("ab" * 32, 9.0),), conversation=(Turn("user", "Hi"),))
    state = began.without_secrets()

    assert "Ada" not in str(state)
    assert "abab" not in str(state)
    assert CallRecord.from_plain(state) == replace(began, variables={}, tokens=())
