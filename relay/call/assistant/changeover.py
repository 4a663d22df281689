"""Gets the next assistant call ready while the present one, whose provider will end it, has the conversation.

| state  | meaning                             | leaves when                                   | deadline             |
|--------|-------------------------------------|-----------------------------------------------|----------------------|
| far    | the provider's limit is far         | deadline -> alone                             | `Lifetime.window_at` |
| alone  | a next call is to be dialled        | it is dialled -> paired                       | `RETRY_S` after a    |
|        |                                     |                                               | failure              |
| paired | the next call is dialled, or stands | it fails, or ends -> alone                    | `Lifetime.last_at`:  |
|        | by with silence                     | it stands by and the moment has come -> moved | that is the moment   |

When the present call is over before, a next call that is there takes the conversation at once. When none can be had
the present call goes on to its end, which is a loss like any other.
"""

from collections.abc import Callable

from relay.call.assistant.connection import Talk
from relay.call.assistant.pool import AssistantPool
from relay.call.playback.dialogue import Dialogue
from relay.call.playback.playback import Playback
from relay.logic.assistant.ladder import Dial, Ladder
from relay.logic.assistant.lifetime import Lifetime, LifetimeRules, Moment, Scene
from relay.wakeup import current_time, deadline

POLL_S = 0.05
"""The moment depends on what several other parts do; so much later it is still the moment."""
RETRY_S = 2.0
"""After a spare call that failed or ended: until the limit there is time for more than one."""


class ChangeOver:
    """Prepares the change-overs of one call.

    `dial` begins a call with the assistant of this rung (its place in the pool), to go on with the conversation.
    """

    def __init__(
        self,
        pool: AssistantPool,
        tries: int,
        playback: Playback,
        dialogue: Dialogue,
        *,
        dial: Callable[[Ladder, int], Talk],
    ) -> None:
        self._pool = pool
        self._tries = tries
        self._playback = playback
        self._dialogue = dialogue
        self._dial = dial
        self._next: Talk | None = None
        self._dial_at = 0.0

    @property
    def is_prepared(self) -> bool:
        """Whether `take` will give a call."""
        return self._next is not None and not self._next.over.is_set()

    def take(self) -> Talk | None:
        """The next call, if it is there, or on its way; it is used up."""
        talk, self._next = (self._next if self.is_prepared else None), None
        return talk

    async def wait(self, talk: Talk) -> tuple[Talk, Moment] | None:
        """The call to which the conversation has to move now from `talk`, and why now; None: `talk` is over first."""
        limit_s = talk.dialer.max_call_s
        if limit_s is None:
            await talk.over.wait()
            return None
        lifetime = Lifetime(LifetimeRules(limit_s), talk.dialed_at)
        with deadline("limit", lifetime.listen_at):
            await talk.over.wait()
        ladder = self._pool.ladder(self._tries)
        while not talk.over.is_set():
            now = current_time()
            if now >= lifetime.window_at:
                self._keep_dialled(ladder, now)
            moment = lifetime.moment(self._scene(talk), now)
            if moment is not None and self._next is not None and self._next.connection.stands_by:
                following, self._next = self._next, None
                return following, moment
            with deadline("limit", now + POLL_S):
                await talk.over.wait()
        return None

    def _keep_dialled(self, ladder: Ladder, now: float) -> None:
        if self._next is not None and self._next.over.is_set():
            self._next, self._dial_at = None, now + RETRY_S
        if self._next is None and now >= self._dial_at and isinstance(step := ladder.next(now), Dial):
            self._next = self._dial(ladder, step.index)

    def _scene(self, talk: Talk) -> Scene:
        return Scene(
            caller_speaks=self._dialogue.caller_speaks,
            assistant_speaks=self._playback.audible,
            assistant_due=talk.connection.busy,
            unfinished=not self._dialogue.all_understood,
        )
