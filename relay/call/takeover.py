"""Finds the call of a caller wherever Twilio brings it: a call of this process, or one that another process has or had.

| the call                         | Twilio brings                 | then                                              |
|----------------------------------|-------------------------------|---------------------------------------------------|
| runs here                        | anything                      | it is that call                                   |
| runs in another process          | a media socket with its token | it is taken from the other: it goes on here       |
|                                  | the voice webhook again       | the same: the other's answer was lost             |
|                                  | `/twilio/resume`              | the caller waits and asks again; if that reaches  |
|                                  |                               | this process too, it is taken from the other      |
| was left by a process that died  | any of these                  | it goes on here                                   |
| ended with its caller's `stop`,  | `/twilio/resume`              | it goes on here, with the conversation so far     |
| and is in progress, says Twilio  |                               |                                                   |
| ended with a transfer that       | `/twilio/dialed`              | the same                                          |
| nobody answered                  |                               |                                                   |
| is over, or nobody knows of it   | a media socket                | refused                                           |
|                                  | a webhook                     | a new call, or a hang-up                          |

Where several processes share a load balancer, the address says whose call it is (`relay/wire/owner.py`):

| the process in the address     | then                                                                               |
|--------------------------------|------------------------------------------------------------------------------------|
| lives, draining or not         | the request reaches it, and it has the call                                        |
| lives, another is reached      | as above: a media socket takes the call; `/twilio/resume` waits `TAKE_WAIT_S`, then |
|                                | the caller asks that address again, and whoever is reached then has the call       |
| has handed its calls over      | the caller asks again at the address without a process, where any other takes it   |
| is dead                        | the balancer picks another, which has the call once the lease of the dead one is   |
|                                | over; what it answers has its own addresses                                        |

Whether anybody ended a call is known by the reason of its end, here and in the store, for `ENDED_KEPT_S`: all but
those in `REFUTABLE` are the relay's own decisions. Without a store, and while it is down, there are no calls of
other processes; without one, calls that ended here are known here.
"""

from collections.abc import Mapping

import trio

from relay.call.call import Call
from relay.call.calls import Calls
from relay.call.checkpoint import revived
from relay.call.services import Services
from relay.errors import CallRefused, StateUnavailable
from relay.logic.end_reason import REFUTABLE
from relay.logic.tokens import fingerprint
from relay.state import CallRecord, KeptToken

TAKE_WAIT_S = 3.0
"""Longer than a process that was killed seems to live."""
RING_WAIT_S = 0.25
"""A phone that rings does not wait longer for a store that does not answer."""


class Takeover:
    """Takes calls over from other processes, and guards the media sockets with tokens. There is one for the daemon."""

    def __init__(self, calls: Calls, services: Services) -> None:
        self._calls = calls
        self._store = services.store

    async def ring(self, sid: str, variables: Mapping[str, str] | None = None) -> Call:
        """The call of a phone that rings: one that lives here, one that another process had when its answer was lost,
        which goes on here, or a new one, whose assistant is told `variables`. Raises CallRefused."""
        if not (self._calls.find(sid) or self._calls.draining):
            self._go_on(await self._take_ringing(sid))
        return self._calls.answer(sid, variables=variables)

    async def take(self, sid: str, *, by_force: bool = False, in_progress: bool = False) -> Call | None:
        """The call of this CallSid that another process has left or, `by_force`, has: it goes on here. None if there
        is none. Waits for the store, and until the other process is known to be dead.

        `in_progress`: by Twilio's word it is. Then one whose caller seemed to hang up, here or there, goes on as well,
        once its end is complete.
        """
        if in_progress and (call := self._calls.find(sid)) and call.seems_hung_up:
            await self._calls.wait_over(call)
        if in_progress:
            await self._calls.checkpoints.stored(sid)
        if self._calls.draining or self._calls.has_ended(sid, in_progress=in_progress):
            return None
        past = await self._take(sid, by_force=by_force, in_progress=in_progress)
        return self._calls.find(sid) or self._go_on(past)

    async def goes_on_elsewhere(self, sid: str, *, in_progress: bool = False) -> bool:
        """Whether another process has this call, or the one that follows may get it. Waits for the store."""
        if self._store is None or self._calls.has_ended(sid, in_progress=in_progress):
            return False
        here = self._calls.find(sid) is not None
        if self._calls.draining:
            return self._calls.checkpoints.handed_over or not here
        return not here and await self._load(sid, in_progress=False) is not None

    async def transfer_of(self, sid: str) -> str | None:
        """To whom the caller of this call is to be connected, which ends the call if it still runs here; None: to
        nobody. Waits for the store, as another process may have the caller back from the transfer."""
        known = self._calls.transfer_of(sid)
        if self._calls.find(sid) or self._store is None:
            return known
        await self._calls.checkpoints.stored(sid)
        try:
            past = await self._store.load(sid)
        except StateUnavailable:
            return known
        return known if past is None else past.transfer_to

    # -- tokens of media sockets

    def issue_token(self, call: Call) -> str:
        """A one-time token for the call's media socket, which may reach another process once it is stored."""
        token = self._calls.tokens.issue(call.sid, trio.current_time())
        self._keep_tokens(call)
        return token

    async def admit(self, token: str, sid: str) -> Call:
        """The call that this token opens, for a media socket; that of another process goes on here.

        Raises AuthRejected for a bad token, CallRefused when the call is over. Waits for the store.
        """
        known = self._calls.tokens.knows(token) or self._calls.draining or self._calls.find(sid)
        past = None if known else await self._claim(token, sid)
        return self._go_on(past) or self.claim(token, sid)

    def claim(self, token: str, sid: str) -> Call:
        """As `admit`, for a call that runs here."""
        self._calls.tokens.claim(token, sid, trio.current_time())
        if call := self._calls.find(sid):
            self._keep_tokens(call)
            return call
        raise CallRefused("ended")

    def _keep_tokens(self, call: Call) -> None:
        kept = self._calls.tokens.kept(call.sid, trio.current_time())
        call.checkpoint.keep_tokens(KeptToken(sha256, expires_at) for sha256, expires_at in kept)

    # -- what the store says of the calls of others

    def _go_on(self, past: CallRecord | None) -> Call | None:
        if past is None or self._calls.draining:
            return None
        return self._calls.go_on(past if past.end_reason is None else revived(past, self._calls.services.config))

    async def _take(self, sid: str, *, by_force: bool, in_progress: bool = False) -> CallRecord | None:
        if self._store is None:
            return self._calls.hung_up(sid) if in_progress else None
        known = await self._load(sid, in_progress=in_progress) if in_progress else None
        if known is not None and known.end_reason is not None:
            by_force = True  # its process has no use for it any more
        try:
            taken = await self._store.take(sid, wait_s=TAKE_WAIT_S, by_force=by_force)
        except StateUnavailable:
            return None
        return _alive(taken, in_progress=in_progress)

    async def _take_ringing(self, sid: str) -> CallRecord | None:
        if self._store is None or self._store.failing:
            return None
        with trio.move_on_after(RING_WAIT_S):
            return await self._take(sid, by_force=True)
        return None

    async def _claim(self, token: str, sid: str) -> CallRecord | None:
        """The record becomes ours, whether its process lives or not, and the token is used up."""
        if self._store is None:
            return None
        try:
            return _alive(await self._store.claim(sid, fingerprint(token)))
        except StateUnavailable:
            return None

    async def _load(self, sid: str, *, in_progress: bool) -> CallRecord | None:
        if self._store is None:
            return None
        try:
            return _alive(await self._store.load(sid), in_progress=in_progress)
        except StateUnavailable:
            return None


def _alive(record: CallRecord | None, *, in_progress: bool = False) -> CallRecord | None:
    """The record of a call that is not over, or only seemed so."""
    if record is None or record.end_reason is None:
        return record
    return record if in_progress and record.end_reason in REFUTABLE else None
