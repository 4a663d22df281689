"""What Vapi's library says that Vapi sends on the socket, against what the relay reads."""

import json
import random

import pytest

from relay.wire import vapi
from tests.support.agreement import Note
from tests.support.vapi_schema import Choice, Model, OneOf, Type, example, library, misfits

EXAMPLES = 40
ACTED_ON: dict[str, tuple[type, ...]] = {
    "speech-update": (vapi.SpeechUpdate,),
    "tool-calls": (vapi.ToolCalls,),
    "transcript": (vapi.Transcript,),
    'transcript[transcriptType="final"]': (vapi.Transcript,),
    "transfer-update": (vapi.TransferUpdate, type(None)),
    "user-interrupted": (vapi.UserInterrupted,),
}


def models() -> list[Model]:
    kinds = library("types.client_message_message").named("ClientMessageMessage")
    assert isinstance(kinds, OneOf)
    return [kind for kind in kinds.options if isinstance(kind, Model)]


def listed(kind: Type) -> tuple[str, ...]:
    """The values of an enum, optional or not."""
    if isinstance(kind, OneOf):
        return tuple(value for option in kind.options for value in listed(option))
    return kind.values if isinstance(kind, Choice) else ()


@pytest.mark.parametrize("kind", models(), ids=lambda kind: kind.name)
def test_each_message_in_the_schema_is_understood_or_passed_over(kind: Model, note: Note) -> None:
    chance = random.Random(kind.name)
    names = listed(kind.properties["type"].type)
    for name in names:
        for _ in range(EXAMPLES):
            message = example(kind, chance) | {"type": name}
            event = vapi.parse(json.dumps(message))

            assert isinstance(event, ACTED_ON.get(name, (vapi.Other, type(None)))), message
            assert vapi.parse(json.dumps({"message": message, "timestamp": 1})) == event
    assert misfits(example(kind, chance), kind) == []
    note("Vapi: messages on the socket", 2 * EXAMPLES * len(names))


def test_of_what_is_asked_for_the_library_leaves_out_the_status_alone() -> None:
    covered = {name for kind in models() for name in listed(kind.properties["type"].type)}

    assert set(vapi.CLIENT_MESSAGES) - covered == {"status-update"}
    assert covered & set(vapi.CLIENT_MESSAGES) == set(ACTED_ON) & set(vapi.CLIENT_MESSAGES)


def test_the_status_is_understood_with_every_reason_that_a_webhook_gives() -> None:
    kind = library("types.server_message_status_update").named("ServerMessageStatusUpdate")
    assert isinstance(kind, Model)
    for status in listed(kind.properties["status"].type):
        for reason in (None, *listed(kind.properties["endedReason"].type)):
            text = json.dumps({"type": "status-update", "status": status, "endedReason": reason})

            assert vapi.parse(text) == vapi.StatusUpdate(status, reason)


def test_an_assistant_as_it_is_created_has_no_id_so_a_hand_off_may_name_none() -> None:
    created = library("types.create_assistant_dto").named("CreateAssistantDto")

    assert isinstance(created, Model)
    assert "id" not in created.properties
