"""The Twilio account: which number is looked at, what is refused, and that a call is always ended."""

from dataclasses import replace

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from relay.probe import twilio
from relay.probe.budget import BudgetSpent
from relay.probe.question import AccountUnusable
from relay.probe.twilio_account import TwilioRefused
from relay.standin.phone.rest import TwilioNumber, TwilioState
from relay.wire.twiml import refused_stream
from tests.support.quick import quick_clock
from tests.support.twilio_probes import probed_twilio

OURS = TwilioNumber("+15005550001")
OTHERS = tuple(TwilioNumber(f"+1500555000{n}", voice_url="https://other.example.com/") for n in (2, 3))
TWIML = refused_stream("wss://relay.example.com/x", 8)


@pytest.mark.parametrize(
    ("numbers", "asked_for", "chosen"),
    [
        ((OURS, *OTHERS), "", OURS.number),
        ((OURS, *OTHERS), OTHERS[0].number, OTHERS[0].number),
        (OTHERS[:1], "", OTHERS[0].number),
        ((OURS, replace(OURS, number="+15005550004"), *OTHERS), "", "the account has 4 numbers, 2 of which"),
        (OTHERS, "", "the account has 2 numbers, 0 of which"),
        ((), "", "the account has 0 numbers"),
        ((OURS,), "+19999999999", "the account has no number +19999999999"),
    ],
)
async def test_the_number_is_the_one_that_was_named_or_calls_this_relay_or_is_alone(
    clock: MockClock, numbers: tuple[TwilioNumber, ...], asked_for: str, chosen: str
) -> None:
    async with probed_twilio(TwilioState(numbers=numbers), number=asked_for) as at:
        try:
            told = str((await at.account.number())["phone_number"])
        except TwilioRefused as error:
            told = str(error)

    assert told.startswith(chosen)


@settings(max_examples=20)
@given(cancel_s=st.floats(0, 12))
def test_a_call_is_ended_whenever_the_question_is_cancelled(cancel_s: float) -> None:
    async def cancelled() -> None:
        async with probed_twilio() as at:
            with trio.move_on_after(cancel_s):
                await twilio.next_verb(at.account, "+15005550009")

            assert (at.unended, at.left_running) == ([], [])

    trio.run(cancelled, clock=quick_clock())


async def test_a_call_is_ordered_with_a_limit_and_within_the_budget(clock: MockClock) -> None:
    async with probed_twilio(max_cost_usd=1.0) as at:
        async with at.account.call("+15005550006", "+15005550009", TWIML) as sid:
            form = at.rest.calls[sid].form
        with pytest.raises(BudgetSpent):
            async with at.account.call("+15005550006", "+15005550009", TWIML):
                raise AssertionError

    assert form == {
        "From": "+15005550006",
        "To": "+15005550009",
        "Twiml": TWIML,
        "TimeLimit": "60",
        "Timeout": "30",
    }


async def test_a_call_that_cannot_be_ended_is_named(clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    async with probed_twilio() as at:
        async with at.account.call("+15005550006", "+15005550009", TWIML) as sid:
            at.rest.auth_token = "another"

        assert at.left_running == [sid]


async def test_a_refusal_is_told_with_twilio_s_code(clock: MockClock) -> None:
    async with probed_twilio(TwilioState(refused=21219)) as at:
        with pytest.raises(TwilioRefused, match="400, error 21219"):
            async with at.account.call("+15005550006", "+15005550009", TWIML):
                raise AssertionError


async def test_another_token_makes_the_account_unusable(clock: MockClock) -> None:
    async with probed_twilio(token="wrong") as at:
        with pytest.raises(AccountUnusable):
            await at.account.account()


async def test_an_answer_that_is_no_object_is_refused(clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    async with probed_twilio() as at:
        at.rest.account_sid = at.account.sid
        with pytest.raises(TwilioRefused, match="404, error 20404"):
            await at.account.find("CA0")


async def test_a_token_that_another_interface_refuses_does_not_make_the_account_unusable(clock: MockClock) -> None:
    """The token of a region is good for the API of that region, and for nothing else."""
    async with probed_twilio() as at:
        at.rest.auth_token = "another"
        with pytest.raises(TwilioRefused, match="401, error 20003"):
            await at.account.alerts("2026-01-01T00:00:00Z")
