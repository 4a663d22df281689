"""A session on a whole call without network: the grace, the end, and what connections see of them."""

import json
from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock

from relay.call.browser.session import LINGER_S, BrowserSession, Transport
from relay.call.browser.sessions import BrowserSessions, open_browser_sessions
from relay.call.report.assistant_events import Said
from relay.call.report.events import CallEvent
from relay.config import ClientConfig, SessionConfig
from relay.errors import AssistantUnavailable, RequestRefused
from relay.logic.end_reason import EndReason
from relay.refusals import Refusals
from relay.wire.browser import ClientStart
from relay.wire.browser_down import Text
from tests.support.browserrig import FRAME
from tests.support.callrig import TONE, Rig, config, open_rig

GRACE_S = 20.0
CLIENT = ClientConfig(resume_grace_s=GRACE_S)


def texts(session: BrowserSession) -> list[dict[str, object]]:
    messages, gap = session.leg.outbox.read(0, 1000)
    assert gap is None
    return [json.loads(message.body) for _, message in messages if isinstance(message, Text)]


async def with_sessions(test: Callable[[Rig, BrowserSessions], Awaitable[None]]) -> None:
    async with (
        open_rig(client=CLIENT) as rig,
        open_browser_sessions(config(client=CLIENT), rig.calls, Refusals(rig.metrics)) as sessions,
    ):
        await test(rig, sessions)


async def test_a_session_that_nobody_attaches_to_ends_after_the_grace(autojump_clock: MockClock) -> None:
    async def test(rig: Rig, sessions: BrowserSessions) -> None:
        began_at = trio.current_time()
        sessions.begin(ClientStart(), "a")
        await rig.calls.wait_empty()
        assert trio.current_time() - began_at == pytest.approx(GRACE_S, abs=3)
        assert rig.metrics.registry.get_sample_value("relay_calls_total", {"end_reason": "caller_lost"}) == 1

    await with_sessions(test)


async def test_while_a_connection_is_there_or_comes_back_in_time_the_session_lives(autojump_clock: MockClock) -> None:
    async def test(rig: Rig, sessions: BrowserSessions) -> None:
        session = sessions.begin(ClientStart(), "a")
        with session.attached("websocket"):
            await trio.sleep(5 * GRACE_S)
        for _ in range(5):
            await trio.sleep(GRACE_S - 1)
            with session.attached("polling"):
                pass
        assert len(rig.calls) == 1
        await trio.sleep(GRACE_S + 3)
        assert len(rig.calls) == 0

    await with_sessions(test)


async def test_to_be_asked_for_keeps_no_session_alive_but_audio_does(autojump_clock: MockClock) -> None:
    async def test(rig: Rig, sessions: BrowserSessions) -> None:
        session = sessions.begin(ClientStart(), "a")
        began_at = trio.current_time()
        await trio.sleep(GRACE_S - 1)
        session.seen()
        while len(rig.calls):
            sessions.find(session.id, f"Bearer {session.token}")
            await trio.sleep(1)
        assert trio.current_time() - began_at == pytest.approx(2 * GRACE_S - 1, abs=3)

    await with_sessions(test)


IDLE_S = 30.0
SAYS_AT_S = 25.0


async def idle_after(rig: Rig, sessions: BrowserSessions, *, client_says: bytes | CallEvent | None) -> float:
    """How long a session lives whose assistant talks on and on, and whose client is there and says this once."""
    session = sessions.begin(ClientStart(), "a")
    began_at = trio.current_time()
    await rig.dialer.connected.wait()

    async def talk() -> None:
        while True:
            rig.dialer.peers[0].send(TONE * 50)
            await trio.sleep(1)

    async def answer() -> None:
        await trio.sleep(SAYS_AT_S)
        if isinstance(client_says, bytes):
            session.spoken.add(client_says)
        elif client_says is not None:
            rig.calls.live()[0].report.tell(client_says)

    async def listen() -> None:
        while not session.leg.outbox.closed:
            await session.leg.outbox.wait_after(session.leg.outbox.last, trio.Event())
            session.leg.outbox.read(session.leg.outbox.last, 100)

    with session.attached("websocket"):
        async with trio.open_nursery() as nursery:
            for task in (talk, answer, listen):
                nursery.start_soon(task)
            await rig.calls.wait_empty()
            nursery.cancel_scope.cancel()
    assert rig.event("call.ended")["reason"] == "idle"
    return trio.current_time() - began_at


@pytest.mark.parametrize(
    ("client_says", "lives_s"),
    [
        (None, IDLE_S),
        (Said("assistant", "Are you there?", final=True), IDLE_S),
        (Said("user", "Yes.", final=True), SAYS_AT_S + IDLE_S),
        (FRAME * 50, SAYS_AT_S + IDLE_S),
        (bytes(len(FRAME)) * 50, IDLE_S),
    ],
)
async def test_only_what_the_client_says_keeps_a_session_alive_for_long(
    client_says: bytes | CallEvent | None, lives_s: float, autojump_clock: MockClock
) -> None:
    rules = SessionConfig(idle_timeout_s=IDLE_S)
    async with (
        open_rig(session=rules) as rig,
        open_browser_sessions(config(session=rules), rig.calls, Refusals(rig.metrics)) as sessions,
    ):
        assert await idle_after(rig, sessions, client_says=client_says) == pytest.approx(lives_s, abs=3)


async def test_the_newest_connection_fences_the_one_before(autojump_clock: MockClock) -> None:
    async def test(rig: Rig, sessions: BrowserSessions) -> None:
        session = sessions.begin(ClientStart(), "a")
        with session.attached("websocket") as first:
            assert not first.is_set()
            with session.attached("polling") as second:
                assert first.is_set()
                assert not second.is_set()

    await with_sessions(test)


async def test_each_connection_that_follows_another_is_counted_and_polls_are_one(autojump_clock: MockClock) -> None:
    async def test(rig: Rig, sessions: BrowserSessions) -> None:
        session = sessions.begin(ClientStart(), "a")
        found = []
        transports: list[Transport] = ["websocket", "websocket", "polling", "polling", "websocket"]
        for transport in transports:
            with session.attached(transport):
                await trio.sleep(1)
            found.append(rig.metric("relay_reconnects_total", leg="caller", result="ok"))
        await rig.calls.wait_empty()

        assert found == [0, 1, 2, 2, 3]
        assert rig.metric("relay_reconnects_total", leg="caller", result="failed") == 1
        assert rig.event("call.ended")["reconnects"] == {"caller": 3}

    await with_sessions(test)


async def test_a_session_that_nobody_ever_attached_to_was_not_lost(autojump_clock: MockClock) -> None:
    async def test(rig: Rig, sessions: BrowserSessions) -> None:
        sessions.begin(ClientStart(), "a")
        await rig.calls.wait_empty()

        assert rig.metric("relay_reconnects_total", leg="caller", result="failed") == 0

    await with_sessions(test)


async def test_the_client_is_told_how_the_call_stands(autojump_clock: MockClock) -> None:
    """Live, by polling, back, without an assistant, with one again: each once, in this order."""

    async def test(rig: Rig, sessions: BrowserSessions) -> None:
        session = sessions.begin(ClientStart(), "a")
        await rig.dialer.connected.wait()
        with session.attached("websocket"):
            await trio.sleep(5)
        with session.attached("polling"):
            await trio.sleep(5)
        with session.attached("websocket"):
            rig.dialer.failure = AssistantUnavailable("no", "VAPI_SERVER_ERROR", retriable=True)
            rig.dialer.peers[0].lose()
            while not rig.metric("relay_reconnects_total", leg="assistant", result="failed"):  # noqa: ASYNC110
                await trio.sleep(0.01)
            rig.dialer.failure = None
            await trio.sleep(5)

        states = [(one["status"], one["reason"]) for one in texts(session) if one["type"] == "state"]
        assert states == [
            ("live", "assistant ready"),
            ("degraded", "polling"),
            ("live", "assistant ready"),
            ("reconnecting", "assistant lost"),
            ("reconnecting", "assistant unavailable"),
            ("live", "assistant ready"),
        ]

    await with_sessions(test)


async def test_that_the_assistant_was_not_told_of_something_is_no_failure_of_it_to_the_client(
    autojump_clock: MockClock,
) -> None:
    async def test(rig: Rig, sessions: BrowserSessions) -> None:
        session = sessions.begin(ClientStart(), "a")
        await rig.dialer.connected.wait()
        (call,) = rig.calls.live()
        call.report.notes_dropped("NOTES_FULL", "too many waited")

        assert rig.event("assistant.notes_dropped")
        assert [one for one in texts(session) if one["type"] in {"error", "failure"}] == []

    await with_sessions(test)


@pytest.mark.parametrize("reason", [EndReason.ADMIN, EndReason.IDLE, EndReason.DRAIN])
async def test_the_end_is_told_with_its_reason_and_the_session_lingers_so_that_it_can_be_had(
    reason: EndReason, autojump_clock: MockClock
) -> None:
    async def test(rig: Rig, sessions: BrowserSessions) -> None:
        session = sessions.begin(ClientStart(), "a")
        await rig.dialer.connected.wait()
        await trio.sleep(0.1)
        rig.calls.live()[0].finish(reason)
        await rig.calls.wait_empty()
        await trio.sleep(0.1)

        assert session.over
        states = [one for one in texts(session) if one["type"] == "state"]
        assert [(one["status"], one["reason"]) for one in states][-1] == ("ended", reason)
        assert [one["status"] for one in states].count("ended") == 1
        assert sessions.find(session.id, f"Bearer {session.token}") is session
        await trio.sleep(LINGER_S + 1)
        with pytest.raises(RequestRefused, match="no such session"):
            sessions.find(session.id, f"Bearer {session.token}")
        assert len(sessions) == 0

    await with_sessions(test)
