"""The registry of browser sessions: it begins them, finds them again by their tokens, and forgets them."""

import hmac
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import copy_context
from dataclasses import replace

import structlog
import trio

from relay.call.browser.leg import BrowserLeg
from relay.call.browser.session import BrowserSession
from relay.call.browser.session_takeover import SessionTakeover, sid_of
from relay.call.call import Call
from relay.call.calls import Calls
from relay.call.checkpoint import new_call_id
from relay.config import Config
from relay.errors import CallRefused, RequestRefused, SessionElsewhere
from relay.logic.browser.kept_session import KeptSession
from relay.logic.end_reason import EndReason
from relay.logic.rate_limit import RateLimit
from relay.logic.tokens import ResumeTokens, fingerprint, session_of
from relay.media.frames import FRAMES_PER_SECOND, WIDEBAND, AudioFormat, Encoding
from relay.refusals import Refusals, asked_by
from relay.wire.browser import ClientStart
from relay.wire.owner import name_behind, owned_name, owner_of

HOUR_S = 3600.0
TALK_STEP_S = 10.0
"""Talk time is taken in such steps, the first when a session begins: so beginning often costs it too."""

_REFUSALS = {
    "draining": "the relay is being replaced: try again in a moment",
    "full": "all lines are busy: try again later",
}

log = structlog.get_logger(__name__)


class BrowserSessions:
    """The registry. What is not async decides at once; a session runs in the registry's nursery."""

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
        self._resume = ResumeTokens()
        self._takeover = SessionTakeover(calls, calls.services.store)

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
        call_id = new_call_id(self._config)
        kept = KeptSession(call_id, declared, heard_format(declared))
        try:
            call = self._calls.answer(sid_of(call_id), kept.heard, browsers_id=call_id)
        except CallRefused as refused:
            self._refusals.info("call.refused", refused.cause, reason=refused.reason, cause=refused.cause)
            raise RequestRefused(503, refused.reason.upper(), _REFUSALS[refused.reason]) from None
        return self._open(call, kept, address)

    def _open(self, call: Call, kept: KeptSession, address: str, token: str | None = None) -> BrowserSession:
        leg = BrowserLeg(
            kept.heard,
            self._config.jitter.reorder_ms,
            turns_before=kept.turns_before,
            first_sequence=kept.next_sequence,
        )
        grace_s = self._config.client.resume_grace_s
        idle_s = self._config.session.idle_timeout_s
        session = BrowserSession(call, leg, kept, token=token, address=address, grace_s=grace_s, idle_s=idle_s)
        self._pay(address)
        self._sessions[name_behind(session.id)] = session
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

    async def resume(self, token: str, start: ClientStart, address: str) -> BrowserSession:
        """The session that this token attaches to, once; one of a process that is dead goes on here.

        Raises RequestRefused: RESUME_USED, RESUME_UNKNOWN, SESSION_ELSEWHERE, and as SessionTakeover.
        """
        session_id = session_of(token)
        if not self.has(session_id):
            await self._take_over(session_id, token, address)
        if not self.has(session_id):
            self._check_owner(session_id)
        session = self._sessions[name_behind(self._resume.claim(token))]
        session.declared = start.format or session.declared
        session.leg.outbox.go_on_behind(start.after or 0)
        return session

    def renew_resume(self, session: BrowserSession) -> str:
        """A new token to attach again; the one before is void. None is given out for a session that is over."""
        if session.over:
            return ""
        token = self._resume.issue(session.id)
        session.keep_resume(token)
        return token

    async def reach(self, session_id: str, authorization: str | None, address: str) -> BrowserSession:
        """As `find`; a session of a process that is dead goes on here. Raises as `find` and as SessionTakeover."""
        token = _bearer(authorization)
        if token is not None and not self.has(session_id):
            await self._take_over(session_id, token, address)
        return self.find(session_id, authorization)

    def find(self, session_id: str, authorization: str | None) -> BrowserSession:
        """The session of an HTTP request, which shows the session's token as bearer.

        Raises RequestRefused: SESSION_UNKNOWN, SESSION_ELSEWHERE, SESSION_TOKEN_MISSING, SESSION_TOKEN_WRONG.
        """
        session = self._sessions.get(name_behind(session_id))
        if session is None or session.goes_on_elsewhere:
            self._check_owner(session_id)
            raise RequestRefused(404, "SESSION_UNKNOWN", "there is no such session: begin a new one with POST /client")
        token = _bearer(authorization)
        if token is None:
            raise RequestRefused(401, "SESSION_TOKEN_MISSING", "give the session's token: Authorization: Bearer TOKEN")
        if not hmac.compare_digest(token.encode("utf-8", "replace"), session.token.encode()):
            raise RequestRefused(403, "SESSION_TOKEN_WRONG", "this token is not that of the session")
        return session

    def has(self, session_id: str) -> bool:
        """Whether this session is here, under any of its ids."""
        session = self._sessions.get(name_behind(session_id))
        return session is not None and not session.goes_on_elsewhere

    async def _take_over(self, session_id: str, token: str, address: str) -> None:
        """Have the session here, if this token opens it, and its process is dead. Its tokens stay good."""
        past = await self._takeover.take(session_id, token)
        if past is None or past.session is None or self.has(session_id):
            return
        call = self._calls.go_on(past)
        if not call.grant_reattach():  # it may be what brings down one process after the other
            call.finish(EndReason.CALLER_LOST)
            return
        mine = owned_name(name_behind(session_id), self._instance)
        kept = replace(past.session, id=mine, moves=past.session.moves + 1)
        if kept.resume_sha256:
            self._resume.adopt(mine, kept.resume_sha256)
        self._open(call, kept, address, token if fingerprint(token) == kept.token_sha256 else None)
        call.checkpoint.note()

    def _check_owner(self, session_id: str) -> None:
        """A session of another process comes here when that one is gone, or when the load balancer errs."""
        was_here = name_behind(session_id) in self._sessions
        if was_here or owner_of(session_id) not in {"", self._instance}:
            self._refusals.info("client.refused", "SESSION_ELSEWHERE", code="SESSION_ELSEWHERE")
            raise SessionElsewhere

    async def _run(self, session: BrowserSession) -> None:
        try:
            with asked_by(session.address):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._charge, session)
                    await session.run()
                    nursery.cancel_scope.cancel()
        finally:
            if self._sessions.get(name_behind(session.id)) is session:  # it may have come back from another process
                del self._sessions[name_behind(session.id)]
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


def _bearer(authorization: str | None) -> str | None:
    scheme, _, token = (authorization or "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


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
