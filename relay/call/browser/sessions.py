"""The registry of browser sessions: it begins them, finds them again by their tokens, and forgets them."""

import hmac
import secrets
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import copy_context

import structlog
import trio

from relay.call.browser.leg import BrowserLeg
from relay.call.browser.session import BrowserSession
from relay.call.calls import Calls
from relay.config import Config
from relay.errors import CallRefused, RequestRefused
from relay.logic.end_reason import EndReason
from relay.logic.rate_limit import RateLimit
from relay.logic.tokens import ResumeTokens
from relay.media.frames import FRAMES_PER_SECOND, WIDEBAND, AudioFormat, Encoding
from relay.refusals import Refusals, asked_by
from relay.wire.browser import ClientStart
from relay.wire.owner import owned_name, owner_of

HOUR_S = 3600.0
TALK_STEP_S = 10.0
"""Talk time is taken in such steps, the first when a session begins: so beginning often costs it too."""

_REFUSALS = {
    "draining": "the relay is being replaced: try again in a moment",
    "full": "all lines are busy: try again later",
}

log = structlog.get_logger(__name__)


class BrowserSessions:
    """The registry. Everything here decides at once; a session runs in the registry's nursery."""

    def __init__(self, config: Config, calls: Calls, nursery: trio.Nursery, refusals: Refusals) -> None:
        self._config = config
        self._refusals = refusals
        self._calls = calls
        self._nursery = nursery
        self._context = copy_context()
        self._sessions: dict[str, BrowserSession] = {}
        self._addresses: Counter[str] = Counter()
        talk_s = config.limits.talk_per_address_s
        self._talk = RateLimit(per_s=talk_s / HOUR_S, burst=talk_s)
        self._instance = config.server.instance
        self._resume = ResumeTokens(owned_name("", self._instance))

    def renew(self, config: Config) -> None:
        """Sessions that begin from now on have this; what addresses have used of their shares stays used."""
        self._config = config
        talk_s = config.limits.talk_per_address_s
        self._talk.change(trio.current_time(), per_s=talk_s / HOUR_S, burst=talk_s)

    def __len__(self) -> int:
        return len(self._sessions)

    def begin(self, start: ClientStart, address: str) -> BrowserSession:
        """A new session with a call of its own, which dials at once.

        Raises RequestRefused: TOO_MANY_SESSIONS or TALK_TIME_USED from this address, or DRAINING or FULL.
        """
        self._check_share(address)
        declared = start.format or WIDEBAND
        audio_format = heard_format(declared)
        try:
            call = self._calls.answer(f"browser-{secrets.token_hex(8)}", audio_format, kept=False)
        except CallRefused as refused:
            self._refusals.info("call.refused", refused.cause, reason=refused.reason, cause=refused.cause)
            raise RequestRefused(503, refused.reason.upper(), _REFUSALS[refused.reason]) from None
        leg = BrowserLeg(audio_format, self._config.jitter.reorder_ms)
        grace_s = self._config.client.resume_grace_s
        idle_s = self._config.session.idle_timeout_s
        session = BrowserSession(call, leg, declared, address=address, grace_s=grace_s, idle_s=idle_s)
        self._pay(address)
        self._sessions[session.id] = session
        self._addresses[address] += 1
        self._context.copy().run(self._nursery.start_soon, self._run, session)
        return session

    def _check_share(self, address: str) -> None:
        if self._addresses[address] >= self._config.limits.sessions_per_address:
            text = "too many sessions from this address: end one of them"
            raise self._refusals.limited("sessions_per_address", 429, "TOO_MANY_SESSIONS", text)
        if (wait_s := self._talk.wait_s(address, trio.current_time(), TALK_STEP_S)) > 0:
            raise self._talk_time_used(f"wait {wait_s:.0f} s")
        live = sum(not session.over for session in self._sessions.values())
        if not self._calls.draining and live >= self._config.web_calls_max:
            raise self._refusals.limited("web_calls", 503, "FULL", "all lines for browsers are busy: try again later")

    def _pay(self, address: str) -> bool:
        """Take the next TALK_STEP_S from the talk time of this address, if it is there."""
        return self._talk.allow(address, trio.current_time(), TALK_STEP_S)

    def _talk_time_used(self, todo: str) -> RequestRefused:
        text = f"this address has talked for as long as it may: {todo}"
        return self._refusals.limited("talk_per_address_s", 429, "TALK_TIME_USED", text)

    def resume(self, token: str, start: ClientStart) -> BrowserSession:
        """The session that this token attaches to, once.

        Raises RequestRefused: RESUME_USED, RESUME_UNKNOWN, SESSION_ELSEWHERE.
        """
        self._check_owner(token)
        session = self._sessions[self._resume.claim(token)]
        session.declared = start.format or session.declared
        return session

    def renew_resume(self, session: BrowserSession) -> str:
        """A new token to attach again; the one before is void. None is given out for a session that is over."""
        return "" if session.over else self._resume.issue(session.id)

    def find(self, session_id: str, authorization: str | None) -> BrowserSession:
        """The session of an HTTP request, which shows the session's token as bearer.

        Raises RequestRefused: SESSION_UNKNOWN, SESSION_ELSEWHERE, SESSION_TOKEN_MISSING, SESSION_TOKEN_WRONG.
        """
        session = self._sessions.get(session_id)
        if session is None:
            self._check_owner(session_id)
            raise RequestRefused(404, "SESSION_UNKNOWN", "there is no such session: begin a new one with POST /client")
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer":
            raise RequestRefused(401, "SESSION_TOKEN_MISSING", "give the session's token: Authorization: Bearer TOKEN")
        if not hmac.compare_digest(token.strip().encode("utf-8", "replace"), session.token.encode()):
            raise RequestRefused(403, "SESSION_TOKEN_WRONG", "this token is not that of the session")
        return session

    def _check_owner(self, name: str) -> None:
        """A session of another process comes here when that one is gone, or when the load balancer errs."""
        if owner_of(name) not in {"", self._instance}:
            self._refusals.info("client.refused", "SESSION_ELSEWHERE", code="SESSION_ELSEWHERE")
            text = "this session was another process's, which does not answer: begin a new one"
            raise RequestRefused(421, "SESSION_ELSEWHERE", text)

    async def _run(self, session: BrowserSession) -> None:
        try:
            with asked_by(session.address):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._charge, session)
                    await session.run()
                    nursery.cancel_scope.cancel()
        finally:
            del self._sessions[session.id]
            self._resume.discard(session.id)
            self._addresses[session.address] -= 1
            self._addresses += Counter()  # forgets addresses without a session

    async def _charge(self, session: BrowserSession) -> None:
        """Take talk time for as long as the session lives; end it when none is left."""
        while True:
            await trio.sleep(TALK_STEP_S)
            if session.over:
                return
            if not self._pay(session.address):
                session.end(EndReason.MAX_DURATION, self._talk_time_used("begin again later"))
                return


def heard_format(declared: AudioFormat) -> AudioFormat:
    """What a client that sends this hears: mono at its own rate, if 20 ms of that are whole samples, else 16 kHz."""
    whole = declared.rate_hz % FRAMES_PER_SECOND == 0
    return AudioFormat(Encoding.PCM_S16LE, declared.rate_hz) if whole else WIDEBAND


@asynccontextmanager
async def open_browser_sessions(config: Config, calls: Calls, refusals: Refusals) -> AsyncIterator[BrowserSessions]:
    """The registry with its nursery. On leaving, sessions that still live are cancelled."""
    async with trio.open_nursery() as nursery:
        yield BrowserSessions(config, calls, nursery, refusals)
        nursery.cancel_scope.cancel()
