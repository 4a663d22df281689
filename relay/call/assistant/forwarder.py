"""The forwarder task: one connection with the assistant after the other, until the conversation is over.

| state   | meaning                               | leaves when                                  | deadline           |
|---------|---------------------------------------|----------------------------------------------|--------------------|
| dialing | a call with the first assistant that  | it is live -> talking                        | see `Connection`   |
|         | has tries left and is not known to be | that failed -> waiting                       |                    |
|         | down                                  | refused for good -> dialing, the next one    |                    |
| talking | a connection is live                  | it was lost -> waiting; all tries are given  | see `Connection`   |
|         |                                       | back if it was live for `STABLE_S`           |                    |
|         |                                       | it was lost for the same fault as the one    |                    |
|         |                                       | before (`Recurrence`), or for one that every |                    |
|         |                                       | call would have -> dialing, the next one     |                    |
|         |                                       | the assistant hung up, or was lost after it  |                    |
|         |                                       | had asked to leave, or a webhook had said    |                    |
|         |                                       | that it hung up -> over: it ended            |                    |
|         |                                       | the provider will end the call -> moved to   | `max_call_s`, see  |
|         |                                       | the next one, which is live: talking; but if | `Lifetime`         |
|         |                                       | it has asked to leave, it says its last      |                    |
|         |                                       | words itself                                 |                    |
| waiting | back-off; the caller hears what was   | deadline -> dialing                          | drawn at random;   |
|         | queued, then a comfort sound          | the next call was dialled before -> talking  | in all             |
|         |                                       | a webhook says that the assistant had hung   |                    |
|         |                                       | up -> over: it ended; also while dialing     |                    |
|         |                                       | no tries or no time left -> over:            | `budget_s`         |
|         |                                       | unavailable                                  |                    |

A new connection goes on with the conversation: no second greeting, what was said and heard so far as context, and the
caller's audio again from the first sentence that is not known to have been understood. So it is after a loss and when
the conversation is moved; then the new connection stands by before the old one is left. One connection at a time has
the conversation: nothing that another says goes anywhere. The calls of those that were lost are hung up.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from random import Random

import trio

from relay.call.assistant.changeover import ChangeOver
from relay.call.assistant.comfort import Comfort
from relay.call.assistant.connection import Connection, Ending, Talk
from relay.call.assistant.departure import Departure
from relay.call.assistant.incoming import Incoming
from relay.call.assistant.outgoing import Outgoing
from relay.call.assistant.pool import AssistantPool
from relay.call.assistant.pump import Opening
from relay.call.playback.dialogue import Dialogue
from relay.call.playback.playback import Playback
from relay.call.report.assistant_events import (
    AssistantChanged,
    AssistantGivenUp,
    AssistantHungUp,
    AssistantReconnected,
    FaultRepeated,
    ReconnectFailed,
)
from relay.call.report.report import Report
from relay.config import Config
from relay.logic.assistant.backoff import Backoff, BackoffRules
from relay.logic.assistant.ladder import Ladder, Wait
from relay.logic.assistant.lifetime import Moment
from relay.logic.assistant.recurrence import Recurrence
from relay.logic.end_reason import EndReason
from relay.wakeup import current_time, sleep_until
from relay.weak import weakly
from relay.wire.vapi_controls import add_message
from relay.wire.vapi_ended import ended_by_assistant

StartDial = Callable[[Ladder, int, Opening], Talk]
"""Begin a call with the assistant of this rung, as a task."""


@dataclass(slots=True)
class _Outage:
    """The time without an assistant: since when, which call was lost, and what a new one has to be told of it."""

    since: float | None = None
    """None: there is no outage now."""
    lost_call_id: str | None = None
    dropped_before_ms: int = 0
    taken_over: bool = False
    """The lost call was another process's, whose queued audio is gone as well."""
    cut_short: bool = False
    """The assistant was left in mid-sentence."""


class Forwarder:
    """Keeps an assistant in one call. The talk that has the floor is the one the caller hears and is heard by."""

    def __init__(
        self,
        pool: AssistantPool,
        outgoing: Outgoing,
        playback: Playback,
        dialogue: Dialogue,
        *,
        config: Config,
        report: Report,
        listening: Callable[[], None],
        departure: Departure,
    ) -> None:
        """`listening` is called when an assistant listens; `departure` is told what one wants of the telephone."""
        self._tries = config.reconnect.max_attempts + 1
        rules = BackoffRules(max_attempts=self._tries * len(pool) - 1, budget_s=config.reconnect.budget_s)
        self._outgoing = outgoing
        self._pool = pool
        self._ladder = pool.ladder(self._tries)
        self._replay = outgoing.replay
        self._playback = playback
        self._dialogue = dialogue
        self._config = config
        self._report = report
        self._listening = listening
        self._departure = departure
        # random from call to call, and the same in the replay of one
        self._backoff = Backoff(rules, partial(Random, report.call_id))
        self._losses = Recurrence()
        self._talk: Talk | None = None
        self._outage = _Outage()
        self._comfort = Comfort(playback)
        self._conversing = trio.CancelScope()
        self.assistant = pool.first.name
        """The assistant that is dialled, or has the call."""
        self.variables: dict[str, str] = {}
        """What each call with the assistant is told of the caller."""
        self._handed: dict[str, str] = {}
        """The id of the assistant to which each one here has handed the conversation, if it has. It is of no use for
        another one, which may be of another account."""
        self._refused: set[tuple[str, str]] = set()
        """Hand-offs that a new call does not begin with, as the provider has refused that once in this call."""

    @property
    def assistant_call_id(self) -> str | None:
        """The assistant's id of the call that is under way, or was last."""
        return (self._talk.connection.call_id if self._talk else None) or self._outage.lost_call_id

    @property
    def handed_to(self) -> str | None:
        """The id of the assistant to which `assistant` has handed the conversation, if it has."""
        return self._handed.get(self.assistant)

    @property
    def notes(self) -> tuple[str, ...]:
        """The messages that a new call with the assistant is to be told."""
        return self._outgoing.untold

    def take_over(self, assistant: str, lost_call_id: str, handed_to: str | None) -> None:
        """Before `run`: the conversation was another process's, whose call with the assistant is lost."""
        self.assistant = assistant
        self._note_handed(assistant, handed_to)
        self._outage = _Outage(current_time(), lost_call_id, taken_over=True)
        self._report.status.assistant_away("assistant lost")
        self._comfort.begin()

    async def run(self, call_id: str) -> EndReason:
        """Dial and converse until the assistant is gone for good; returns why. Cancelled, it says goodbye first."""
        async with trio.open_nursery() as nursery:
            lost = self._outage.lost_call_id
            if lost is not None and (dialer := self._pool.find(self.assistant)):
                self._pool.placer.end(dialer, lost)
            nursery.start_soon(self._comfort.run, self._comfort_is_needed)
            reason = EndReason.ASSISTANT_ENDED
            with self._conversing:
                reason = await self._converse(partial(self._dial, call_id, nursery))
            nursery.cancel_scope.cancel()
        return reason

    def told_ended(self, assistant_call_id: str | None, ended_reason: str) -> None:
        """A webhook says why a call with the assistant is over.

        That settles what its lost socket leaves open, until another call has the conversation. Nobody waits for it: a
        caller would hear nothing for so long, and it comes a second or two after the loss, or never; or before the
        loss, of which we may know late. Until then what the assistant said last may still be on its way.
        """
        if not ended_by_assistant(ended_reason):
            return
        if self._outage.since is not None and assistant_call_id == self._outage.lost_call_id:
            self._report.tell(AssistantHungUp(ended_reason))
            self._conversing.cancel()
        elif self._talk is not None and assistant_call_id == self._talk.connection.call_id:
            self._talk.told_ended = ended_reason

    def leave(self) -> None:
        """The assistant wants to leave. If its call is lost already, the conversation is over."""
        if self._outage.since is not None:
            self._conversing.cancel()

    def _comfort_is_needed(self) -> bool:
        return self._outage.since is not None or self._replay.replaying

    async def _converse(self, dial: StartDial) -> EndReason:
        spare = partial(self._dial_spare, dial)
        change_over = ChangeOver(self._pool, self._tries, self._playback, self._dialogue, dial=spare)
        give_up_at = current_time() + self._config.reconnect.budget_s
        while (talk := change_over.take() or await self._next(dial, give_up_at)) is not None:
            talk = await self._follow(talk, change_over)
            if talk.ending is Ending.ENDED or self._departure.end_reason is not None:
                return EndReason.ASSISTANT_ENDED
            if talk.ending is Ending.LOST and talk.told_ended is not None:
                self._report.tell(AssistantHungUp(talk.told_ended))
                return EndReason.ASSISTANT_ENDED
            if talk.lasted:
                self._backoff.succeeded()
            hopeless = talk.ending is Ending.FAULTY or self._recurs(talk)
            if hopeless:
                self._ladder.leave_out(talk.rung)  # it may have come by the ladder of the change-over
            if talk.ending in {Ending.LOST, Ending.FAULTY}:
                give_up_at = max(give_up_at, current_time() + self._config.reconnect.budget_s)
                self._note_loss()
            else:
                self._note_failure()
            if hopeless or talk.ending in {Ending.REFUSED, Ending.LOCKED_OUT} or change_over.is_prepared:
                continue
            attempt_at = self._backoff.next_at(current_time())
            if attempt_at is None:
                break
            await sleep_until(attempt_at, "back_off")
        self._report.tell(AssistantGivenUp(self._backoff.attempt))
        return EndReason.ASSISTANT_UNAVAILABLE

    def _recurs(self, talk: Talk) -> bool:
        fault = talk.connection.fault
        if talk.ending is not Ending.LOST or not self._losses.again(talk.rung, fault, talk.connection.lived_s):
            return False
        self._report.tell(FaultRepeated(talk.dialer.name, fault or ""))
        return True

    async def _next(self, dial: StartDial, give_up_at: float) -> Talk | None:
        """A new call; None: there is nobody left to dial, or not in time."""
        while isinstance(step := self._ladder.next(current_time()), Wait):
            if step.until > give_up_at:
                return None
            await sleep_until(step.until, "ladder")
        return None if step is None else dial(self._ladder, step.index, self._opening())

    async def _follow(self, talk: Talk, change_over: ChangeOver) -> Talk:
        """Let it have the conversation, and those after it to which that is moved; returns the last one, once over."""
        self._give_floor(talk)
        while (change := await change_over.wait(talk)) is not None:
            if self._departure.end_reason is not None:  # nobody is to follow it, and its last words are its own
                await talk.over.wait()
                return talk
            self._move(talk, *change)
            talk, _ = change
        return talk

    def _dial(self, call_id: str, nursery: trio.Nursery, ladder: Ladder, rung: int, opening: Opening) -> Talk:
        dialer = self._pool.dialers[rung]
        opening = self._of_this_call(opening, dialer.name)
        handed_off = partial(weakly(self._note_handed), dialer.name)
        recording = self._report.recording
        incoming = Incoming(
            dialer.format,
            self._playback,
            self._dialogue,
            self._report,
            handed_off=handed_off,
            asked=self._departure.ask,
            number=recording.new_connection() if recording is not None else 0,
        )
        connection = Connection(
            dialer, self._pool.placer, self._outgoing, incoming, opening, config=self._config, report=self._report
        )
        talk = Talk(rung, ladder, dialer, connection)

        def connected() -> None:
            self._pool.breakers[rung].succeeded()
            if talk is self._talk:
                self._note_listening(talk)

        nursery.start_soon(talk.run, call_id, connected)
        return talk

    def _of_this_call(self, opening: Opening, assistant: str) -> Opening:
        opening = replace(opening, variables=dict(self.variables))
        if (handed_to := self._handed.get(assistant)) is None:
            return opening
        refused = partial(weakly(self._note_refused), assistant, handed_to)
        return replace(opening, handed_to=handed_to, hand_off_refused=refused)

    def _dial_spare(self, dial: StartDial, ladder: Ladder, rung: int) -> Talk:
        replaces = self.assistant_call_id
        return dial(
            ladder,
            rung,
            Opening(greet=False, replaces=replaces, messages=weakly(self._context), opened=weakly(self._note_opened)),
        )

    def _give_floor(self, talk: Talk) -> None:
        self._talk = talk
        self.assistant = talk.dialer.name
        talk.connection.take_floor()
        if talk.connection.began_at is not None:
            self._note_listening(talk)

    def _move(self, old: Talk, new: Talk, moment: Moment) -> None:
        """In one step, as nothing may be said in between: the old assistant is left, the new one has the floor."""
        replaces, dropped_ms = self.assistant_call_id, self._replay.dropped_ms
        old.connection.leave()
        self._backoff.succeeded()
        self._outage.cut_short = moment is Moment.FORCED and old.connection.busy
        self._rewind()
        self._playback.intake.assistant_lost()
        self._give_floor(new)
        if moment is not Moment.QUIET:
            self._comfort.begin()
        self._report.tell(
            AssistantChanged(
                moment=moment,
                prepared_ms=round((current_time() - new.dialed_at) * 1000),
                replayed_ms=self._replay.unread_ms,
                dropped_ms=self._replay.dropped_ms - dropped_ms,
                assistant_call_id=self.assistant_call_id,
                replaces=replaces,
            )
        )

    def _note_listening(self, talk: Talk) -> None:
        self._playback.intake.listen_to(talk.connection.format)
        self._outgoing.speak_to(talk.connection.format)
        self._listening()
        self._report.status.assistant_listens(talk.rung)

    def _note_handed(self, assistant: str, handed_to: str | None) -> None:
        if handed_to is None or (assistant, handed_to) in self._refused:
            self._handed.pop(assistant, None)
        else:
            self._handed[assistant] = handed_to

    def _note_refused(self, assistant: str, handed_to: str) -> None:
        self._refused.add((assistant, handed_to))
        self._handed.pop(assistant, None)

    def _note_failure(self) -> None:
        self._report.status.assistant_away("assistant unavailable")
        if self._outage.since is not None:
            self._report.tell(ReconnectFailed())

    def _opening(self) -> Opening:
        old = self._outage.lost_call_id
        if old is None:
            return Opening()
        greet = not self._dialogue.has_begun
        return Opening(greet=greet, replaces=old, messages=weakly(self._context), opened=weakly(self._note_opened))

    def _context(self) -> Iterable[str]:
        """The conversation so far. Caller's words that were the last, and will not be replayed, want an answer; so does
        what an assistant had still to say that was left in mid-sentence, or lost with all that was queued."""
        turns = self._playback.turns()
        for number, turn in enumerate(turns, start=1):
            had_more = self._outage.cut_short or (self._outage.taken_over and turn.interrupted)
            open_end = had_more if turn.role == "assistant" else self._dialogue.all_understood
            yield add_message(turn.role, turn.content, trigger_response=open_end and number == len(turns))

    def _note_loss(self) -> None:
        self._outage.lost_call_id = self.assistant_call_id
        if self._outage.since is None:
            self._outage.since = current_time()
            self._outage.dropped_before_ms = self._replay.dropped_ms
        self._rewind()
        self._playback.intake.assistant_lost()
        self._report.status.assistant_away("assistant lost")
        self._comfort.begin()

    def _rewind(self) -> None:
        rewound = self._dialogue.rewind()
        self._outgoing.rewind()
        self._report.counts.again(rewound.again)
        self._report.counts.dropped("overflow", rewound.dropped)

    def _note_opened(self) -> None:
        outage = self._outage
        outage.taken_over = outage.cut_short = False
        if outage.since is None:
            return
        self._report.tell(
            AssistantReconnected(
                gap_ms=round((current_time() - outage.since) * 1000, 1),
                replayed_ms=self._replay.unread_ms,
                dropped_ms=self._replay.dropped_ms - outage.dropped_before_ms,
                attempt=self._backoff.attempt,
                assistant_call_id=self.assistant_call_id,
                replaces=outage.lost_call_id,
            )
        )
        outage.since = None
