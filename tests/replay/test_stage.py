"""The stage of a replay: the real call, as it was when its recording began, gets what it got."""

from typing import Any

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from relay.record.backlog import Backlog
from relay.record.call_recording import CallRecording
from relay.record.entries import (
    AssistantConnected,
    AssistantGone,
    CallerLent,
    CallerNote,
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
from relay.replay.stage import open_stage
from tests.replay.test_peers import OpenedByHand
from tests.support.callrig import SILENCE, config

HEADER = RecordingHeader(
    "1", "f00d", "CA1", 1.0, "mulaw", 8000, "mulaw", 8000, recorded_settings(config()), clock_s=100.0
)


async def played(clock: MockClock, *entries: Any) -> list[Any]:
    clock.jump(100.0)
    recording = CallRecording(HEADER, Redactor(), trio.current_time(), Backlog())
    gate = OpenedByHand(open_=True)
    async with open_stage(HEADER, config_of(HEADER, {}), recording, gate, None) as stage:
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
