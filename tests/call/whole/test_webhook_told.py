"""What a webhook says of a call: told in it, and the end of one that only lost its socket."""

import pytest
import trio
from trio.testing import MockClock

from relay.call.report.assistant_events import WebhookAccepted
from tests.support.callrig import Rig, open_rig


async def lose(rig: Rig) -> str:
    """Lose the assistant's socket; its id of the call that was lost."""
    await rig.begin()
    lost = str(rig.call.summary()["assistant_call_id"])
    rig.dialer.connect_after_s = 5.0
    rig.dialer.sockets[0].dead.set()
    await trio.sleep(1)
    return lost


async def test_a_call_that_lost_its_socket_ends_when_the_assistant_had_hung_up(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        lost = await lose(rig)
        rig.call.told_by_webhook(WebhookAccepted("status-update", lost, "assistant-ended-call"))
        await rig.ended("assistant_ended", within_s=15)

        assert rig.event("assistant.ended")["ended_reason"] == "assistant-ended-call"
        assert len(rig.events("webhook.accepted")) == 1


async def test_the_assistant_may_have_hung_up_long_before_the_loss_of_its_socket_is_known(
    autojump_clock: MockClock,
) -> None:
    """Until then the socket may still bring its last words."""
    async with open_rig() as rig:
        await rig.begin()
        call_id = str(rig.call.summary()["assistant_call_id"])
        rig.call.told_by_webhook(WebhookAccepted("status-update", call_id, "assistant-ended-call"))
        await trio.sleep(5)
        assert not rig.events("call.ended")
        rig.dialer.sockets[0].dead.set()
        await rig.ended("assistant_ended")

        assert rig.event("assistant.ended")["ended_reason"] == "assistant-ended-call"
        assert len(rig.dialer.asked) == 1


@pytest.mark.parametrize(
    ("call", "reason"),
    [(None, "customer-ended-call"), (None, "worker-shutdown"), ("another", "assistant-ended-call")],
)
async def test_any_other_reason_and_any_other_call_leave_it_to_the_next_assistant(
    call: str | None, reason: str, autojump_clock: MockClock
) -> None:
    async with open_rig() as rig:
        lost = await lose(rig)
        rig.call.told_by_webhook(WebhookAccepted("status-update", call or lost, reason))
        await trio.sleep(20)

        assert rig.events("assistant.reconnected")
        assert not rig.events("call.ended")


async def test_it_comes_too_late_once_the_next_call_has_the_conversation(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        lost = await lose(rig)
        await trio.sleep(20)
        rig.call.told_by_webhook(WebhookAccepted("end-of-call-report", lost, "assistant-ended-call"))
        await trio.sleep(5)

        assert rig.events("assistant.reconnected")
        assert not rig.events("call.ended")
