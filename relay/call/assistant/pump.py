"""The one writer of an assistant's socket.

| state       | writes                                    | leaves when                                | deadline  |
|-------------|-------------------------------------------|--------------------------------------------|-----------|
| opening     | nothing; the first call of a conversation | the assistant shows that it listens        | `READY_S` |
|             | has no context, and begins with `talking` | -> standing by                             |           |
| standing by | silence every 20 ms, because the end of   | `take_floor` -> talking                    | none      |
|             | the caller's audio would end the call     |                                            |           |
| talking     | the context, then messages and audio of   | `leave_floor` -> left                      | none      |
|             | the caller                                |                                            |           |
| left        | nothing                                   | `say_goodbye` -> leaving, as in any state  | none      |
| leaving     | `end-call`, and closes                    | the goodbye is answered                    | none      |

The floor is the right to speak, as in a conference: the one connection that has it carries the conversation.

What the socket takes at once is written so, and while the writer waits for audio, by whoever brings that: no task has
to be woken for a frame. Any other write has `SEND_DEADLINE_S`; it is not cancelled inside one as long as anything is to
follow.
"""

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial

import trio

from relay.call.assistant.dialer import AssistantSocket
from relay.call.assistant.incoming import Incoming
from relay.call.assistant.outgoing import Outgoing
from relay.call.report.report import Report
from relay.errors import LegLost
from relay.media.frames import FRAME_MS, AudioFormat
from relay.wakeup import current_time, deadline, turn
from relay.wire import vapi_controls

SEND_DEADLINE_S = 5.0
"""A peer that takes nothing for so long is gone; the kernel gives its connection up after the same time."""
SENDS_PER_TURN = 16
"""So many messages are written at once before other tasks have their turn."""
LAST_WORDS_S = 1.0
"""When a send fails the assistant is gone, but what it said before, and why it left, can still be read."""
READY_S = 1.0
"""How long a new call is given to say that it listens before it gets the context all the same."""


@dataclass(frozen=True, slots=True)
class Opening:
    """Says what a new call begins with. `replaces` is the call whose conversation it goes on with, if there is one,
    and `handed_to` the id of the assistant to which that one had handed it; `hand_off_refused` is called when that
    one cannot be had. `variables` are told of the caller.

    `greet`: it speaks first. `messages` gives the context once the new call listens and has the conversation; None:
    there is nothing to wait for. `opened` is called then, right before the first audio.
    """

    greet: bool = True
    replaces: str | None = None
    handed_to: str | None = None
    hand_off_refused: Callable[[], None] = lambda: None
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    messages: Callable[[], Iterable[str]] | None = None
    opened: Callable[[], None] = lambda: None


class Pump:
    """Writes to one connection; used once."""

    def __init__(
        self, outgoing: Outgoing, incoming: Incoming, opening: Opening, audio_format: AudioFormat, report: Report
    ) -> None:
        self._outgoing = outgoing
        self._incoming = incoming
        self._opening = opening
        self._format = audio_format
        self._counts = report.counts
        self._recording = report.recording
        self._messages: deque[str] = deque()
        self._in_hand: str | bytes | None = None
        """What was taken while the writer waited, and the socket did not take at once."""
        self._floor = trio.Event()
        self.has_floor = False
        """The conversation is held with this assistant."""
        self._leaving = False
        self._at_once = 0
        self._sending = trio.CancelScope()
        """Its deadline is that of the send under way. To move it costs half of what a scope for each send would."""
        self.stands_by = False
        """The assistant listens, and could have the conversation."""
        self.hung_up = False
        """The assistant's side knows that the call is over."""

    def speak_to(self, audio_format: AudioFormat) -> None:
        """The assistant wants this format."""
        self._format = audio_format

    def take_floor(self) -> None:
        """Give the assistant the conversation."""
        self.has_floor = True
        self._floor.set()

    def leave_floor(self) -> None:
        """Another assistant has the conversation: write nothing more of it."""
        self.has_floor = False

    def say_goodbye(self) -> None:
        """Write nothing more than that."""
        self._messages = deque([vapi_controls.end_call()])
        self._leaving = True
        self._incoming.began.set()  # a pump that waits in `_open` for this waits no longer
        self._outgoing.wake()

    async def run(self, socket: AssistantSocket) -> None:
        """Write until it has hung up. Raises LegLost when a write, or the goodbye, comes to nothing."""
        with self._sending:
            await self._write(socket)
        if self._sending.cancelled_caught:
            raise LegLost(f"a send to the assistant took longer than {SEND_DEADLINE_S:g} s")

    async def _write(self, socket: AssistantSocket) -> None:
        await turn(f"writing-{self._incoming.number}")
        await self._open(socket)
        write_now = partial(self._write_now, socket)
        while not self.hung_up:
            message = self._next_message()
            if message is None:
                await self._outgoing.wait(write_now)
                continue
            await self._send(socket, message)
            self._note_written(message)
            if self._leaving and not self._messages:
                await socket.part()
                self.hung_up = True

    def _write_now(self, socket: AssistantSocket) -> bool:
        """Write the next message while `_write` waits. False: that one is to go on."""
        if self._leaving or self.hung_up or (message := self._next_message()) is None:
            return False
        if not socket.send_now(message):
            self._in_hand = message
            return False
        self._note_written(message)
        return self._outgoing.is_empty

    def _note_written(self, message: str | bytes) -> None:
        if self._recording is not None:
            self._recording.to_assistant(message, self._incoming.number)
        if isinstance(message, str):
            if self.has_floor:
                self._outgoing.note_sent()
        else:
            self._counts.frame("assistant", "up")
            if (delay_s := self._outgoing.audio_sent()) is not None:
                self._counts.frame_delays("up", (delay_s,))

    def _next_message(self) -> str | bytes | None:
        if self._messages:
            return self._messages.popleft()
        if not self.has_floor:
            return None
        message, self._in_hand = self._in_hand, None
        return self._outgoing.take() if message is None else message

    async def _open(self, socket: AssistantSocket) -> None:
        if self._opening.messages is None:
            return
        with deadline(f"opening-{self._incoming.number}", current_time() + READY_S):
            await self._incoming.began.wait()
        self.stands_by = True
        await self._stand_by(socket)
        if not self._leaving:
            self._messages.extend(self._opening.messages())
            self._opening.opened()

    async def _stand_by(self, socket: AssistantSocket) -> None:
        due = current_time()
        while not (self._floor.is_set() or self._leaving):
            await self._send(socket, self._format.silent_frame)
            self._counts.frame("assistant", "up")
            self._counts.invented("keepalive")
            if self._recording is not None:
                self._recording.to_assistant(self._format.silent_frame, self._incoming.number)
            due += FRAME_MS / 1000
            with deadline(f"standing_by-{self._incoming.number}", due):
                await self._floor.wait()

    async def _send(self, socket: AssistantSocket, message: str | bytes) -> None:
        if socket.send_now(message):
            self._at_once += 1
            if self._at_once % SENDS_PER_TURN == 0:
                await trio.lowlevel.cancel_shielded_checkpoint()
            return
        self._sending.deadline = current_time() + SEND_DEADLINE_S
        try:
            await socket.send(message)
        except LegLost:
            self._sending.deadline = math.inf
            if not self._leaving:
                await trio.sleep(LAST_WORDS_S)
            raise
        self._sending.deadline = math.inf
