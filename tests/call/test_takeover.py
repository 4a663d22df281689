"""Two processes that live at the same time: a call is one's or the other's, whichever Twilio reaches."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest
import trio
from trio.testing import MockClock

from relay.call.checkpoint import STORED_WAIT_S
from relay.call.takeover import RING_WAIT_S
from relay.config import ReconnectConfig, TwilioConfig
from relay.errors import AuthRejected
from relay.metrics import Metrics
from relay.state import StateStore
from relay.state.memory import MemoryBackend, MemoryTables
from relay.state.store import inline
from relay.state.write_behind import BEAT_S
from tests.support.callrig import SID, Rig, open_rig

T = TypeVar("T")
OTHER_SID = "CA" + "9" * 32


def store(owner: str, tables: MemoryTables) -> StateStore:
    return StateStore(MemoryBackend(owner, tables, wall=trio.current_time), Metrics(), executor=inline)


async def admitted(rig: Rig, token: str, sid: str = SID) -> bool:
    try:
        rig.call = await rig.takeover.admit(token, sid)
    except AuthRejected:
        return False
    return True


async def test_a_token_opens_the_call_in_another_process_once_and_the_first_lets_it_go(
    autojump_clock: MockClock,
) -> None:
    tables = MemoryTables()
    async with open_rig(store=store("first", tables)) as first, open_rig(store=store("second", tables)) as second:
        call = first.ring()
        token = first.takeover.issue_token(call)
        await first.calls.checkpoints.stored(call.sid)

        assert not await admitted(second, token, OTHER_SID)
        assert not await admitted(second, "A" * 32)
        assert await admitted(second, token)
        assert second.call.id == call.id
        await trio.sleep(BEAT_S + 2.5)
        assert len(first.calls) == 0
        assert not await admitted(first, token)
        assert not await admitted(second, token)
        assert tables.rows[SID].owner == "second"
        assert b'"end_reason":null' in tables.rows[SID].record
        assert [line["reason"] for line in second.events("call.ended")] == ["drain"]
        assert not first.calls.lacked_assistant(SID)


async def test_a_first_that_is_asked_again_takes_its_call_back(autojump_clock: MockClock) -> None:
    tables = MemoryTables()
    async with open_rig(store=store("first", tables)) as first, open_rig(store=store("second", tables)) as second:
        call = first.ring()
        token = first.takeover.issue_token(call)
        await first.calls.checkpoints.stored(call.sid)
        assert await admitted(second, token)
        await trio.sleep(5)

        assert await first.takeover.goes_on_elsewhere(SID)
        assert await first.takeover.take(SID) is None
        again = await first.takeover.take(SID, by_force=True)
        assert again is not None
        await trio.sleep(5)
        assert (len(first.calls), len(second.calls)) == (1, 0)
        assert tables.rows[SID].owner == "first"


async def test_a_token_that_was_used_or_is_too_old_opens_nothing_elsewhere(autojump_clock: MockClock) -> None:
    tables = MemoryTables()
    limit = TwilioConfig(token_ttl_s=60)
    async with (
        open_rig(store=store("first", tables), twilio=limit) as first,
        open_rig(store=store("second", tables), twilio=limit) as second,
    ):
        await first.begin()
        used, old = first.takeover.issue_token(first.call), first.takeover.issue_token(first.call)
        first.takeover.claim(used, SID)
        await first.calls.checkpoints.stored(first.call.sid)
        assert not await admitted(second, used)
        await trio.sleep(60.1)

        assert not await admitted(second, old)
        assert first.calls.find(SID) is first.call


async def test_a_token_of_a_process_that_was_killed_opens_its_call_at_once(autojump_clock: MockClock) -> None:
    tables = MemoryTables()
    async with open_rig(store=store("old", tables)) as old:
        call = old.ring()
        token = old.takeover.issue_token(call)
        await old.calls.checkpoints.stored(call.sid)
    before = trio.current_time()
    async with open_rig(store=store("new", tables)) as new:
        assert await admitted(new, token)
        assert trio.current_time() == before
        assert new.call.id == call.id
        await new.meet_assistant()
        phone = await new.attach(new.call)
        await trio.sleep(1)
        assert not phone.hung_up.is_set()
        assert [greet for greet, _ in new.dialer.asked] == [True]


async def test_a_process_that_drains_takes_no_call_from_another(autojump_clock: MockClock) -> None:
    tables = MemoryTables()
    async with open_rig(store=store("first", tables)) as first, open_rig(store=store("second", tables)) as second:
        call = first.ring()
        token = first.takeover.issue_token(call)
        await first.calls.checkpoints.stored(call.sid)
        second.calls.draining = True

        assert not await admitted(second, token)
        assert await second.takeover.take(SID, by_force=True) is None
        assert tables.rows[SID].owner == "first"


async def test_a_phone_that_rings_again_at_another_process_is_the_same_call(autojump_clock: MockClock) -> None:
    """The answer of the first was lost, as when it is killed in between, or it came too late for Twilio."""
    tables = MemoryTables()
    async with open_rig(store=store("first", tables)) as first, open_rig(store=store("second", tables)) as second:
        call = await first.takeover.ring(SID)
        first.takeover.issue_token(call)
        await first.calls.checkpoints.stored(call.sid)
        again = await second.takeover.ring(SID)
        await trio.sleep(BEAT_S + 2.5)

        assert again.id == call.id
        assert (len(first.calls), len(second.calls)) == (0, 1)
        assert second.calls.find(SID) is again


async def test_a_call_keeps_the_rules_that_it_began_with(autojump_clock: MockClock) -> None:
    tables = MemoryTables()
    strict = ReconnectConfig(reattach_attempts=1, reattach_grace_s=7)
    async with open_rig(store=store("old", tables), reconnect=strict) as old:
        await old.begin()
        await trio.sleep(0.1)
    async with open_rig(store=store("new", tables)) as new:
        call = await new.takeover.take(SID)
        assert call is not None
        assert [call.grant_reattach(), call.grant_reattach()] == [True, False]
        phone = await new.attach(call)
        await trio.sleep(1)
        lost_at = trio.current_time()
        phone.peer.lose()
        await new.until_over(20)

    assert trio.current_time() - lost_at == pytest.approx(7, abs=1)


async def test_the_attempts_count_across_any_number_of_processes(autojump_clock: MockClock) -> None:
    tables = MemoryTables()
    granted = []
    async with open_rig(store=store("0", tables)) as rig:
        await rig.begin()
        await trio.sleep(0.1)
    for number in range(1, 5):
        async with open_rig(store=store(str(number), tables)) as rig:
            call = await rig.takeover.take(SID)
            assert call is not None
            granted.append(call.grant_reattach())
            rig.takeover.issue_token(call)
            await rig.calls.checkpoints.stored(call.sid)

    assert granted == [True, True, True, False]


async def test_a_store_that_does_not_answer_keeps_no_phone_ringing(autojump_clock: MockClock) -> None:
    async def hang(function: Callable[[], T]) -> T:
        await trio.sleep_forever()
        raise AssertionError

    stuck: Callable[..., Awaitable[object]] = hang
    async with open_rig(store=StateStore(MemoryBackend("only"), Metrics(), executor=stuck)) as rig:  # type: ignore[arg-type]
        before = trio.current_time()
        call = await rig.takeover.ring(SID)
        token = rig.takeover.issue_token(call)
        await rig.calls.checkpoints.stored(call.sid)
        first_s = trio.current_time() - before
        await trio.sleep(5)
        before = trio.current_time()
        other = await rig.takeover.ring(OTHER_SID)
        await rig.calls.checkpoints.stored(other.sid)

        assert first_s == pytest.approx(RING_WAIT_S + STORED_WAIT_S)
        assert trio.current_time() == before
        assert rig.calls.checkpoints.failing
        assert rig.takeover.claim(token, SID) is call


async def test_a_token_that_the_store_cannot_be_asked_about_is_refused(autojump_clock: MockClock) -> None:
    class Down(MemoryBackend):
        def load(self, call_sid: str) -> bytes | None:
            raise ConnectionError

    async with open_rig(store=StateStore(Down("only"), Metrics(), executor=inline)) as rig:
        assert not await admitted(rig, "A" * 32)
