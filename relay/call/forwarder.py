"""The forwarder task: one connection with the assistant after the other, until the conversation is over.

| state   | meaning                               | leaves when                                  | deadline           |
|---------|---------------------------------------|----------------------------------------------|--------------------|
| dialing | a call with the first assistant that  | it is live -> talking                        | see `Connection`   |
|         | has tries left and is not known to be | that failed -> waiting                       |                    |
|         | down                                  | refused for good -> dialing, the next one    |                    |
| talking | a connection is live                  | it was lost -> waiting; all tries are given  | see `Connection`   |
|         |                                       | back if it lived for `STABLE_S`              |                    |
|         |                                       | the assistant hung up -> over: it ended      |                    |
| waiting | back-off; the caller hears what was   | deadline -> dialing                          | drawn at random;   |
|         | queued, then a comfort sound          | no tries or no time left -> over:            | in all             |
|         |                                       | unavailable                                  | `budget_s`         |

A new connection goes on with the conversation: no second greeting, what was said and heard so far as context, and the
caller's audio again from the first sentence that is not known to have been understood. Each connection has one reader
and one writer that end with it, so nothing that the old one still sends goes anywhere. Its call is deleted meanwhile.
"""

from collections.abc import Callable, Iterable
from random import Random

import structlog
import trio

from relay.call.connection import Connection, Ending, Opening
from relay.call.counts import Counts
from relay.call.dialer import Dialer
from relay.call.dialogue import Dialogue
from relay.call.events import EventFeed
from relay.call.incoming import Incoming
from relay.call.outgoing import Outgoing
from relay.call.playback import Playback
from relay.call.rungs import Rungs
from relay.call.standing import Standing
from relay.config import Config
from relay.logic.backoff import Backoff, BackoffRules
from relay.logic.ladder import Wait
from relay.logic.outcome import EndReason
from relay.logic.replay import ReplayLog
from relay.media.comfort import comfort_frames
from relay.media.frames import FRAME_MS
from relay.wire.vapi_controls import add_message

DELETE_S = 0.8
STABLE_S = 2.0
"""A connection that breaks off sooner has not helped: its attempt stays counted."""
COMFORT_AFTER_S = 0.9
"""Without sound, during an outage. With what is queued ahead and the filling of the buffer this is under 1.5 s."""

log = structlog.get_logger(__name__)


class Forwarder:
    """One per call."""

    def __init__(
        self,
        rungs: Rungs,
        replay: ReplayLog,
        playback: Playback,
        dialogue: Dialogue,
        config: Config,
        *,
        counts: Counts,
        events: EventFeed,
        standing: Standing,
        listening: Callable[[], None],
    ) -> None:
        tries = config.reconnect.max_attempts + 1
        rules = BackoffRules(max_attempts=tries * len(rungs) - 1, budget_s=config.reconnect.budget_s)
        self.outgoing = Outgoing(replay, rungs.first.format)
        self._rungs = rungs
        self._ladder = rungs.ladder(tries)
        self._replay = replay
        self._playback = playback
        self._dialogue = dialogue
        self._config = config
        self._counts = counts
        self._events = events
        self._standing = standing
        self._listening = listening
        self._backoff = Backoff(rules, Random())
        self._connection: Connection | None = None
        self._lost_at: float | None = None
        self._lost_call_id: str | None = None
        self._dropped_ms = 0
        self._outage = trio.Event()
        self._taken_over = False
        self.assistant = rungs.first.name
        """The assistant that is dialled, or has the call."""

    @property
    def assistant_call_id(self) -> str | None:
        """The assistant's id of the call that is under way, or was last."""
        return (self._connection.call_id if self._connection else None) or self._lost_call_id

    def take_over(self, assistant: str, lost_call_id: str) -> None:
        """Before `run`: the conversation was another process's, whose call with the assistant is lost."""
        self.assistant, self._lost_call_id = assistant, lost_call_id
        self._lost_at = trio.current_time()
        self._taken_over = True
        self._outage.set()

    async def run(self, call_id: str) -> EndReason:
        """Dial and converse until the assistant is gone for good; returns why. Cancelled, it hangs up within 2 s."""
        async with trio.open_nursery() as nursery:
            if self._lost_call_id is not None and (dialer := self._rungs.find(self.assistant)):
                nursery.start_soon(self._delete, dialer, self._lost_call_id)
            nursery.start_soon(self._comfort)
            reason = await self._converse(call_id, nursery)
            nursery.cancel_scope.cancel()
        return reason

    async def _converse(self, call_id: str, nursery: trio.Nursery) -> EndReason:
        give_up_at = trio.current_time() + self._config.reconnect.budget_s
        while (step := self._ladder.next(trio.current_time())) is not None:
            if isinstance(step, Wait):
                if step.until > give_up_at:
                    break
                await trio.sleep_until(step.until)
                continue
            ending = await self._connect(call_id, step.index, nursery)
            if ending is Ending.ENDED:
                return EndReason.ASSISTANT_ENDED
            if ending is Ending.LOST:
                give_up_at = max(give_up_at, trio.current_time() + self._config.reconnect.budget_s)
                self._note_loss()
            if ending is Ending.REFUSED:
                continue
            attempt_at = self._backoff.next_at(trio.current_time())
            if attempt_at is None:
                break
            await trio.sleep_until(attempt_at)
        log.warning("assistant.given_up", attempts=self._backoff.attempt)
        return EndReason.ASSISTANT_UNAVAILABLE

    async def _connect(self, call_id: str, index: int, nursery: trio.Nursery) -> Ending:
        dialer, breaker = self._rungs.dialers[index], self._rungs.breakers[index]
        incoming = Incoming(self._playback, self._dialogue, self._counts, self._events)
        opening = self._opening()
        connection = Connection(
            dialer, self.outgoing, incoming, opening, config=self._config, counts=self._counts, events=self._events
        )
        self._connection = connection
        self.assistant = dialer.name
        self._playback.listen_to(dialer.format)
        self.outgoing.speak_to(dialer.format)

        def listening() -> None:
            breaker.succeeded()
            self._listening()
            self._standing.assistant_listens(index)

        ending: Ending | None = None
        try:
            ending = await connection.run(call_id, listening=listening)
        finally:
            if ending is None and connection.began_at is None:
                self._ladder.abandoned(index, trio.current_time())
            if connection.call_id is not None and not connection.hung_up:
                nursery.start_soon(self._delete, dialer, connection.call_id)
        self._note_ending(ending, index, connection.lived_s)
        return ending

    def _note_ending(self, ending: Ending, index: int, lived_s: float) -> None:
        if ending in {Ending.FAILED, Ending.REFUSED}:
            self._ladder.failed(index, trio.current_time(), retriable=ending is Ending.FAILED)
            self._standing.assistant_away("assistant unavailable")
            if self._lost_at is not None:
                self._counts.reconnect("assistant", ok=False)
        elif lived_s >= STABLE_S:
            self._ladder.succeeded(index)
            self._backoff.succeeded()

    def _opening(self) -> Opening:
        old = self._lost_call_id
        if old is None:
            return Opening()
        greet = not self._dialogue.has_begun
        return Opening(greet=greet, replaces=old, messages=self._context, opened=self._note_reconnected)

    def _context(self) -> Iterable[str]:
        """The conversation so far. Caller's words that were the last, and will not be replayed, want an answer; so does
        what the assistant was saying when the process before this one was lost, with all that it had still to play."""
        turns = self._playback.turns()
        for number, turn in enumerate(turns, start=1):
            open_end = self._taken_over if turn.role == "assistant" else self._dialogue.all_understood
            unanswered = number == len(turns) and open_end and (turn.role == "user" or turn.interrupted)
            yield add_message(turn.role, turn.content, trigger_response=unanswered)

    def _note_loss(self) -> None:
        self._lost_call_id = self.assistant_call_id
        if self._lost_at is None:
            self._lost_at = trio.current_time()
            self._dropped_ms = self._replay.statistics().dropped_ms
        self._dialogue.rewind()
        self._playback.assistant_lost()
        self._standing.assistant_away("assistant lost")
        self._outage.set()

    def _note_reconnected(self) -> None:
        assert self._lost_at is not None
        statistics = self._replay.statistics()
        self._counts.reconnect("assistant", ok=True)
        log.info(
            "assistant.reconnected",
            gap_ms=round((trio.current_time() - self._lost_at) * 1000, 1),
            replayed_ms=statistics.unread_ms,
            dropped_ms=statistics.dropped_ms - self._dropped_ms,
            attempt=self._backoff.attempt,
            assistant_call_id=self.assistant_call_id,
            replaces=self._lost_call_id,
        )
        self._lost_at, self._taken_over = None, False

    async def _comfort(self) -> None:
        """Until cancelled: during an outage, and until its replay has caught up, the caller does not hear nothing."""
        frames = comfort_frames(self._playback.format)
        while True:
            await self._outage.wait()
            due, number = trio.current_time() + COMFORT_AFTER_S, 0
            while self._lost_at is not None or self._replay.replaying:
                due = max(due, self._playback.last_audible_at + COMFORT_AFTER_S)
                await trio.sleep_until(due)
                if due >= self._playback.last_audible_at + COMFORT_AFTER_S:
                    self._playback.comfort(frames[number % len(frames)])
                    number += 1
                    due += FRAME_MS / 1000
            self._outage = trio.Event()

    async def _delete(self, dialer: Dialer, assistant_call_id: str) -> None:
        with trio.move_on_after(DELETE_S, shield=True):
            await dialer.delete(assistant_call_id)
