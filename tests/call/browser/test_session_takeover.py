"""A browser's session goes on in another process when its own is dead, for who shows its tokens, and not before."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from relay.call.browser import session_takeover
from relay.call.browser.session import BrowserSession
from relay.call.browser.session_takeover import sid_of
from relay.call.browser.sessions import BrowserSessions, open_browser_sessions
from relay.call.checkpoint import HEARD_EVERY_S
from relay.call.takeover import TAKE_WAIT_S
from relay.config import ReconnectConfig, ServerConfig
from relay.errors import RequestRefused, SessionElsewhere
from relay.logic.browser.kept_session import TURNS_OF_A_PROCESS
from relay.logic.end_reason import EndReason
from relay.media.frames import AudioFormat, Encoding
from relay.metrics import Metrics
from relay.refusals import Refusals
from relay.state import StateStore
from relay.state.backend import LEASE_S
from relay.state.memory import MemoryBackend, MemoryTables
from relay.state.store import inline
from relay.wire.browser import ClientAudio, ClientStart
from relay.wire.browser_down import AssistantAudio, Text
from tests.support.callrig import TONE, Rig, config, open_rig

FORMAT = AudioFormat(Encoding.PCM_S16LE, 24_000)
START = ClientStart(format=FORMAT)


class Backend(MemoryBackend):
    """Can be down, and its process can be dead: then it renews no lease."""

    down = dead = False

    def beat(self) -> None:
        if self.dead:
            raise ConnectionError
        super().beat()

    def load(self, call_sid: str) -> bytes | None:
        if self.down:
            raise ConnectionError
        return super().load(call_sid)


@dataclass
class Process:
    rig: Rig
    sessions: BrowserSessions
    backend: Backend


@asynccontextmanager
async def process(name: str, tables: MemoryTables | None, **sections: Any) -> AsyncIterator[Process]:
    backend = Backend(name, tables, wall=trio.current_time)
    store = None if tables is None else StateStore(backend, Metrics(), executor=inline)
    server = ServerConfig(instance=name)
    async with (
        open_rig(store=store, server=server, **sections) as rig,
        open_browser_sessions(config(server=server, **sections), rig.calls, Refusals(rig.metrics)) as sessions,
    ):
        yield Process(rig, sessions, backend)


@asynccontextmanager
async def two() -> AsyncIterator[tuple[Process, Process, MemoryTables]]:
    tables = MemoryTables()
    async with process("1", tables) as one, process("2", tables) as other:
        yield one, other, tables


async def begun(one: Process) -> tuple[BrowserSession, str]:
    """A session that is in the store, and its resume token."""
    session = one.sessions.begin(START, "a")
    resume = one.sessions.renew_resume(session)
    await one.rig.calls.checkpoints.stored(sid_of(session.id))
    return session, resume


def code(refused: pytest.ExceptionInfo[RequestRefused]) -> tuple[int, str]:
    return refused.value.status, refused.value.code


def texts(session: BrowserSession) -> list[bytes]:
    messages, _ = session.leg.outbox.read(0, 100)
    return [message.body for _, message in messages if isinstance(message, Text)]


async def test_a_session_of_a_process_that_died_goes_on_with_its_resume_token_once(
    autojump_clock: MockClock,
) -> None:
    async with two() as (one, other, tables):
        session, resume = await begun(one)
        one.backend.dead = True
        began_s = trio.current_time()
        taken = await other.sessions.resume(resume, ClientStart(after=7), "b")
        waited_s = trio.current_time() - began_s
        with pytest.raises(RequestRefused) as refused:
            await other.sessions.resume(resume, ClientStart(), "b")
        again = other.sessions.renew_resume(taken)
        assert await other.sessions.resume(again, ClientStart(), "b") is taken

        assert waited_s <= LEASE_S + 0.2
        assert taken.id == f"2.{session.id.removeprefix('1.')}"
        assert (taken.call_id, taken.declared, taken.leg.format) == (session.id, FORMAT, FORMAT)
        assert taken.token != session.token
        assert code(refused) == (403, "RESUME_USED")
        assert taken.leg.outbox.last == 7
        assert tables.rows[sid_of(session.id)].owner == "2"
        assert [line["call_id"] for line in other.rig.logged if line["event"] == "call.taken_over"] == [session.id]


async def test_by_polling_a_session_goes_on_with_its_own_token_under_its_old_address(
    autojump_clock: MockClock,
) -> None:
    async with two() as (one, other, _):
        session, resume = await begun(one)
        one.backend.dead = True
        bearer, found = f"Bearer {session.token}", list[BrowserSession]()

        async def ask() -> None:
            found.append(await other.sessions.reach(session.id, bearer, "b"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            nursery.start_soon(ask)

        assert found[0] is found[1]
        assert await other.sessions.reach(found[0].id, bearer, "b") is found[0]
        assert await other.sessions.resume(resume, ClientStart(), "b") is found[0]
        assert len(other.rig.calls) == 1


async def test_while_its_process_lives_a_session_is_elsewhere_and_the_client_learns_where(
    autojump_clock: MockClock,
) -> None:
    async with two() as (one, other, tables):
        session, resume = await begun(one)
        ways: list[Callable[[], Awaitable[object]]] = [
            lambda: other.sessions.resume(resume, ClientStart(), "b"),
            lambda: other.sessions.reach(session.id, f"Bearer {session.token}", "b"),
        ]
        for asked in ways:
            began_s = trio.current_time()
            with pytest.raises(SessionElsewhere) as refused:
                await asked()
            assert (code(refused), refused.value.session_id) == ((421, "SESSION_ELSEWHERE"), session.id)
            assert trio.current_time() - began_s <= TAKE_WAIT_S + 0.1

        assert tables.rows[sid_of(session.id)].owner == "1"
        assert (len(other.sessions), session.over) == (0, False)
        assert await one.sessions.resume(resume, ClientStart(), "b") is session


async def test_who_shows_no_token_of_a_session_waits_for_nothing_learns_nothing_and_moves_nothing(
    autojump_clock: MockClock,
) -> None:
    async with two() as (one, other, tables):
        session, _ = await begun(one)
        one.backend.dead = True
        await trio.sleep(LEASE_S + 1)
        began_s = trio.current_time()
        for token in ("guessed", ""):
            with pytest.raises(SessionElsewhere) as refused:
                await other.sessions.reach(session.id, f"Bearer {token}", "b")
            assert refused.value.session_id == ""
            with pytest.raises(SessionElsewhere) as refused:
                await other.sessions.resume(f"{session.id}.{token}", ClientStart(), "b")
            assert refused.value.session_id == ""
        with pytest.raises(RequestRefused) as missing:
            await other.sessions.reach(session.id, None, "b")

        assert code(missing) == (421, "SESSION_ELSEWHERE")
        assert trio.current_time() - began_s < 0.1
        assert tables.rows[sid_of(session.id)].owner == "1"


async def test_a_process_that_follows_under_the_same_name_learns_who_has_the_session_now(
    autojump_clock: MockClock,
) -> None:
    tables = MemoryTables()
    async with process("2", tables) as other:
        async with process("1", tables) as one:
            session, resume = await begun(one)
            one.backend.dead = True
            taken = await other.sessions.resume(resume, ClientStart(), "b")
        async with process("1", tables) as following:
            following.backend._owner = "another"  # a process has a new name in the store
            with pytest.raises(SessionElsewhere) as refused:
                await following.sessions.reach(session.id, f"Bearer {taken.token}", "b")

        assert refused.value.session_id == taken.id


async def test_a_session_that_goes_on_numbers_turns_and_messages_behind_those_that_the_client_has(
    autojump_clock: MockClock,
) -> None:
    async with two() as (one, other, _):
        session, _ = await begun(one)
        for number in (1, 2, 3):
            await session.leg.feed(ClientAudio(FORMAT, bytes(960), sequence=number, ms=number * 20))
        await trio.sleep(HEARD_EVERY_S * 2)
        one.backend.dead = True
        taken = await other.sessions.reach(session.id, f"Bearer {session.token}", "b")
        outbox = taken.leg.outbox
        await other.rig.dialer.connected.wait()
        other.rig.dialer.peers[0].send(TONE * 40)
        with trio.fail_after(5):
            while outbox.turn == TURNS_OF_A_PROCESS:  # noqa: ASYNC110 - a test has no event for this
                await trio.sleep(0.02)
        outbox.go_on_behind(41)
        messages, _ = outbox.read(41, 500)
        (turn,) = {message.turn for _, message in messages if isinstance(message, AssistantAudio)}

        assert taken.leg.uplink.next == 4
        assert [number for number, _ in messages] == list(range(42, 42 + len(messages)))
        assert turn == outbox.turn == TURNS_OF_A_PROCESS + 1
        assert outbox.position_of(turn, 20) == 20
        assert outbox.position_of(1, 20) is None


async def test_a_process_that_stops_tells_no_client_that_the_session_is_over_and_another_has_it_at_once(
    autojump_clock: MockClock,
) -> None:
    async with two() as (one, other, _):
        session, resume = await begun(one)
        await one.rig.calls.drain(0)
        await trio.sleep(0.5)
        with pytest.raises(RequestRefused) as refused:
            await one.sessions.resume(resume, ClientStart(), "b")
        began_s = trio.current_time()
        taken = await other.sessions.resume(resume, ClientStart(), "b")

        assert code(refused) == (503, "DRAINING")
        assert (session.over, session.goes_on_elsewhere) == (True, True)
        assert [text for text in texts(session) if b'"ended"' in text] == []
        assert taken.call_id == session.call_id
        assert trio.current_time() - began_s < 0.1


async def test_a_session_that_brings_down_one_process_after_the_other_ends(autojump_clock: MockClock) -> None:
    tables = MemoryTables()
    once = ReconnectConfig(reattach_attempts=1)
    async with process("1", tables, reconnect=once) as one, process("2", tables, reconnect=once) as other:
        session, _ = await begun(one)
        bearer = f"Bearer {session.token}"
        one.backend.dead = True
        taken = await other.sessions.reach(session.id, bearer, "b")
        await other.rig.calls.checkpoints.stored(sid_of(session.id))
        other.backend.dead = True
        async with process("3", tables, reconnect=once) as third:
            with pytest.raises(SessionElsewhere) as refused:
                await third.sessions.reach(taken.id, bearer, "b")
            await third.rig.calls.wait_empty()

        assert refused.value.session_id == ""


async def test_without_a_store_a_session_ends_with_its_process_and_says_so(autojump_clock: MockClock) -> None:
    async with process("1", None) as one, process("2", None) as other:
        session = one.sessions.begin(START, "a")
        resume = one.sessions.renew_resume(session)
        await trio.testing.wait_all_tasks_blocked()
        await one.rig.calls.drain(0)
        await trio.sleep(0.5)
        with pytest.raises(RequestRefused) as refused:
            await other.sessions.resume(resume, ClientStart(), "b")

        assert code(refused) == (421, "SESSION_ELSEWHERE")
        assert [text for text in texts(session) if b'"ended"' in text and b'"drain"' in text] != []


async def test_a_session_that_was_ended_goes_on_nowhere(autojump_clock: MockClock) -> None:
    async with two() as (one, other, tables):
        session, resume = await begun(one)
        session.end(EndReason.ADMIN)
        await one.rig.calls.wait_empty()
        await trio.sleep(0.5)
        one.backend.dead = True
        await trio.sleep(LEASE_S + 1)
        with pytest.raises(SessionElsewhere) as refused:
            await other.sessions.resume(resume, ClientStart(), "b")

        assert refused.value.session_id == ""
        assert b"sha256" not in tables.rows[sid_of(session.id)].record


async def test_a_store_that_is_away_is_an_answer_to_try_again_and_costs_no_session(autojump_clock: MockClock) -> None:
    async with two() as (one, other, _):
        session, resume = await begun(one)
        own, _ = await begun(other)
        other.backend.down = True
        with pytest.raises(RequestRefused) as refused:
            await other.sessions.resume(resume, ClientStart(), "b")

        assert code(refused) == (503, "STATE_UNAVAILABLE")
        assert await other.sessions.reach(own.id, f"Bearer {own.token}", "b") is own
        assert not session.over


async def test_so_many_are_looked_for_at_a_time_and_no_more(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_takeover, "AT_ONCE_MAX", 1)
    async with two() as (one, other, _):
        session, resume = await begun(one)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(refused_with, lambda: other.sessions.resume(resume, ClientStart(), "b"), 421)
            await trio.testing.wait_all_tasks_blocked()
            await refused_with(lambda: other.sessions.resume(f"{session.id}.x", ClientStart(), "c"), 503)


async def refused_with(ask: Callable[[], Awaitable[object]], status: int) -> None:
    with pytest.raises(RequestRefused) as refused:
        await ask()
    assert refused.value.status == status
