"""The built-in assistant ends its calls as strictly as Vapi: the caller of a real daemon goes on in the next one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from relay.media.frames import TELEPHONE
from relay.standin.assistant import Assistant, AssistantCall, Behaviour, open_assistant
from relay.standin.phone import Phone, PhoneOptions, open_phone
from relay.standin.phrases import spoken
from tests.support.daemons import AUTH_TOKEN, PUBLIC, VAPI_KEY, Daemon, running_daemon, settings

OPTIONS = PhoneOptions(auth_token=AUTH_TOKEN, public_url=PUBLIC)
LIMIT_S = 10
"""The shortest that Vapi takes: the window begins after 5 s."""


@asynccontextmanager
async def conversation(concurrent_calls: int) -> AsyncIterator[tuple[Daemon, Assistant, Phone]]:
    """A caller who has heard the greeting."""
    behaviour = Behaviour(concurrency_limit=concurrent_calls)
    async with open_assistant(key=VAPI_KEY, behaviour=behaviour) as assistant:
        text = settings(assistant.base_url).replace("[vapi]", f"[vapi]\nmax_call_s = {LIMIT_S}")
        async with running_daemon(text) as daemon, open_phone(daemon.url, OPTIONS) as phone:
            assert await phone.wait_heard(1000)
            yield daemon, assistant, phone


async def second_call(assistant: Assistant) -> tuple[AssistantCall, AssistantCall]:
    """The call that the caller was moved to, behind the one before it, once it has the conversation."""
    first = await assistant.wait_call(1)
    second = await assistant.wait_call(2)
    with trio.fail_after(LIMIT_S * 2):
        while second.conversation is None or not second.conversation.context:  # noqa: ASYNC110
            await trio.sleep(0.02)
    return first, second


async def answered(phone: Phone) -> bool:
    """Whether the caller's words get an answer."""
    before_ms = phone.heard_audible_ms
    await phone.say(spoken("request", TELEPHONE))
    return await phone.wait_until(lambda: phone.heard_audible_ms > before_ms + 1000, 10)


@pytest.mark.parametrize("concurrent_calls", [2, 1])
async def test_the_caller_is_moved_before_the_assistants_limit_or_gets_the_next_call_at_it(
    concurrent_calls: int,
) -> None:
    """With a plan of one call at a time the next can only be had when the first is over."""
    async with conversation(concurrent_calls) as (daemon, assistant, phone):
        first, second = await second_call(assistant)
        goes_on = await answered(phone)
        planned = concurrent_calls == 2
        log = daemon.log()

        assert goes_on
        assert phone.end is None
        assert phone.result().streams == 1
        assert first.order.max_duration_s == second.order.max_duration_s == LIMIT_S
        assert first.ended_reason == ("customer-ended-call" if planned else "exceeded-max-duration")
        assert second.order.overrides["metadata"]["replacesCallId"] == first.id
        assert second.conversation is not None
        assert second.conversation.context[0]["role"] == "assistant"
        assert not second.order.speaks_first
        assert [line["moment"] for line in log if line["event"] == "assistant.changed"] == ["quiet"] * planned
        assert len([line for line in log if line["event"] == "assistant.reconnected"]) == (not planned)
