"""One call with the assistant: how it can come to its end, what is done then, and what is learned from it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from relay.call.assistant.connection import LEAVE_S, STABLE_S, Connection, Ending, Talk
from relay.call.assistant.incoming import Incoming
from relay.call.assistant.placer import CallPlacer, open_call_placer
from relay.call.assistant.pool import AssistantPool
from relay.call.assistant.pump import Opening
from relay.call.report.assistant_events import AssistantLost, AssistantReady, DialFailed
from relay.config import ReconnectConfig
from relay.errors import AssistantUnavailable, LegLost
from relay.logic.assistant.breaker import BreakerState
from relay.logic.assistant.ladder import Dial
from relay.media.frames import TELEPHONE
from relay.wire import vapi_controls
from tests.support.assistant_parts import Parts, assistant_parts
from tests.support.callrig import MULAW, TONE, Assistant, AssistantSocket, FakeDialer
from tests.support.sockets import MemoryPeer

DOWN = AssistantUnavailable("no answer", "VAPI_UNREACHABLE", retriable=True)
REFUSED = AssistantUnavailable("bad key", "VAPI_UNAUTHORIZED", retriable=False, call_id="useless")
SHORT = ReconnectConfig(answer_timeout_s=3.0)


class Rig:
    """A call with a scripted assistant, which has the floor."""

    def __init__(self, parts: Parts, dialer: FakeDialer, placer: CallPlacer, opening: Opening) -> None:
        self.parts = parts
        self.dialer = dialer
        self.pool = AssistantPool([dialer], placer)
        ladder = self.pool.ladder(2)
        assert ladder.next(trio.current_time()) == Dial(0)
        incoming = Incoming(TELEPHONE, parts.playback, parts.dialogue, parts.report)
        connection = Connection(
            dialer, placer, parts.outgoing, incoming, opening, config=parts.config, report=parts.report
        )
        self.talk = Talk(0, ladder, dialer, connection)
        self.connection = connection
        self.listened = 0
        self.scope = trio.CancelScope()

    async def run(self) -> None:
        with self.scope:
            await self.talk.run("our-call", self._note_listening)

    def _note_listening(self) -> None:
        self.listened += 1

    @property
    def peer(self) -> MemoryPeer:
        return self.dialer.peers[-1]

    @property
    def socket(self) -> AssistantSocket:
        return self.dialer.sockets[-1]

    @property
    def assistant(self) -> Assistant:
        return Assistant(self.peer, TELEPHONE)

    async def over(self, within_s: float = 60.0) -> Ending | None:
        with trio.fail_after(within_s):
            await self.talk.over.wait()
        return self.talk.ending


@asynccontextmanager
async def calling(
    dialer: FakeDialer | None = None, *, live: bool = True, opening: Opening | None = None, **sections: Any
) -> AsyncIterator[Rig]:
    """A call; on entering it is `live`, or is not even dialled."""
    parts = assistant_parts(**sections)
    async with open_call_placer(parts.metrics) as placer, trio.open_nursery() as nursery:
        rig = Rig(parts, dialer or FakeDialer(MULAW), placer, opening or Opening())
        rig.connection.take_floor()
        nursery.start_soon(rig.run)
        if live:
            await rig.dialer.connected.wait()
            await trio.testing.wait_all_tasks_blocked()
        yield rig
        with trio.fail_after(10):
            await rig.talk.over.wait()


@pytest.mark.parametrize(
    ("failure", "ending", "hung_up"), [(DOWN, Ending.FAILED, []), (REFUSED, Ending.REFUSED, ["useless"])]
)
async def test_a_dial_that_fails_says_whether_another_may_help_and_what_it_left_is_hung_up(
    failure: AssistantUnavailable, ending: Ending, hung_up: list[str], autojump_clock: MockClock
) -> None:
    async with calling(FakeDialer(MULAW, failure=failure), live=False) as rig:
        assert await rig.over() is ending

    assert rig.parts.told(DialFailed) == [DialFailed(failure.code, str(failure))]
    assert rig.dialer.hung_up == hung_up
    assert rig.listened == 0


async def test_a_handshake_that_fails_is_a_failure_and_the_call_is_hung_up(autojump_clock: MockClock) -> None:
    dialer = FakeDialer(MULAW, handshake_failure=LegLost("no handshake"))
    async with calling(dialer, live=False) as rig:
        assert await rig.over() is Ending.FAILED

    assert rig.parts.told(DialFailed) == [DialFailed("SOCKET_FAILED", "no handshake")]
    assert dialer.hung_up == ["vapi-0"]


async def test_a_connection_that_stands_is_told_once_and_its_life_measured(autojump_clock: MockClock) -> None:
    async with calling() as rig:
        await trio.sleep(5)
        assert (rig.listened, rig.connection.call_id) == (1, "vapi-0")
        assert rig.connection.lived_s == pytest.approx(5)
        assert rig.parts.told(AssistantReady) == [AssistantReady("vapi-0")]
        rig.peer.close()


@pytest.mark.parametrize(
    ("reason", "ending"),
    [
        ("assistant-ended-call", Ending.ENDED),
        (None, Ending.ENDED),
        ("pipeline-error-openai-llm-failed", Ending.FAULTY),
        ("silence-timed-out", Ending.ENDED),
        ("call.start.error-configfault-transport-unsupported-for-model", Ending.ENDED),
        ("call.in-progress.error-vapifault-worker-died", Ending.LOST),
        ("exceeded-max-duration", Ending.LOST),
    ],
)
async def test_an_end_that_the_assistant_announces_is_what_its_reason_says(
    reason: str | None, ending: Ending, autojump_clock: MockClock
) -> None:
    async with calling() as rig:
        more = {} if reason is None else {"endedReason": reason}
        rig.assistant.tell(type="status-update", status="ended", **more)
        assert await rig.over() is ending

    assert rig.dialer.hung_up == []
    assert [lost.error for lost in rig.parts.told(AssistantLost)] == ([] if ending is Ending.ENDED else [reason])  # type: ignore[attr-defined]


@pytest.mark.parametrize(("code", "ending"), [(1000, Ending.ENDED), (1011, Ending.LOST), (1001, Ending.LOST)])
async def test_a_close_is_an_end_only_with_the_code_of_one(
    code: int, ending: Ending, autojump_clock: MockClock
) -> None:
    async with calling() as rig:
        rig.peer.close(code)
        assert await rig.over() is ending

    assert rig.dialer.hung_up == ([] if code == 1000 else ["vapi-0"])
    assert [lost.close_code for lost in rig.parts.told(AssistantLost)] == ([] if code == 1000 else [code])  # type: ignore[attr-defined]


@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.parametrize(("after_s", "ending"), [(8.0, Ending.ENDED), (9.6, Ending.LOST)])
async def test_an_end_without_a_reason_at_the_providers_limit_is_a_loss(
    after_s: float, ending: Ending, autojump_clock: MockClock, *, announced: bool
) -> None:
    async with calling(FakeDialer(MULAW, max_call_s=10.0)) as rig:
        await trio.sleep(after_s)
        if announced:
            rig.assistant.tell(type="status-update", status="ended")
        else:
            rig.peer.close(1000)
        assert await rig.over() is ending

    assert rig.dialer.hung_up == []


async def test_a_socket_that_is_gone_is_a_loss_and_the_call_is_hung_up(autojump_clock: MockClock) -> None:
    async with calling() as rig:
        rig.peer.lose()
        assert await rig.over() is Ending.LOST

    assert len(rig.parts.told(AssistantLost)) == 1
    assert rig.dialer.hung_up == ["vapi-0"]


async def test_a_peer_that_answers_no_ping_is_lost(autojump_clock: MockClock) -> None:
    async with calling() as rig:
        rig.socket.dead.set()
        assert await rig.over(1) is Ending.LOST


async def test_a_peer_that_never_says_a_word_is_lost(autojump_clock: MockClock) -> None:
    async with calling(reconnect=SHORT) as rig:
        assert await rig.over(SHORT.answer_timeout_s + 0.1) is Ending.LOST


async def test_from_the_moment_it_is_left_nothing_goes_either_way_but_the_goodbye(autojump_clock: MockClock) -> None:
    async with calling() as rig:
        rig.peer.send(TONE)
        rig.parts.replay.append(TELEPHONE.silent_frame)
        rig.connection.leave()
        rig.parts.outgoing.audio_logged(trio.current_time())
        assert await rig.over(0.1) is Ending.LOST

    assert rig.peer.seen == [vapi_controls.end_call()]
    assert (rig.parts.playback.queued_ms, rig.dialer.hung_up, rig.parts.told(AssistantLost)) == (0, [], [])


async def test_cancelled_it_says_goodbye(autojump_clock: MockClock) -> None:
    async with calling() as rig:
        rig.scope.cancel()
        await rig.over(0.1)

    assert (rig.peer.seen[-1], rig.dialer.hung_up) == (vapi_controls.end_call(), [])


async def test_a_goodbye_without_an_answer_is_waited_for_a_moment_and_then_the_call_is_hung_up(
    autojump_clock: MockClock,
) -> None:
    async with calling() as rig:
        rig.socket.frozen = True
        began_at = trio.current_time()
        rig.scope.cancel()
        await rig.over()
        assert trio.current_time() - began_at == pytest.approx(LEAVE_S)

    assert rig.dialer.hung_up == ["vapi-0"]


async def test_cancelled_while_it_is_dialled_it_is_over_at_once_and_the_call_is_hung_up_when_it_is_there(
    autojump_clock: MockClock,
) -> None:
    async with calling(FakeDialer(MULAW, answer_after_s=30), live=False) as rig:
        await trio.sleep(0.1)
        began_at = trio.current_time()
        rig.scope.cancel()
        await rig.over()
        assert trio.current_time() == began_at
        await trio.sleep(30)
        assert (rig.dialer.hung_up, rig.dialer.peers) == (["vapi-0"], [])


async def test_a_spare_call_stands_by_until_it_gets_the_floor(autojump_clock: MockClock) -> None:
    opening = Opening(greet=False, replaces="vapi-old", messages=lambda: ["context"])
    parts = assistant_parts()
    async with open_call_placer(parts.metrics) as placer, trio.open_nursery() as nursery:
        rig = Rig(parts, FakeDialer(MULAW), placer, opening)
        nursery.start_soon(rig.run)
        await rig.dialer.connected.wait()
        before = rig.connection.stands_by
        rig.assistant.tell(type="status-update", status="in-progress")
        await trio.sleep(0.1)
        assert (before, rig.connection.stands_by) == (False, True)
        assert "context" not in rig.peer.seen
        rig.connection.take_floor()
        await trio.sleep(0.1)
        assert rig.peer.seen[-1] == "context"
        assert rig.dialer.asked == [(False, "vapi-old")]
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(("lives_s", "lasted"), [(STABLE_S - 0.1, False), (STABLE_S + 0.1, True)])
async def test_only_a_connection_that_lasted_gives_the_tries_back(
    lives_s: float, autojump_clock: MockClock, *, lasted: bool
) -> None:
    async with calling() as rig:
        await trio.sleep(lives_s)
        rig.peer.lose()
        await rig.over()
    ladder, now = rig.talk.ladder, trio.current_time()

    assert rig.talk.lasted is lasted
    assert [ladder.next(now), ladder.next(now)] == [Dial(0), Dial(0) if lasted else None]


async def test_the_ladder_learns_of_a_refusal_of_a_failure_and_of_a_dial_that_was_given_up(
    autojump_clock: MockClock,
) -> None:
    for failure, following in [(REFUSED, None), (DOWN, Dial(0))]:
        async with calling(FakeDialer(MULAW, failure=failure), live=False) as rig:
            await rig.over()
        assert rig.talk.ladder.next(trio.current_time()) == following

    async with calling(FakeDialer(MULAW, answer_after_s=60), live=False) as rig:
        breaker = rig.pool.breakers[0]
        breaker.state = BreakerState.HALF_OPEN
        await trio.sleep(0.1)
        rig.scope.cancel()
        await rig.over()
    assert breaker.state is BreakerState.OPEN
    assert breaker.admit(trio.current_time())
