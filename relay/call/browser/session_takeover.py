"""Takes a browser's session over from a process that is dead, for a client that shows one of the session's tokens.

| state     | meaning                               | leaves when                                   | deadline         |
|-----------|---------------------------------------|-----------------------------------------------|------------------|
| looking   | the store is asked for the session    | there is none, or it is not this client's     | the store's      |
|           |                                       | -> None; it is -> waiting                     |                  |
| waiting   | its process seems to live             | that is dead, or has left it -> taken         | `TAKE_WAIT_S`    |
|           |                                       | -> elsewhere                                  |                  |
| taken     | the call goes on here                 |                                               |                  |
| elsewhere | the client is told its present id     |                                               |                  |

Who shows no token of the session learns nothing, and moves nothing. A process that drains takes nothing over.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from relay.call.calls import Calls
from relay.call.takeover import TAKE_WAIT_S
from relay.errors import RequestRefused, SessionElsewhere, StateUnavailable
from relay.logic.browser.kept_session import SessionPlace, place_of
from relay.logic.tokens import fingerprint
from relay.state import CallRecord, StateStore
from relay.wire.owner import name_behind

AT_ONCE_MAX = 64
"""Clients that are looked for in the store at a time: anybody may ask for any session."""
CALL_SID = "browser-"


def sid_of(session_id: str) -> str:
    """The name in the registry and the store of the call of this session, whichever process has it."""
    return CALL_SID + name_behind(session_id)


class SessionTakeover:
    """One for the daemon. `store` is None where no other process has anything."""

    def __init__(self, calls: Calls, store: StateStore | None) -> None:
        self._calls = calls
        self._store = store
        self._asking = 0

    async def take(self, session_id: str, token: str) -> CallRecord | None:
        """The session's call as its process has left it, which is this process's from now on; None: none that this
        token opens. Waits until the other is known to be dead.

        Raises SessionElsewhere where that process lives, RequestRefused: DRAINING, BUSY, STATE_UNAVAILABLE. Cancelled,
        the record may be this process's already: it is as that of a process that died as soon as this one does.
        """
        if self._store is None or self._calls.has_ended(sid_of(session_id)):
            return None
        if self._calls.draining or self._calls.find(sid_of(session_id)):  # another has taken it, and here it ends
            raise _draining()
        with self._one_more():
            try:
                taken = await self._take(self._store, sid_of(session_id), fingerprint(token))
            except StateUnavailable:
                text = "where the session is cannot be found out now: try again in a moment"
                raise RequestRefused(503, "STATE_UNAVAILABLE", text) from None
        if self._calls.draining:
            raise _draining()
        return taken

    async def _take(self, store: StateStore, sid: str, sha256: str) -> CallRecord | None:
        known = await store.load(sid)
        if known is None or place_of(known.session, sha256, taken=False) is SessionPlace.UNKNOWN:
            return None
        taken = await store.take(sid, wait_s=TAKE_WAIT_S)
        now = taken or await store.load(sid)  # meanwhile another may have taken it, and given out other tokens
        if now is None or now.session is None:
            return None
        match place_of(now.session, sha256, taken=taken is not None):
            case SessionPlace.OURS:
                return now
            case SessionPlace.ELSEWHERE:
                raise SessionElsewhere(now.session.id)
        return None

    @contextmanager
    def _one_more(self) -> Iterator[None]:
        if self._asking >= AT_ONCE_MAX:
            raise RequestRefused(503, "BUSY", "too many sessions are looked for at once: try again in a moment")
        self._asking += 1
        try:
            yield
        finally:
            self._asking -= 1


def _draining() -> RequestRefused:
    return RequestRefused(503, "DRAINING", "the relay is being replaced: try again in a moment")
