"""The registry: who is let in, which call a token opens, and that every place is given back."""

from contextvars import ContextVar

import pytest
import trio
from trio.testing import MockClock

from relay.config import LimitsConfig, TwilioConfig
from relay.errors import AssistantUnavailable, AuthRejected, CallRefused
from relay.logic.end_reason import EndReason
from tests.support.callrig import SID, open_rig
from tests.support.numbered import numbered

SIDS = [f"CA{number:032x}" for number in range(10)]
REQUEST: ContextVar[str] = ContextVar("REQUEST", default="")


async def test_the_limit_holds_and_a_place_is_given_back_when_its_call_is_over(autojump_clock: MockClock) -> None:
    async with open_rig(limits=LimitsConfig(max_calls=2)) as rig:
        first = rig.ring(SIDS[0])
        rig.ring(SIDS[1])
        with pytest.raises(CallRefused) as refused:
            rig.ring(SIDS[2])
        full = rig.calls.refusal
        first.finish(EndReason.ADMIN)
        await trio.sleep(2)

        assert (refused.value.reason, full) == ("full", "full")
        assert rig.calls.refusal is None
        assert rig.ring(SIDS[2]).sid == SIDS[2]
        assert rig.metric("relay_calls_total", end_reason="refused") == 1
        assert rig.event("call.refused")["call_sid"] == SIDS[2]


async def test_a_place_is_taken_at_once(autojump_clock: MockClock) -> None:
    """Not when the call's tasks begin to run: two webhooks in a row cannot both get the last one."""
    async with open_rig(limits=LimitsConfig(max_calls=1)) as rig:
        rig.ring(SIDS[0])
        with pytest.raises(CallRefused):
            rig.ring(SIDS[1])


async def test_a_second_webhook_for_a_call_is_the_same_call_even_when_full_or_draining(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(limits=LimitsConfig(max_calls=1)) as rig:
        call = rig.ring()
        rig.calls.draining = True

        assert rig.ring() is call
        await trio.sleep(1)
        assert len(rig.dialer.peers) == 1
        assert rig.calls.find(SID) is rig.calls.find_by_id(call.id) is call
        assert rig.calls.live() == [call]


async def test_draining_refuses_and_lets_the_calls_end_by_themselves(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        await rig.begin()
        rig.nursery.start_soon(rig.calls.drain, 30.0)
        await trio.sleep(0.1)
        with pytest.raises(CallRefused) as refused:
            rig.ring(SIDS[0])
        rig.phone.stop()
        await rig.ended("caller_hangup")

        assert refused.value.reason == rig.calls.refusal == "draining"


async def test_draining_an_empty_registry_returns_at_once(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        with trio.fail_after(0.1):
            await rig.calls.drain(30.0)


async def test_draining_waits_for_the_last_call_not_for_the_first(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        first, second = rig.ring(SIDS[0]), rig.ring(SIDS[1])
        drained = trio.Event()

        async def drain() -> None:
            await rig.calls.drain(100.0)
            drained.set()

        rig.nursery.start_soon(drain)
        await trio.sleep(1)
        first.finish(EndReason.ADMIN)
        await trio.sleep(3)
        between = drained.is_set()
        second.finish(EndReason.ADMIN)
        await trio.sleep(3)

        assert (between, drained.is_set()) == (False, True)


async def test_a_token_opens_its_own_call_once(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        call, other = rig.ring(SIDS[0]), rig.ring(SIDS[1])
        token = rig.takeover.issue_token(call)
        with pytest.raises(AuthRejected):
            rig.takeover.claim(token, other.sid)

        assert rig.takeover.claim(token, call.sid) is call
        with pytest.raises(AuthRejected):
            rig.takeover.claim(token, call.sid)


async def test_a_token_is_good_for_its_time(autojump_clock: MockClock) -> None:
    async with open_rig(twilio=TwilioConfig(token_ttl_s=10)) as rig:
        await rig.begin()
        token = rig.takeover.issue_token(rig.call)
        await trio.sleep(10.1)

        with pytest.raises(AuthRejected):
            rig.takeover.claim(token, SID)


async def test_after_the_end_a_token_is_worth_nothing(autojump_clock: MockClock) -> None:
    """Nor does it open a later call of the same CallSid."""
    async with open_rig() as rig:
        await rig.begin()
        token = rig.takeover.issue_token(rig.call)
        rig.phone.stop()
        await rig.until_over()
        with pytest.raises(AuthRejected):
            rig.takeover.claim(token, SID)
        rig.ring()
        with pytest.raises(AuthRejected):
            rig.takeover.claim(token, SID)


async def test_a_call_that_could_not_be_placed_gives_its_place_back(autojump_clock: MockClock) -> None:
    async with open_rig(limits=LimitsConfig(max_calls=1)) as rig:
        rig.dialer.failure = AssistantUnavailable("no", "VAPI_UNAUTHORIZED", retriable=False)
        for sid in SIDS:
            rig.ring(sid)
            await rig.until_over()

        assert rig.calls.refusal is None
        assert rig.metric("relay_calls_total", end_reason="assistant_unavailable") == len(SIDS)


async def test_leaving_ends_the_calls_that_are_left(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        await rig.begin()

    assert rig.event("call.ended")["reason"] == "drain"
    assert rig.assistant.told == [{"type": "end-call"}]
    assert len(rig.calls) == 0


async def test_the_deepest_queue_of_all_calls_is_measured(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        calls = [rig.ring(sid) for sid in SIDS[:2]]
        await trio.sleep(0.1)
        for peer, count in zip(rig.dialer.peers, (10, 50), strict=True):
            peer.send(numbered(0, count))
        await trio.sleep(0.1)

        assert sorted(call.queued_ms for call in calls) == [200, 1000]
        assert rig.metric("relay_playout_buffer_seconds") == 1.0
        assert rig.calls.queued_frames == 60
        for call in calls:
            call.finish(EndReason.ADMIN)
        await rig.until_over()
        assert rig.metric("relay_playout_buffer_seconds") == 0


async def test_a_call_keeps_nothing_of_the_request_that_rang(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    seen = []

    async def create(_: object, call_id: str, **options: object) -> None:
        seen.append(REQUEST.get())
        raise AssistantUnavailable("no", "VAPI_UNAUTHORIZED", retriable=False)

    async with open_rig() as rig:
        monkeypatch.setattr(type(rig.dialer), "create", create)
        REQUEST.set("a body that is long")
        rig.ring()
        await rig.until_over()

    assert seen == [""]


async def test_frames_share_messages_only_while_there_are_many_calls(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.call.calls.MANY_CALLS", 2)
    async with open_rig() as rig:
        await rig.begin()
        rig.assistant.say(numbered(0, 500))
        await trio.sleep(2)
        alone = len(rig.phone.player.log)
        other = rig.ring(SIDS[2])
        await trio.sleep(2)
        many = len(rig.phone.player.log)
        other.finish(EndReason.ADMIN)
        await rig.calls.wait_over(other)
        after = len(rig.phone.player.log)
        await trio.sleep(2)
        sizes = [line.n_bytes for line in rig.phone.player.log]

    assert max(sizes[:alone]) == 160
    assert 320 in sizes[alone:many]
    assert max(sizes[after:]) == 160
