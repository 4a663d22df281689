"""All sessions: who may begin one, find one again, attach to one again, and that nothing of one stays behind."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from relay.call.browser.session import LINGER_S, BrowserSession
from relay.call.browser.sessions import HOUR_S, TALK_STEP_S, BrowserSessions, heard_format, open_browser_sessions
from relay.config import LimitsConfig, TwilioConfig
from relay.errors import RequestRefused
from relay.logic.end_reason import EndReason
from relay.media.frames import WIDEBAND, AudioFormat, Encoding
from relay.refusals import Refusals
from relay.wire.browser import ClientStart
from relay.wire.browser_down import Text
from tests.support.callrig import Rig, config, open_rig

STEREO = AudioFormat(Encoding.PCM_F32LE, 48_000, 2)


@asynccontextmanager
async def registry(**sections: Any) -> AsyncIterator[tuple[Rig, BrowserSessions]]:
    async with (
        open_rig(**sections) as rig,
        open_browser_sessions(config(**sections), rig.calls, Refusals(rig.metrics)) as sessions,
    ):
        yield rig, sessions


def code(refused: pytest.ExceptionInfo[RequestRefused]) -> tuple[int, str]:
    return refused.value.status, refused.value.code


async def end(rig: Rig, *sessions: BrowserSession) -> None:
    """End these once they run, and wait until they are over."""
    await trio.testing.wait_all_tasks_blocked()
    for session in sessions:
        session.end(EndReason.ADMIN)
    await rig.calls.wait_empty()
    await trio.sleep(0.1)


async def test_a_session_has_a_call_of_its_own_which_dials_at_once(autojump_clock: MockClock) -> None:
    async with registry() as (rig, sessions):
        session = sessions.begin(ClientStart(format=STEREO), "a")
        with trio.fail_after(1):
            await rig.dialer.connected.wait()

        assert [call.id for call in rig.calls.live()] == [session.id]
        assert (session.declared, session.leg.format) == (STEREO, AudioFormat(Encoding.PCM_S16LE, 48_000))
        assert sessions.begin(ClientStart(), "a").declared == WIDEBAND
        assert (len(sessions), len(rig.calls)) == (2, 2)


@pytest.mark.parametrize(
    ("sections", "most"),
    [
        ({"limits": LimitsConfig(max_calls=6)}, 3),
        ({"limits": LimitsConfig(max_calls=6, web_calls=2)}, 2),
        ({"limits": LimitsConfig(max_calls=6), "twilio": TwilioConfig(enabled=False)}, 6),
        ({"limits": LimitsConfig(max_calls=1)}, 1),
    ],
)
async def test_browsers_have_a_share_of_the_calls_and_the_telephone_the_rest(
    sections: dict[str, Any], most: int, autojump_clock: MockClock
) -> None:
    async with registry(**sections) as (rig, sessions):
        begun = [sessions.begin(ClientStart(), f"address {number}") for number in range(most)]
        with pytest.raises(RequestRefused) as refused:
            sessions.begin(ClientStart(), "another")
        assert code(refused) == (503, "FULL")
        for number in range(sections["limits"].max_calls - most):
            rig.calls.answer(f"CA{number}")

        await end(rig, *begun)
        sessions.begin(ClientStart(), "another")


def ended(session: BrowserSession) -> list[tuple[str, object]]:
    """What the client is told of its talk time and of the end."""
    messages, _ = session.leg.outbox.read(0, 1000)
    texts = [json.loads(message.body) for _, message in messages if isinstance(message, Text)]
    told = [(text["type"], text.get("code") or text.get("reason")) for text in texts]
    return [it for it in told if it in {("error", "TALK_TIME_USED"), ("state", "max_duration")}]


async def test_the_sessions_of_an_address_last_so_long_in_an_hour_all_together(autojump_clock: MockClock) -> None:
    async with registry(limits=LimitsConfig(talk_per_address_s=120)) as (rig, sessions):
        began_at = trio.current_time()
        one, other = (sessions.begin(ClientStart(), "a") for _ in range(2))
        elsewhere = sessions.begin(ClientStart(), "b")
        with one.attached("websocket"), other.attached("websocket"), elsewhere.attached("websocket"):
            while not (one.over and other.over):  # noqa: ASYNC110 - a session has no event for its end
                await trio.sleep(1)
            assert trio.current_time() - began_at == pytest.approx(60, abs=12)
            assert ended(one) == ended(other) == [("error", "TALK_TIME_USED"), ("state", "max_duration")]
            assert not elsewhere.over
            with pytest.raises(RequestRefused) as refused:
                sessions.begin(ClientStart(), "a")
            assert code(refused) == (429, "TALK_TIME_USED")
        await trio.sleep(TALK_STEP_S * HOUR_S / 120)
        sessions.begin(ClientStart(), "a")
        assert rig.metric("relay_limited_total", limit="talk_per_address_s") == 3


async def test_to_begin_and_leave_again_and_again_costs_talk_time(autojump_clock: MockClock) -> None:
    async with registry(limits=LimitsConfig(talk_per_address_s=3 * TALK_STEP_S)) as (rig, sessions):
        for _ in range(3):
            await end(rig, sessions.begin(ClientStart(), "a"))
        with pytest.raises(RequestRefused) as refused:
            sessions.begin(ClientStart(), "a")
        assert code(refused) == (429, "TALK_TIME_USED")


async def test_a_session_that_is_not_taken_costs_no_talk_time(autojump_clock: MockClock) -> None:
    limits = LimitsConfig(max_calls=1, talk_per_address_s=TALK_STEP_S)
    async with registry(limits=limits) as (rig, sessions):
        first = sessions.begin(ClientStart(), "a")
        with pytest.raises(RequestRefused):
            sessions.begin(ClientStart(), "b")
        await end(rig, first)

        sessions.begin(ClientStart(), "b")


async def test_a_full_relay_says_so_once_however_often_a_browser_asks() -> None:
    async with registry(limits=LimitsConfig(max_calls=2)) as (rig, sessions):
        for sid in ("CA1", "CA2"):
            rig.calls.answer(sid)
        for _ in range(20):
            with pytest.raises(RequestRefused) as refused:
                sessions.begin(ClientStart(), "a")
            assert code(refused) == (503, "FULL")

        assert rig.event("call.refused")["reason"] == "full"
        assert rig.metric("relay_calls_total", end_reason="refused") == 20


async def test_an_address_has_only_so_many_sessions_until_one_is_gone(autojump_clock: MockClock) -> None:
    async with registry(limits=LimitsConfig(sessions_per_address=2)) as (rig, sessions):
        begun = [sessions.begin(ClientStart(), address) for address in ("a", "a", "b")]
        with pytest.raises(RequestRefused) as refused:
            sessions.begin(ClientStart(), "a")
        assert code(refused) == (429, "TOO_MANY_SESSIONS")
        assert len(rig.calls) == 3

        await end(rig, *begun)
        await trio.sleep(LINGER_S + 1)
        assert len(sessions) == 0
        for _ in range(2):
            sessions.begin(ClientStart(), "a")


async def test_a_full_or_draining_relay_begins_none(autojump_clock: MockClock) -> None:
    async with registry(limits=LimitsConfig(max_calls=1)) as (rig, sessions):
        sessions.begin(ClientStart(), "a")
        with pytest.raises(RequestRefused) as refused:
            sessions.begin(ClientStart(), "a")
        assert code(refused) == (503, "FULL")

        await rig.calls.drain(0)
        with pytest.raises(RequestRefused) as refused:
            sessions.begin(ClientStart(), "a")
        assert code(refused) == (503, "DRAINING")


async def test_a_session_is_found_by_its_token_and_by_nothing_else(autojump_clock: MockClock) -> None:
    async with registry() as (_, sessions):
        session, other = sessions.begin(ClientStart(), "a"), sessions.begin(ClientStart(), "a")

        assert sessions.find(session.id, f"Bearer {session.token}") is session
        assert sessions.find(session.id, f"bearer  {session.token} ") is session
        for session_id, authorization, expected in [
            ("unknown", f"Bearer {session.token}", (404, "SESSION_UNKNOWN")),
            (session.id, None, (401, "SESSION_TOKEN_MISSING")),
            (session.id, f"Basic {session.token}", (401, "SESSION_TOKEN_MISSING")),
            (session.id, f"Bearer {other.token}", (403, "SESSION_TOKEN_WRONG")),
            (session.id, "Bearer \udcff", (403, "SESSION_TOKEN_WRONG")),
            (session.id, "Bearer ", (403, "SESSION_TOKEN_WRONG")),
        ]:
            with pytest.raises(RequestRefused) as refused:
                sessions.find(session_id, authorization)
            assert code(refused) == expected


async def test_a_resume_token_attaches_once_and_only_the_newest_does(autojump_clock: MockClock) -> None:
    async with registry() as (_, sessions):
        session = sessions.begin(ClientStart(), "a")
        old, new = sessions.renew_resume(session), sessions.renew_resume(session)

        with pytest.raises(RequestRefused) as refused:
            await sessions.resume(old, ClientStart(), "a")
        assert code(refused) == (403, "RESUME_UNKNOWN")
        assert await sessions.resume(new, ClientStart(), "a") is session
        assert session.declared == WIDEBAND
        with pytest.raises(RequestRefused) as refused:
            await sessions.resume(new, ClientStart(), "a")
        assert code(refused) == (403, "RESUME_USED")


async def test_a_client_that_attaches_again_may_send_another_format(autojump_clock: MockClock) -> None:
    async with registry() as (_, sessions):
        session = sessions.begin(ClientStart(), "a")
        await sessions.resume(sessions.renew_resume(session), ClientStart(format=STEREO), "a")

        assert (session.declared, session.leg.format) == (STEREO, WIDEBAND)


async def test_a_session_that_is_over_gives_no_token_and_is_forgotten_with_those_it_gave(
    autojump_clock: MockClock,
) -> None:
    async with registry() as (rig, sessions):
        session = sessions.begin(ClientStart(), "a")
        resume = sessions.renew_resume(session)
        await end(rig, session)
        assert sessions.renew_resume(session) == ""

        await trio.sleep(LINGER_S + 1)
        with pytest.raises(RequestRefused) as refused:
            await sessions.resume(resume, ClientStart(), "a")
        assert code(refused) == (403, "RESUME_UNKNOWN")
        assert len(sessions) == 0


@pytest.mark.parametrize(
    ("rate_hz", "heard_hz"), [(8000, 8000), (16000, 16000), (44100, 44100), (11025, 16000), (8001, 16000)]
)
def test_a_client_hears_the_rate_it_sends_where_frames_can_be_made_of_it(rate_hz: int, heard_hz: int) -> None:
    declared = AudioFormat(Encoding.PCM_F32LE, rate_hz, 2)

    assert heard_format(declared) == AudioFormat(Encoding.PCM_S16LE, heard_hz)
