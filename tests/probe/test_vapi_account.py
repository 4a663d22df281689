"""The calls of the probe: bounded, secret, and ended whatever happens."""

from dataclasses import replace
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from relay.errors import AssistantUnavailable, LegLost
from relay.media.frames import Encoding
from relay.probe import vapi_lifetime as lifetime
from relay.probe import vapi_sound as sound
from relay.probe.budget import BudgetSpent
from relay.probe.vapi_account import PropertyRefused
from relay.standin.assistant import Behaviour
from relay.standin.assistant.behaviour import as_documented
from tests.support.probes import ProbedAssistant, probed
from tests.support.quick import quick_clock

HARD = as_documented(Behaviour())


@pytest.mark.parametrize("behaviour", [Behaviour(), HARD], ids=["as recorded", "as documented"])
async def test_a_call_is_ended_whether_its_socket_was_connected_or_not(clock: MockClock, behaviour: Behaviour) -> None:
    async with probed(behaviour) as at:
        async with at.account.call(10):
            pass
        async with at.account.call(10) as created, at.account.talk(created):
            await trio.sleep(1)

        assert len(at.assistant.calls) == 2
        assert (at.unended, at.left_running) == ([], [])


@settings(max_examples=25)
@given(cancel_s=st.floats(0, 6), ask=st.sampled_from([lifetime.redial, lifetime.delete, sound.interruption]))
def test_a_call_is_ended_whenever_the_question_is_cancelled(cancel_s: float, ask: Any) -> None:
    async def cancelled() -> None:
        async with probed(HARD) as at:
            with trio.move_on_after(cancel_s):
                await ask(at.account)

            assert (at.unended, at.left_running) == ([], [])

    trio.run(cancelled, clock=quick_clock())


@pytest.mark.parametrize(
    "slow",
    [{"slow_create_s": 60.0}, {"slow_create_s": 7.0, "slow_create_makes_call": False}],
    ids=["made before the time-out", "made after it"],
)
async def test_a_call_whose_answer_never_comes_is_found_by_its_name_and_ended(
    clock: MockClock, slow: dict[str, Any]
) -> None:
    async with probed(replace(HARD, slow_creates=1, **slow)) as at:
        with pytest.raises(LegLost, match="TIMEOUT"):
            async with at.account.call(10):
                raise AssertionError

        assert len(at.assistant.calls) == 1
        assert (at.unended, at.left_running) == ([], [])


async def test_a_call_that_is_made_while_the_probe_is_cancelled_is_ended(clock: MockClock) -> None:
    async with probed(replace(HARD, slow_creates=1, slow_create_s=2.0)) as at:
        with trio.move_on_after(1):
            async with at.account.call(10):
                raise AssertionError

        assert len(at.assistant.calls) == 1
        assert (at.unended, at.left_running) == ([], [])


async def test_a_call_that_waits_for_a_place_is_ended(clock: MockClock) -> None:
    async with probed(replace(HARD, concurrency_limit=0)) as at:
        with pytest.raises(AssistantUnavailable):
            async with at.account.call(10):
                raise AssertionError

        assert len(at.assistant.calls) == 1
        assert (at.unended, at.left_running) == ([], [])


async def test_a_call_that_cannot_be_ended_is_named(clock: MockClock) -> None:
    async with probed() as at:
        async with at.account.call(10) as created:
            at.account._rest._client.headers["User-Agent"] = ""  # refused with 403

        assert at.left_running == [created.call_id]


async def test_every_call_is_ordered_with_a_limit_that_the_budget_covers(clock: MockClock) -> None:
    async with probed(max_cost_usd=0.3) as at:
        async with at.account.call(20):
            pass
        with pytest.raises(BudgetSpent):
            async with at.account.call(11):
                raise AssertionError
        async with at.account.call(10):
            pass

        assert [call.order.max_duration_s for call in at.assistant.calls.values()] == [20, 10]


async def test_an_order_is_the_relay_s_own_with_what_is_asked_for(clock: MockClock) -> None:
    async with probed(config='audio_format = "mulaw"\n') as at:
        async with at.account.call(10, overrides={"firstMessage": "Hello."}, without=("backgroundSound",), waits=False):
            pass
        (call,) = at.assistant.calls.values()

        assert call.order.assistant_id == "a"
        assert call.order.format.encoding is Encoding.MULAW
        assert call.order.overrides["firstMessage"] == "Hello."
        assert "backgroundSound" not in call.order.overrides
        assert call.order.speaks_first


async def test_a_property_that_is_refused_is_told_apart_from_other_refusals(clock: MockClock) -> None:
    async with probed(Behaviour(properties="schema")) as at:
        with pytest.raises(PropertyRefused):
            async with at.account.call(10, silence_timeout_s=60):
                raise AssertionError
        with pytest.raises(AssistantUnavailable):
            async with at.account.call(10, overrides={"surprise": 1}):
                raise AssertionError


async def test_the_addresses_of_a_call_are_hidden_for_good(clock: MockClock) -> None:
    async with probed() as at:
        async with at.account.call(10) as created:
            pass
        call = at.assistant.calls[created.call_id]

        told = at.redactor.text(f"{call.socket_url} {call.monitor['controlUrl']}")
        assert created.call_id not in told


def ended_by(at: ProbedAssistant) -> set[str | None]:
    return {call.ended_reason for call in at.assistant.calls.values()}


async def test_no_call_is_ended_by_deleting_its_record(clock: MockClock) -> None:
    async with probed(HARD) as at:
        await lifetime.farewell(at.account)
        async with at.account.call(10):
            pass

        assert ended_by(at) == {"customer-ended-call"}
        assert not any(call.erased for call in at.assistant.calls.values())
