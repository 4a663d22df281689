"""Joins Vapi's server messages to their calls, also to those that another process has, and to those that are over.

| the call of a message    | then                                                                                     |
|--------------------------|------------------------------------------------------------------------------------------|
| lives here               | the call is told: log, recording, events of calls, and what the reason decides           |
| has ended                | a line of the log, the finished call gets the reason, its recording the report           |
| is of another process    | a line of the log, and a letter in the store, which that process takes soon: it does     |
|                          | what the telephone is asked for, and leaves the answer                                   |
| is not known             | a line of the log                                                                        |

| state   | meaning                                         | leaves when                       | deadline      |
|---------|-------------------------------------------------|-----------------------------------|---------------|
| waiting | nothing is to be told to the store              | something is; it is time to look  | LOOK_EVERY_S  |
| telling | notes and letters go there, and come from there | that is done, or failed -> pause  | the store's   |
| pause   | the store failed: notes wait, letters are lost  | it is over -> telling             | STORE_AGAIN_S |
"""

from collections import OrderedDict, deque

import msgspec
import structlog
import trio

from relay.call.call import Call
from relay.call.calls import Calls
from relay.call.report.assistant_events import AssistantReady, WebhookAccepted, WebhookJoined
from relay.call.report.listeners import CallNews
from relay.daemon.event_queue import EventQueue
from relay.errors import StateUnavailable
from relay.metrics import Metrics
from relay.record.after_end import AfterEnd
from relay.state import StateStore
from relay.state.event_journal import Acceptance, AssistantCallNote
from relay.wakeup import Signal
from relay.wire.vapi_actions import Action, HangUp, Transfer
from relay.wire.vapi_events import END_OF_CALL

LOOK_EVERY_S = 0.5
"""The messages behind the end of a call come one to three seconds after it."""
STORE_AGAIN_S = 2.0
WAITING_MAX = 2000
"""Notes, and letters, that wait for the store. The oldest make room."""
ASKED_MAX = 10_000
ANSWER_KEPT_S = 60.0
ASK_AGAIN_S = 5.0
"""For a call that the store does not know: the first message may come before its note."""

log = structlog.get_logger(__name__)


class TelephoneWish(msgspec.Struct, frozen=True, array_like=True):
    """What the assistant asks of the telephone. `transfer_to` is a number or a SIP address, which is personal data, and
    not shown; None: it hangs up. `question`: what the answer is kept under; None: nobody waits for one."""

    transfer_to: str | None
    question: str | None = None

    def __repr__(self) -> str:
        return "TelephoneWish()"

    @property
    def action(self) -> Action:
        return HangUp() if self.transfer_to is None else Transfer(self.transfer_to)


def wish_of(action: Action, question: str | None = None) -> TelephoneWish:
    """The wish for this action."""
    return TelephoneWish(action.destination if isinstance(action, Transfer) else None, question)


def question_of(delivery_id: str) -> str:
    """What the answer of the process that has the call is kept under."""
    return f"telephone:{delivery_id}"


def refusal_in(answer: bytes) -> str | None:
    """Why that process has refused the wish; None: it is done. Raises nothing: what it cannot read is a refusal."""
    try:
        return msgspec.json.decode(answer, type=str | None)
    except msgspec.DecodeError:
        return "the answer cannot be read"


class _Letter(msgspec.Struct, frozen=True, array_like=True):
    """What the process that has the call is told: no word of anybody, and no address but that of a transfer."""

    call_id: str | None
    call_sid: str | None
    type: str
    assistant_call_id: str | None
    ended_reason: str | None
    cost_usd: float | None = None
    wish: TelephoneWish | None = None


class EventJoiner:
    """One for the daemon. `store` is None where no other process can have a call."""

    def __init__(
        self, queue: EventQueue, calls: Calls, store: StateStore | None, metrics: Metrics, after_end: AfterEnd
    ) -> None:
        self._queue = queue
        self._calls = calls
        self._store = store
        self._after_end = after_end
        self._lost = metrics.events_not_joined
        self._asked: OrderedDict[str, float] = OrderedDict()
        """Until when there is no need to ask whose an assistant's call is."""
        self._notes: deque[AssistantCallNote] = deque(maxlen=WAITING_MAX)
        self._letters: deque[tuple[str, bytes]] = deque()
        self._news = Signal()

    def note_call(self, news: CallNews) -> None:
        """For `calls.listeners`: keep of each assistant's call whose it is."""
        if isinstance(news.event, AssistantReady) and (call := self._calls.find_by_id(news.call_id)):
            note = AssistantCallNote(news.event.assistant_call_id, call.id, call.sid)
            self._know(note.assistant_call_id, until=float("inf"))
            self._queue.note_call(note)
            if self._store is not None:
                self._notes.append(note)
                self._news.fire()

    async def learn(self, assistant_call_id: str | None) -> None:
        """Ask the store whose call this is, where that is not known here, so that its messages have our ids.

        Does nothing while the store fails.
        """
        if self._store is None or assistant_call_id is None or self._store.failing:
            return
        if trio.current_time() < self._asked.get(assistant_call_id, float("-inf")):
            return
        try:
            note = await self._store.whose(assistant_call_id)
        except StateUnavailable:
            return
        if note is not None:
            self._queue.note_call(note)
        self._know(assistant_call_id, until=float("inf") if note else trio.current_time() + ASK_AGAIN_S)

    def join(self, told: WebhookAccepted, acceptance: Acceptance, wish: TelephoneWish | None = None) -> bool:
        """Tell the call of a message that is new; returns whether that is left to another process. Never waits.

        `wish` is for that process: of a call that lives here, the caller of this has to see to it.
        """
        call = self.live(acceptance.call_id, acceptance.call_sid)
        if call is not None:
            call.told_by_webhook(told)
            return False
        told.write_to(log.bind(call_id=acceptance.call_id))
        self._record(acceptance.call_id, told)
        here = self._calls.told_after_end(acceptance.call_id, told.ended_reason, told.cost_usd)
        if here or self._store is None or told.assistant_call_id is None:
            return False
        ids = acceptance.call_id, acceptance.call_sid
        letter = _Letter(*ids, told.type, told.assistant_call_id, told.ended_reason, told.cost_usd, wish)
        self._letters.append((told.assistant_call_id, msgspec.json.encode(letter)))
        if len(self._letters) > WAITING_MAX:
            self._letters.popleft()
            self._lost.inc()
        self._news.fire()
        return acceptance.call_id is not None

    async def run(self) -> None:
        """Bring notes and letters to the store, and fetch letters, until cancelled."""
        if self._store is None:
            return
        while True:
            if not (self._notes or self._letters):
                await self._news.wait(until=trio.current_time() + LOOK_EVERY_S)
            try:
                await self._exchange(self._store)
            except StateUnavailable:
                await trio.sleep(STORE_AGAIN_S)

    async def _exchange(self, store: StateStore) -> None:
        while self._notes:
            note = self._notes[0]
            await store.note(note)
            if self._notes and self._notes[0] is note:
                self._notes.popleft()
        if self._letters:
            letters, self._letters = list(self._letters), deque()
            try:
                self._lost.inc(await store.post(letters))
            except StateUnavailable:
                self._lost.inc(len(letters))
                raise
        if self._calls.begun:
            answers = [self._receive(letter) for letter in await store.letters()]
            for question, answer in filter(None, answers):
                await store.keep_answer(question, answer, ANSWER_KEPT_S)

    def _receive(self, data: bytes) -> tuple[str, bytes] | None:
        """Returns the question, and its answer, where somebody waits for one."""
        try:
            letter = msgspec.json.decode(data, type=_Letter)
        except msgspec.DecodeError:  # of another version of the program
            self._lost.inc()
            return None
        told = WebhookJoined(letter.type, letter.assistant_call_id, letter.ended_reason, letter.cost_usd)
        call = self.live(letter.call_id, letter.call_sid)
        if call is not None:
            call.told_by_webhook(told)
            return _grant(call, letter)
        if self._calls.told_after_end(letter.call_id, letter.ended_reason, letter.cost_usd):
            told.write_to(log.bind(call_id=letter.call_id))
            self._record(letter.call_id, told)
        return None

    def _record(self, call_id: str | None, told: WebhookAccepted) -> None:
        """The report of a call is what is looked for in its recording. It is added where that is closed, and here."""
        if told.type == END_OF_CALL and call_id is not None:
            self._after_end.note(call_id, *told.recorded())

    def live(self, call_id: str | None, call_sid: str | None) -> Call | None:
        """The call itself, not a later one of the same caller's."""
        call = self._calls.find(call_sid or "") or self._calls.find_by_id(call_id or "")
        return call if call is not None and call.id == call_id else None

    def _know(self, assistant_call_id: str, *, until: float) -> None:
        self._asked[assistant_call_id] = until
        self._asked.move_to_end(assistant_call_id)
        if len(self._asked) > ASKED_MAX:
            self._asked.popitem(last=False)


def has_floor(call: Call, assistant_call_id: str | None) -> bool:
    """Whether the assistant that says this has the conversation. A lost one, which nobody hears, may live on."""
    return assistant_call_id == call.assistant_call_id


def _grant(call: Call, letter: _Letter) -> tuple[str, bytes] | None:
    wish = letter.wish
    if wish is None or not has_floor(call, letter.assistant_call_id):
        return None
    refused = call.asked_by_webhook(wish.action)
    return None if wish.question is None else (wish.question, msgspec.json.encode(refused))
