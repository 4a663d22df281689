"""A call is queued, in progress and ended, in this order, and its end is told once and last."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from relay.media.frames import TELEPHONE
from relay.standin.assistant.behaviour import Behaviour
from relay.standin.assistant.call import AssistantCall
from relay.standin.assistant.hooks import Hooks
from relay.standin.assistant.order import Order
from relay.standin.assistant.record import SocketRecord

CREATED_S = 50.0
NEVER_CONNECTED = "call.in-progress.error-vapifault-transport-never-connected"


class KeptHooks(Hooks):
    """Keeps what is put, in place of delivering it."""

    def __init__(self) -> None:
        super().__init__({"url": "http://127.0.0.1:9"}, "call-1", Counter())
        self.kept: list[dict[str, Any]] = []
        self.closed = False

    def put(self, message: dict[str, Any], reply: object = None) -> None:
        assert not self.closed
        self.kept.append(message)

    def close(self) -> None:
        self.closed = True

    @property
    def kinds(self) -> list[str]:
        return [message["type"] for message in self.kept]


def call(hooks: Hooks | None = None) -> AssistantCall:
    order = Order(TELEPHONE, {}, "assistant-1")
    return AssistantCall("call-1", order, Behaviour(), SocketRecord(TELEPHONE, 1.0), hooks, CREATED_S)


def connected(hooks: Hooks | None = None) -> AssistantCall:
    made = call(hooks)
    made.connect(CREATED_S + 1)
    return made


def test_a_new_call_is_queued_and_shown_as_vapi_shows_one() -> None:
    shown = call().as_json()

    assert (shown["id"], shown["status"], shown["assistantId"]) == ("call-1", "queued", "assistant-1")
    assert shown["type"] == "vapi.websocketCall"
    assert shown["transport"] == {
        "provider": "vapi.websocket",
        "conversationType": "voice",
        "audioFormat": {"format": "mulaw", "container": "raw", "sampleRate": 8000},
        "websocketCallUrl": "ws://127.0.0.1/call-1/transport",
    }
    assert shown["monitor"]["controlUrl"] == "http://127.0.0.1/call-1/control"
    assert "endedReason" not in shown


@pytest.mark.parametrize("kind", ["end-call", "hangup"])
@pytest.mark.parametrize("state", ["queued", "live", "alone"])
def test_end_call_at_the_control_url_ends_a_call_whatever_became_of_its_socket(kind: str, state: str) -> None:
    made = call() if state == "queued" else connected()
    if state == "alone":
        made.lost_s = CREATED_S + 2

    assert made.obey({"type": kind}, CREATED_S + 3)
    assert (made.status, made.ended_reason) == ("ended", "customer-ended-call")
    assert not made.obey({"type": kind}, CREATED_S + 4)


@pytest.mark.parametrize("state", ["queued", "alone"])
def test_without_a_socket_no_other_control_message_is_obeyed(state: str) -> None:
    made = call() if state == "queued" else connected()
    if state == "alone":
        made.lost_s = CREATED_S + 2

    assert not made.obey({"type": "say", "content": "Hello."}, CREATED_S + 3)
    assert made.status != "ended"


def test_the_end_of_a_call_without_its_socket_is_told_to_the_webhook() -> None:
    hooks = KeptHooks()
    made = connected(hooks)
    made.lost_s = CREATED_S + 2
    made.settle(CREATED_S + 32)

    assert hooks.kinds == ["status-update", "end-of-call-report"]
    assert hooks.kept[0]["endedReason"] == "silence-timed-out"


def test_a_call_that_nobody_connects_to_is_over_after_15_s() -> None:
    made = call()
    made.settle(CREATED_S + 14.9)
    before = made.status
    made.settle(CREATED_S + 15)

    assert (before, made.status, made.ended_reason) == ("queued", "ended", NEVER_CONNECTED)


def test_a_call_that_is_connected_does_not_end_by_waiting() -> None:
    made = connected()
    made.settle(CREATED_S + 1000)

    assert made.status == "in-progress"


def test_before_the_socket_is_there_a_call_ends_at_once() -> None:
    made = call()
    made.end("manually-canceled")

    assert (made.status, made.ended_reason) == ("ended", "manually-canceled")
    assert made.as_json()["endedReason"] == "manually-canceled"
    assert made.as_json()["endedAt"] == made.ended_at


def test_with_a_socket_the_conversation_ends_first_and_the_writer_is_woken_for_it() -> None:
    made = connected()
    made.end("assistant-ended-call")

    assert made.status == "in-progress"
    assert made.changed.is_set()
    made.disconnected()
    assert (made.status, made.ended_reason) == ("ended", "assistant-ended-call")


def test_a_drop_is_for_the_writer_to_do() -> None:
    made = connected()
    made.drop()

    assert made.conversation is not None
    assert made.conversation.ending is not None
    assert made.conversation.ending.how == "drop"
    assert made.changed.is_set()


@pytest.mark.parametrize(("make", "reason"), [(call, NEVER_CONNECTED), (connected, "worker-shutdown")])
def test_a_socket_that_is_gone_without_a_word_ends_the_call_with_the_reason_for_that(
    make: Callable[[], AssistantCall], reason: str
) -> None:
    made = make()
    made.disconnected()

    assert made.ended_reason == reason


def test_the_first_end_stands() -> None:
    made = call()
    made.finish("first")
    ended_at = made.ended_at
    made.finish("second")

    assert (made.ended_reason, made.ended_at) == ("first", ended_at)


def test_the_webhook_hears_everything_in_order_and_the_report_last() -> None:
    hooks = KeptHooks()
    made = connected(hooks)
    assert made.conversation is not None
    made.conversation.narrator.tell({"type": "hang"})
    made.pass_on_hooks()
    assert hooks.kinds == ["hang"]
    made.conversation.end("customer-ended-call")
    made.disconnected()

    assert hooks.kinds == ["hang", "status-update", "end-of-call-report"]
    assert hooks.closed


def test_a_call_without_a_webhook_keeps_nothing_for_one() -> None:
    made = connected()
    assert made.conversation is not None
    made.conversation.narrator.tell({"type": "hang"})
    made.pass_on_hooks()

    assert not made.conversation.narrator.hooks
