"""The registry: who is let in, which call a token opens, and that every place is given back."""

from contextvars import ContextVar
from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock

from relay.call.assistant.dialer import NewCall
from relay.call.calls import FINISHED_MAX, REFUSAL_REASONS
from relay.call.checkpoint import new_record
from relay.config import CALLS_OF_A_CORE, LimitsConfig, SessionConfig, TwilioConfig
from relay.errors import AssistantUnavailable, AuthRejected, CallRefused
from relay.logic.end_reason import EndReason
from relay.metrics import REFUSAL_CAUSES
from tests.support.callrig import MULAW, SID, FakeDialer, config, make_late, open_rig
from tests.support.numbered import numbered

SIDS = [f"CA{number:032x}" for number in range(10)]
REQUEST: ContextVar[str] = ContextVar("REQUEST", default="")


async def test_the_limit_holds_and_a_place_is_given_back_when_its_call_is_over(autojump_clock: MockClock) -> None:
    async with open_rig(limits=LimitsConfig(max_calls=2)) as rig:
        first = rig.ring(SIDS[0])
        rig.ring(SIDS[1])
        with pytest.raises(CallRefused) as refused:
            rig.ring(SIDS[2])
        full = rig.calls.refusal_cause
        first.finish(EndReason.ADMIN)
        await trio.sleep(2)

        assert (refused.value.reason, full) == ("full", "max_calls")
        assert rig.calls.refusal_cause is None
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


async def test_a_call_keeps_the_configuration_and_the_assistant_that_it_began_with(autojump_clock: MockClock) -> None:
    next_dialer = FakeDialer(MULAW)
    async with open_rig(session=SessionConfig(max_duration_s=20)) as rig:
        first = rig.ring(SIDS[0])
        await rig.dialer.peer(0)
        longer = config(session=SessionConfig(max_duration_s=50))
        rig.calls.renew(replace(rig.calls.services, config=longer, generation=2), [next_dialer])
        second = rig.ring(SIDS[1])
        await trio.sleep(19)
        lived = rig.calls.live()
        await trio.sleep(10)

        assert (lived, rig.calls.live()) == ([first, second], [second])
        assert (len(rig.dialer.peers), len(next_dialer.peers)) == (1, 1)
        assert [line["generation"] for line in rig.events("call.started")] == [1, 2]


async def test_draining_refuses_and_lets_the_calls_end_by_themselves(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        await rig.begin()
        rig.nursery.start_soon(rig.calls.drain, 30.0)
        await trio.sleep(0.1)
        with pytest.raises(CallRefused) as refused:
            rig.ring(SIDS[0])
        rig.phone.stop()
        await rig.ended("caller_hangup")

        assert refused.value.reason == rig.calls.refusal_cause == "draining"


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

        assert rig.calls.refusal_cause is None
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

    async def create(_: object, wanted: NewCall, **how: object) -> None:
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
    assert 800 in sizes[alone:many]
    assert max(sizes[after:]) == 160


async def test_while_the_loop_is_late_new_calls_are_refused_as_by_a_full_house_and_live_ones_are_not(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        call = rig.ring(SIDS[0])
        make_late(rig.calls)
        with pytest.raises(CallRefused) as refused:
            rig.ring(SIDS[1])

        assert rig.ring(SIDS[0]) is call
        assert (refused.value.reason, refused.value.cause) == ("full", "late")
        assert rig.calls.refusal_cause == "late"
        assert (rig.event("call.refused")["reason"], rig.event("call.refused")["cause"]) == ("full", "late")
        assert rig.metric("relay_calls_refused_total", cause="late") == 1
        assert rig.metric("relay_calls_total", end_reason="refused") == 1


def test_every_cause_of_a_refusal_has_a_reason_and_a_series() -> None:
    assert set(REFUSAL_REASONS) == set(REFUSAL_CAUSES)


async def test_without_a_live_call_one_is_taken_though_the_loop_is_late(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        make_late(rig.calls)

        assert rig.ring(SIDS[0]).sid == SIDS[0]


async def test_a_call_that_another_process_has_left_is_taken_while_the_loop_is_late(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        rig.ring(SIDS[1])
        past = new_record(SIDS[0], config(), config().assistants[0].name, trio.current_time())
        make_late(rig.calls)

        assert rig.calls.go_on(past).sid == SIDS[0]


async def test_calls_are_taken_again_when_the_loop_has_been_in_time_for_a_while(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        rig.ring(SIDS[1])
        make_late(rig.calls)
        for _ in range(200):
            await trio.sleep(0.1)
            rig.calls.note_loop_lag(0.0)

        assert rig.ring(SIDS[0]).sid == SIDS[0]
        assert [rig.event("calls.paused")["calls"], rig.event("calls.resumed")["calls"]] == [1, 1]


async def test_a_number_of_calls_holds_whatever_the_loop_does(autojump_clock: MockClock) -> None:
    async with open_rig(limits=LimitsConfig(max_calls=2)) as rig:
        make_late(rig.calls)
        rig.ring(SIDS[0])
        rig.ring(SIDS[1])
        with pytest.raises(CallRefused) as refused:
            rig.ring(SIDS[2])

        assert (refused.value.reason, refused.value.cause) == ("full", "max_calls")
        assert rig.events("calls.paused") == []


async def test_without_a_number_a_process_takes_what_a_core_carries(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        for number in range(CALLS_OF_A_CORE):
            rig.ring(f"CA{number:032x}")

        assert rig.calls.refusal_cause == "max_calls"


async def test_a_call_that_is_over_is_remembered_for_operators_and_only_so_many(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        assert rig.calls.finished.maxlen == FINISHED_MAX
        for sid in SIDS[:2]:
            rig.ring(sid)
            await trio.sleep(1)
        first, second = rig.calls.live()
        second.finish(EndReason.IDLE)
        await trio.sleep(2)
        first.finish(EndReason.ADMIN)
        await rig.calls.wait_empty()
        found = list(rig.calls.finished)

        assert [(call.id, call.sid, call.reason) for call in found] == [
            (second.id, SIDS[1], EndReason.IDLE),
            (first.id, SIDS[0], EndReason.ADMIN),
        ]
        assert [call.duration_s for call in found] == [pytest.approx(1, abs=0.5), pytest.approx(4, abs=0.5)]
        assert rig.calls.begun == 2
