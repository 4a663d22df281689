"""A process is gone, another goes on with its calls: what it knows of them, and who notices what."""

from collections.abc import Callable
from typing import TypeVar

import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock

from relay.call.report.events import StateChanged
from relay.config import SessionConfig
from relay.metrics import END_REASONS, Metrics
from relay.state import StateStore
from relay.state.memory import MemoryBackend, MemoryTables
from relay.state.store import inline
from tests.support.callrig import SID, TONE, Assistant, Rig, open_rig
from tests.support.numbered import numbered, whole_and_in_order

T = TypeVar("T")


class Place(MemoryBackend):
    """A store that several processes share, and that may be down."""

    down = False
    saves = 0

    def __init__(self, owner: str, tables: MemoryTables) -> None:
        super().__init__(owner, tables, wall=trio.current_time)

    def save(self, call_sid: str, record: bytes, expires_at: float) -> bool:
        self._up()
        self.saves += 1
        return super().save(call_sid, record, expires_at)

    def beat(self) -> None:
        self._up()
        super().beat()

    def _up(self) -> None:
        if self.down:
            raise ConnectionError("refused")


def store(owner: str, tables: MemoryTables) -> StateStore:
    return StateStore(Place(owner, tables), Metrics(), executor=inline)


async def talk(rig: Rig) -> None:
    """A greeting that is heard to its end, and an order that is understood."""
    rig.assistant.speech("started")
    rig.assistant.say(numbered(0, 50))
    rig.assistant.transcript("Hello, how can I help you?", role="assistant", kind="final")
    await trio.sleep(3)
    rig.assistant.transcript("I want to cancel", kind="final")


def context(assistant: Assistant) -> list[tuple[str, str, bool]]:
    notes = [note for note in assistant.told if note["type"] == "add-message"]
    return [(n["message"]["role"], n["message"]["content"], n["triggerResponseEnabled"]) for n in notes]


async def go_on(rig: Rig, sid: str = SID) -> Assistant:
    """Take the call over; its assistant, once it has heard what there is to know."""
    call = await rig.takeover.take(sid)
    assert call is not None
    assert call.report.status.current == StateChanged("reconnecting", "assistant lost")
    rig.call = call
    rig.assistant = await rig.meet_assistant()
    rig.phone = await rig.attach(call)
    await trio.sleep(3)
    return rig.assistant


async def killed(tables: MemoryTables) -> str:
    """A process with one call, that is gone from one moment to the next; the id of the call."""
    async with open_rig(store=store("old", tables)) as rig:
        await rig.begin()
        await talk(rig)
        await trio.sleep(0.1)
        return rig.call.id


async def test_a_call_goes_on_with_what_was_said_and_what_was_heard(autojump_clock: MockClock) -> None:
    tables = MemoryTables()
    call_id = await killed(tables)
    async with open_rig(store=store("new", tables)) as rig:
        assistant = await go_on(rig)
        rig.phone.say(TONE * 50)
        await trio.sleep(2)
        assistant.say(numbered(0, 100))
        await trio.sleep(3)

        assert rig.call.id == call_id
        assert rig.dialer.asked == [(False, "vapi-0")]
        assert context(assistant) == [
            ("assistant", "Hello, how can I help you?", False),
            ("user", "I want to cancel", True),
        ]
        assert whole_and_in_order(rig.phone.heard(), 0, 100)
        assert TONE * 50 in assistant.heard
        assert rig.dialer.hung_up[0] == "vapi-0"
        line = rig.event("call.taken_over")
        assert (line["call_id"], line["turns"]) == (call_id, 2)
        assert 3 < line["age_s"] < 7


async def test_what_the_assistant_was_saying_is_known_as_far_as_it_was_heard(autojump_clock: MockClock) -> None:
    tables = MemoryTables()
    async with open_rig(store=store("old", tables)) as rig:
        await rig.begin()
        rig.assistant.speech("started")
        rig.assistant.send(numbered(0, 500))
        rig.assistant.transcript(" ".join(f"w{number}" for number in range(100)), role="assistant", kind="final")
        await trio.sleep(6)
    async with open_rig(store=store("new", tables)) as rig:
        ((role, content, triggers),) = context(await go_on(rig))

    words = content.removesuffix(" \N{EM DASH}").split()
    assert (role, triggers) == ("assistant", True)
    assert content.endswith("\N{EM DASH}")
    assert words == [f"w{number}" for number in range(len(words))]
    assert 35 <= len(words) <= 60


async def test_a_call_of_which_nothing_was_said_begins_with_its_greeting(autojump_clock: MockClock) -> None:
    tables = MemoryTables()
    async with open_rig(store=store("old", tables)) as rig:
        rig.ring()
        await trio.sleep(0.5)
    async with open_rig(store=store("new", tables)) as rig:
        assistant = await go_on(rig)

        assert rig.dialer.asked[0][0]
        assert context(assistant) == []


async def test_a_process_that_was_killed_is_waited_for_until_its_lease_is_over(autojump_clock: MockClock) -> None:
    tables = MemoryTables()
    await killed(tables)
    before = trio.current_time()
    async with open_rig(store=store("new", tables)) as rig:
        await go_on(rig)

    assert rig.event("call.taken_over")
    assert trio.current_time() - before < 3 + 2.5


@pytest.mark.parametrize("how", ["unknown", "ended", "lives elsewhere"])
async def test_what_is_not_to_go_on_is_not_taken_over(how: str, autojump_clock: MockClock) -> None:
    tables = MemoryTables()
    async with open_rig(store=store("old", tables)) as old:
        if how != "unknown":
            await old.begin()
            await trio.sleep(1)
        if how == "ended":
            old.phone.stop()
            await old.until_over()
            await trio.sleep(1)
        async with open_rig(store=store("new", tables)) as new:
            assert await new.takeover.take(SID) is None
            assert await new.takeover.goes_on_elsewhere(SID) == (how == "lives elsewhere")
            assert len(new.calls) == 0


async def test_a_call_that_ended_here_is_over_whatever_the_store_still_says(autojump_clock: MockClock) -> None:
    tables = MemoryTables()
    async with open_rig(store=store("only", tables)) as rig:
        await rig.begin()
        await trio.sleep(1)
        rig.phone.stop()
        await rig.calls.wait_empty()

        assert await rig.takeover.take(SID) is None


async def test_asked_twice_at_once_there_is_one_call(autojump_clock: MockClock) -> None:
    tables = MemoryTables()
    await killed(tables)
    found = []
    async with open_rig(store=store("new", tables)) as rig:

        async def take() -> None:
            found.append(await rig.takeover.take(SID))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(take)
            nursery.start_soon(take)
        await trio.sleep(1)

        assert found[0] is found[1] is not None
        assert len(rig.calls) == len(rig.dialer.asked) == 1


async def test_the_longest_duration_counts_from_where_the_call_began(autojump_clock: MockClock) -> None:
    tables = MemoryTables()
    limit = SessionConfig(max_duration_s=40)
    async with open_rig(store=store("old", tables), session=limit) as rig:
        await rig.begin()
        await trio.sleep(25)
    async with open_rig(store=store("new", tables), session=limit) as rig:
        await go_on(rig)
        await rig.ended("max_duration", within_s=16)


async def test_the_attempts_of_the_caller_count_on(autojump_clock: MockClock) -> None:
    tables = MemoryTables()
    async with open_rig(store=store("old", tables)) as rig:
        await rig.begin()
        granted = [rig.call.grant_reattach() for _ in range(2)]
        await trio.sleep(2)
    async with open_rig(store=store("new", tables)) as rig:
        await go_on(rig)
        granted += [rig.call.grant_reattach() for _ in range(2)]

    assert granted == [True, True, True, False]


async def test_drained_with_a_store_a_call_is_handed_over_before_its_caller_is_let_go(
    autojump_clock: MockClock,
) -> None:
    tables = MemoryTables()
    async with open_rig(store=store("old", tables)) as rig:
        await rig.begin()
        await talk(rig)
        await trio.sleep(0.01)
        before = trio.current_time()
        await rig.calls.drain(0)

        assert rig.phone.hung_up.is_set()
        assert trio.current_time() - before < 2
        assert await rig.takeover.goes_on_elsewhere(SID)
        assert rig.event("calls.handed_over")["complete"]
        await rig.ended("drain")
    before = trio.current_time()
    async with open_rig(store=store("new", tables)) as rig:
        assistant = await go_on(rig)

        assert trio.current_time() - before < 3.3  # the lease was not waited for
        assert context(assistant)[-1] == ("user", "I want to cancel", True)


async def test_a_call_that_ended_while_draining_goes_on_nowhere(autojump_clock: MockClock) -> None:
    tables = MemoryTables()
    async with open_rig(store=store("old", tables)) as rig:
        await rig.begin()
        rig.nursery.start_soon(rig.calls.drain, 30.0)
        await trio.sleep(1)
        lives = await rig.takeover.goes_on_elsewhere(SID)
        rig.assistant.tell(type="status-update", status="ended", endedReason="assistant-ended-call")
        await rig.until_over(10)
        await trio.sleep(1)

        assert not lives
        assert not await rig.takeover.goes_on_elsewhere(SID)
        assert await rig.takeover.goes_on_elsewhere("CA" + "9" * 32)
    async with open_rig(store=store("new", tables)) as rig:
        assert await rig.takeover.take(SID) is None


def keys(assistant: Assistant) -> list[str]:
    """The keys of which it was told, in order."""
    contents = (content for _, content, _ in context(assistant))
    return [content.split()[3] for content in contents if content.startswith("[The caller pressed ")]


@pytest.mark.parametrize("end", ["killed", "drained"])
async def test_keys_that_the_assistant_has_not_answered_to_reach_the_next_process_once(
    end: str, autojump_clock: MockClock
) -> None:
    tables = MemoryTables()
    async with open_rig(store=store("old", tables)) as rig:
        await rig.begin()
        rig.phone.press("1")
        await trio.sleep(0.1)
        await talk(rig)
        for digit in "234":
            rig.phone.press(digit)
            await trio.sleep(0.1)
        assert keys(rig.assistant) == ["1", "2", "3", "4"]
        if end == "drained":
            await rig.calls.drain(0)
    async with open_rig(store=store("new", tables)) as rig:
        assistant = await go_on(rig)
        rig.phone.press("5")
        await trio.sleep(0.1)

        assert keys(assistant) == ["2", "3", "4", "5"], "to the first one the assistant has answered"
        assert rig.call.summary()["notes_dropped"] == {}


async def test_a_key_that_no_assistant_was_there_to_be_told_of_reaches_the_next_process(
    autojump_clock: MockClock,
) -> None:
    tables = MemoryTables()
    async with open_rig(store=store("old", tables)) as rig:
        rig.dialer.answer_after_s = 30.0
        phone = await rig.attach(rig.ring())
        phone.press("1")
        await trio.sleep(0.1)
    async with open_rig(store=store("new", tables)) as rig:
        assert await rig.takeover.take(SID)
        assistant = await rig.meet_assistant()
        await trio.sleep(0.1)

        assert keys(assistant) == ["1"]


async def test_a_key_behind_the_last_record_is_counted_as_lost(autojump_clock: MockClock) -> None:
    """The store is slow, and the call is no longer ours to write down."""
    tables = MemoryTables()
    place = Place("old", tables)

    async def slowly(function: Callable[[], T]) -> T:
        await trio.sleep(0.5)
        return function()

    async with open_rig(store=StateStore(place, Metrics(), executor=slowly)) as rig:
        await rig.begin()
        await trio.sleep(3)
        rig.nursery.start_soon(rig.calls.drain, 0)
        await trio.sleep(0.1)
        rig.phone.press("1")
        await rig.ended("drain", within_s=10)

        assert rig.event("assistant.notes_dropped")["code"] == "NOTES_LEFT"
        assert rig.event("call.ended")["notes_dropped"] == {"NOTES_LEFT": 1}
        assert keys(rig.assistant) == [], "its answer would not be heard"


async def test_a_key_of_which_the_process_that_took_the_call_does_not_know_is_counted_as_lost(
    autojump_clock: MockClock,
) -> None:
    tables = MemoryTables()
    async with open_rig(store=store("slow", tables)) as rig:
        await rig.begin()
        rig.phone.press("1")
        await trio.sleep(1.3)
        tables.alive_until.clear()
        taken = await store("new", tables).take(SID)
        rig.phone.press("2")
        rig.phone.press("3")
        await rig.ended("drain", within_s=5)

        assert taken is not None
        assert len(taken.notes) == 1
        assert rig.event("call.ended")["notes_dropped"] == {"NOTES_LEFT": 2}


async def test_a_process_that_was_followed_lets_its_call_go_and_leaves_it_to_the_other(
    autojump_clock: MockClock,
) -> None:
    """It was so slow that it was taken for dead."""
    tables = MemoryTables()
    async with open_rig(store=store("slow", tables)) as rig:
        await rig.begin()
        await trio.sleep(1.3)
        tables.alive_until.clear()
        assert await store("new", tables).take(SID) is not None
        await talk(rig)
        await rig.ended("drain", within_s=5)
        assert await rig.takeover.goes_on_elsewhere(SID)
    assert tables.rows[SID].owner == "new"
    assert b'"end_reason":null' in tables.rows[SID].record


async def test_a_store_that_is_down_is_said_once_and_no_call_notices(autojump_clock: MockClock) -> None:
    tables = MemoryTables()
    place = Place("only", tables)
    with capture_logs():
        async with open_rig(store=StateStore(place, Metrics(), executor=inline)) as rig:
            place.down = True
            await rig.begin()
            rig.assistant.say(numbered(0, 500))
            await trio.sleep(15)
            down = len(rig.events("state.unavailable"))
            place.down = False
            await trio.sleep(5)

            assert whole_and_in_order(rig.phone.heard(), 0, 500)
            assert down == 1
            assert len(rig.events("state.recovered")) == 1
            assert SID in tables.rows


async def test_while_nothing_happens_nothing_is_written(autojump_clock: MockClock) -> None:
    place = Place("only", MemoryTables())
    async with open_rig(store=StateStore(place, Metrics(), executor=inline)) as rig:
        await rig.begin()
        await talk(rig)
        await trio.sleep(2)
        before = place.saves
        await trio.sleep(30)
        quiet = place.saves
        rig.assistant.transcript("At once", kind="final")
        await trio.sleep(0.05)

        assert quiet == before
        assert place.saves == before + 1
        assert b"At once" in (place.load(SID) or b"")


@pytest.mark.parametrize("stored", [True, False])
async def test_after_a_stop_that_was_no_hang_up_the_conversation_goes_on_for_as_long_as_the_call_may_last(
    autojump_clock: MockClock, *, stored: bool
) -> None:
    """The account's other program used the live call for a while, and gives it back."""
    kept = store("only", MemoryTables()) if stored else None
    async with open_rig(store=kept, session=SessionConfig(max_duration_s=60)) as rig:
        await rig.begin()
        await talk(rig)
        first = rig.call
        rig.phone.stop()
        await rig.until_over(2)
        await trio.sleep(15)
        rig.dialer.connected = trio.Event()
        call = await rig.takeover.take(SID, in_progress=True)
        assert call is not None
        rig.call = call
        assistant = await rig.meet_assistant()
        rig.phone = await rig.attach(call)
        await trio.sleep(3)

        assert call.id == first.id
        assert rig.dialer.asked[-1] == (False, "vapi-0")
        assert context(assistant) == [
            ("assistant", "Hello, how can I help you?", False),
            ("user", "I want to cancel", True),
        ]
        await rig.until_over(60)
        assert [line["reason"] for line in rig.events("call.ended")] == ["caller_hangup", "max_duration"]
        assert rig.events("call.ended")[-1]["duration_s"] == pytest.approx(60, abs=0.1)
        assert [rig.metric("relay_calls_total", end_reason=reason) for reason in END_REASONS] == [
            float(reason == "caller_hangup") for reason in END_REASONS
        ], "one call is counted once"
        assert rig.metric("relay_calls_active") == 0


async def test_the_assistant_that_a_hand_off_had_put_on_the_line_is_known_to_the_next_process(
    autojump_clock: MockClock,
) -> None:
    tables = MemoryTables()
    async with open_rig(store=store("old", tables)) as rig:
        await rig.begin()
        await talk(rig)
        rig.assistant.tell(type="transfer-update", toAssistant={"id": "a-2"})
        await trio.sleep(0.1)
    async with open_rig(store=store("new", tables)) as rig:
        await go_on(rig)

        assert rig.dialer.asked_for == ["a-2"]


async def test_what_the_assistant_is_told_of_the_caller_reaches_every_call_with_it_in_every_process_and_no_log(
    autojump_clock: MockClock,
) -> None:
    tables, known = MemoryTables(), {"callerNumber": "+15005550006"}
    async with open_rig(store=store("old", tables)) as rig:
        call = await rig.takeover.ring(SID, known)
        await rig.meet_assistant()
        call.tell_of_caller({"plan": "gold-plated"})
        rig.dialer.connected = trio.Event()
        await trio.sleep(3)
        rig.dialer.peers[0].lose()
        await rig.meet_assistant()
        told, logged = rig.dialer.told, rig.logged
    async with open_rig(store=store("new", tables)) as rig:
        await go_on(rig)
        told, logged = told + rig.dialer.told, logged + rig.logged

    assert told == [known, known | {"plan": "gold-plated"}, known | {"plan": "gold-plated"}]
    assert [line for line in logged if "5005550006" in str(line) or "gold-plated" in str(line)] == []


@pytest.mark.parametrize("stored", [True, False])
async def test_a_minute_after_the_stop_it_is_too_late(autojump_clock: MockClock, *, stored: bool) -> None:
    async with open_rig(store=store("only", MemoryTables()) if stored else None) as rig:
        await rig.begin()
        rig.phone.stop()
        await rig.until_over(2)
        await trio.sleep(61)

        assert await rig.takeover.take(SID, in_progress=True) is None
