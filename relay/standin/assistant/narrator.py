"""The narrator writes the text messages of a call, in the order of real calls (Vapi API reference, ClientMessage and
ServerMessage)."""

import json
from collections import deque
from typing import Any
from uuid import uuid4

from relay.standin.assistant.behaviour import Behaviour
from relay.standin.assistant.mouth import Utterance
from relay.standin.assistant.order import Order


class Narrator:
    """Tells the client (into `outbox`) and the webhook (into `hooks`) what happens, as far as the order asks for it.

    A turn is one exchange: the caller's words and the answer to them share its number; the greeting is turn 0.
    """

    def __init__(self, order: Order, behaviour: Behaviour, outbox: deque[str | bytes]) -> None:
        self.hooks: deque[dict[str, Any]] = deque()
        self.conversation: list[dict[str, str]] = []
        self.turn = 0
        self.last_user_text = ""
        self._order = order
        self._behaviour = behaviour
        self._outbox = outbox
        self._texts = iter(behaviour.user_texts)
        self._announced: Utterance | None = None
        self._turn_id = ""
        self._words = ""
        self._turn_used = False

    def tell(self, message: dict[str, Any]) -> None:
        """Say this to whoever ordered messages of its type."""
        kind = message["type"]
        silenced = (kind == "speech-update" and not self._behaviour.send_speech_updates) or (
            kind == "transcript" and not self._behaviour.send_transcripts
        )
        if silenced:
            return
        if self._order.wants(kind):
            self._outbox.append(json.dumps(message))
        if self._order.hooks_want(message):
            self.hooks.append(message)

    def assistant_progress(self, utterance: Utterance, stream_byte: int) -> None:
        """What is being said, and how far it is; told as far as there is news."""
        if utterance is not self._announced:
            self._announce(utterance)
        words = utterance.words_by(stream_byte)
        if words and words != self._words:
            self._words = words
            self._transcript("assistant", "partial", words)

    def assistant_finished(self, utterance: Utterance) -> None:
        """It has been said to its end, or to where it was cut."""
        if utterance is not self._announced:
            self._announce(utterance)
        spoken = utterance.words_by(utterance.ends_at_byte)
        self._speech_update("stopped", "assistant", utterance.turn)
        self._final("assistant", spoken)
        self._announced = None

    def interrupted(self, utterance: Utterance) -> None:
        """The caller has cut this short. Nothing is told of what was not begun."""
        if self._behaviour.send_user_interrupted and utterance is self._announced:
            self.tell({"type": "user-interrupted", "turnId": self._turn_id})

    def user_started(self) -> None:
        """The caller speaks: a new turn, unless nothing was said in this one yet."""
        self.turn += self._turn_used
        self._turn_used = True
        self._speech_update("started", "user", self.turn)
        self.last_user_text = next(self._texts, "")
        self._transcript("user", "partial", (self.last_user_text or "(speech)").split()[0])

    def user_stopped(self, seconds: float) -> None:
        """The caller is done; where no text is known, its length stands for it."""
        self.last_user_text = self.last_user_text or f"({seconds:.1f} s of speech)"
        self._speech_update("stopped", "user", self.turn)
        self._final("user", self.last_user_text)

    def _announce(self, utterance: Utterance) -> None:
        self._announced = utterance
        self._turn_used = True
        self._turn_id = str(uuid4())
        self._words = ""
        self.tell({"type": "model-output", "output": utterance.text, "turnId": self._turn_id})
        self.tell({"type": "voice-input", "input": utterance.text, "turn": utterance.turn})
        self._speech_update("started", "assistant", utterance.turn)

    def _speech_update(self, status: str, role: str, turn: int) -> None:
        self.tell({"type": "speech-update", "status": status, "role": role, "turn": turn})

    def _transcript(self, role: str, kind: str, text: str) -> None:
        self.tell({"type": "transcript", "role": role, "transcriptType": kind, "transcript": text})

    def _final(self, role: str, text: str) -> None:
        if text:
            self._transcript(role, "final", text)
            self.conversation.append({"role": role, "content": text})
            self.tell({"type": "conversation-update", "conversation": [{"role": "system"}, *self.conversation]})
