"""The narrator writes the text messages of a call, in the order of real calls (Vapi API reference, ClientMessage and
ServerMessage).

At the end of the caller's words come `conversation-update`, the final transcript, the assistant's
`speech-update started`, and only then the caller's `speech-update stopped`. The assistant's words come as a final
transcript for each sentence.
"""

import json
import re
import time
from collections import deque
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Literal
from uuid import uuid4

from relay.standin.assistant.behaviour import Behaviour
from relay.standin.assistant.bodies import ASSISTANT_NAME, PROMPT
from relay.standin.assistant.mouth import Utterance
from relay.standin.assistant.order import Order
from relay.standin.phrases import texts

Role = Literal["user", "assistant"]

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
_PIECE_WORDS = 3
"""A model's output comes in tokens; this many words a message are as good."""
_CONFIDENCE = 0.97


@dataclass(slots=True)
class SpokenTurn:
    """One turn of one side. Times are milliseconds since the epoch."""

    role: Role
    text: str
    began_ms: int
    ended_ms: int


def sentences_of(text: str) -> list[str]:
    """The sentences of a text; what follows the last full stop is one, too."""
    return [sentence for sentence in _SENTENCE_END.split(text) if sentence]


class Narrator:
    """Tells the client (into `outbox`) and the webhook (into `hooks`) what happens, as far as the order asks for it.

    A turn is one exchange: the caller's words and the answer to them share its number; the greeting is turn 0.

    The ear knows no words. What the caller says is taken from `Behaviour.user_texts` and, after that, from the
    sentences of the demo's caller: "Stop there, please." for words that interrupt, "Tell me about the telephone." for
    the first others, "What does it cost, and when can I have it?" for the rest.
    """

    def __init__(self, order: Order, behaviour: Behaviour, outbox: deque[str | bytes]) -> None:
        self.hooks: deque[dict[str, Any]] = deque()
        self.said: list[SpokenTurn] = []
        self.turn = 0
        self.last_user_text = ""
        self.assistant_id = order.assistant_id
        self._order = order
        self._behaviour = behaviour
        self._outbox = outbox
        self._texts = iter(behaviour.user_texts)
        self._began_ms = _now_ms()
        self._user_began_ms = self._assistant_began_ms = self._began_ms
        self._announced: Utterance | None = None
        self._open: SpokenTurn | None = None
        self._sentence_ends: list[int] = []
        self._sentence_from = 0
        self._spoken = 0
        self._turn_id = ""
        self._turn_used = False
        self._user_stop_due = False

    @property
    def conversation(self) -> list[dict[str, str]]:
        """What both have said so far."""
        return [{"role": said.role, "content": said.text} for said in self.said]

    @property
    def formatted(self) -> list[dict[str, str]]:
        """The same for a language model, with the prompt."""
        return [{"role": "system", "content": PROMPT}, *self.conversation]

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The same as Vapi keeps it: the assistant is the bot, and durations are in milliseconds."""
        return [
            {
                "role": "bot" if said.role == "assistant" else "user",
                "message": said.text,
                "time": said.began_ms,
                "endTime": said.ended_ms,
                "secondsFromStart": (said.began_ms - self._began_ms) / 1000,
                "duration": said.ended_ms - said.began_ms,
            }
            for said in self.said
        ]

    @property
    def transcript(self) -> str:
        """The same as one text."""
        names = {"assistant": "AI", "user": "User"}
        return "".join(f"{names[said.role]}: {said.text}\n" for said in self.said)

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
        words = utterance.words_by(stream_byte).split()
        if len(words) <= self._spoken:
            return
        self._spoken = len(words)
        self._speech_started(utterance)
        self._finish_sentences(words)
        if len(words) > self._sentence_from:
            self._transcript("assistant", "partial", " ".join(words[self._sentence_from :]))

    def assistant_finished(self, utterance: Utterance) -> None:
        """It has been said to its end, or to where it was cut."""
        if utterance is not self._announced:
            self._announce(utterance)
        words = utterance.words_by(utterance.ends_at_byte).split()
        self._finish_sentences(words)
        self._speech_update("stopped", "assistant", utterance.turn)
        self._assistant_said(words[self._sentence_from :])
        self._announced = None

    def interrupted(self, utterance: Utterance) -> None:
        """The caller has cut this short. Nothing is told of what was not begun."""
        if self._behaviour.send_user_interrupted and utterance is self._announced:
            self.tell({"type": "user-interrupted", "turnId": self._turn_id})

    def user_started(self, *, interrupts: bool = False) -> None:
        """The caller speaks: a new turn, unless nothing was said in this one yet."""
        self.user_stop_told()
        self.turn += self._turn_used
        self._turn_used = True
        self._user_began_ms = _now_ms()
        self._speech_update("started", "user", self.turn)
        self.last_user_text = next(self._texts, None) or self._supposed(interrupts=interrupts)
        self._transcript("user", "partial", self.last_user_text.split()[0])

    def user_stopped(self) -> None:
        """The caller's words are known; `user_stop_told` has to follow."""
        self._user_stop_due = True
        said = SpokenTurn("user", self.last_user_text, self._user_began_ms, _now_ms())
        self.said.append(said)
        self._conversation_update()
        self._transcript("user", "final", said.text, confidence=_CONFIDENCE, confidenceSource="provider")

    def user_stop_told(self) -> None:
        """Tell that the caller has stopped, if that is still to be told."""
        if self._user_stop_due:
            self._user_stop_due = False
            self._speech_update("stopped", "user", self.turn)

    def _supposed(self, *, interrupts: bool) -> str:
        is_first = not any(said.role == "user" for said in self.said)
        return texts()["stop" if interrupts else "request" if is_first else "question"]

    def _announce(self, utterance: Utterance) -> None:
        self._announced = utterance
        self._open = None
        self._assistant_began_ms = _now_ms()
        self._turn_used = True
        self._turn_id = str(uuid4())
        sentences = sentences_of(utterance.text)
        self._sentence_ends = list(accumulate(len(sentence.split()) for sentence in sentences))
        self._sentence_from = self._spoken = 0
        words = utterance.text.split()
        for at in range(0, len(words), _PIECE_WORDS):
            piece = " ".join(words[at : at + _PIECE_WORDS])
            self.tell({"type": "model-output", "output": f"{piece} ", "turnId": self._turn_id})
        for sentence in sentences:
            self.tell({"type": "voice-input", "input": sentence, "turn": utterance.turn})
        self._speech_update("started", "assistant", utterance.turn)
        self._speech_started(utterance)
        self.user_stop_told()

    def _speech_started(self, utterance: Utterance) -> None:
        """Despite its name this message is sent for every word: it says how far the speech is."""
        timing = {"type": "word-progress", "wordsSpoken": self._spoken, "totalWords": len(utterance.text.split())}
        told = {"text": utterance.text, "turn": utterance.turn, "source": "model", "timing": timing}
        self.tell({"type": "assistant.speechStarted", **told})

    def _finish_sentences(self, words: list[str]) -> None:
        """The last sentence is final when the speech is over."""
        for end in self._sentence_ends[:-1]:
            if self._sentence_from < end <= len(words):
                self._assistant_said(words[self._sentence_from : end])
                self._sentence_from = end

    def _assistant_said(self, words: list[str]) -> None:
        if not words:
            return
        text = " ".join(words)
        self._transcript("assistant", "final", text, assistantId=self.assistant_id or "", assistantName=ASSISTANT_NAME)
        if self._open is None:
            self._open = SpokenTurn("assistant", text, self._assistant_began_ms, _now_ms())
            self.said.append(self._open)
        else:
            self._open.text += f" {text}"
            self._open.ended_ms = _now_ms()
        self._conversation_update()

    def _speech_update(self, status: str, role: Role, turn: int) -> None:
        self.tell({"type": "speech-update", "status": status, "role": role, "turn": turn})

    def _transcript(self, role: Role, kind: str, text: str, **more: Any) -> None:
        self.tell({"type": "transcript", "role": role, "transcriptType": kind, "transcript": text, **more})

    def _conversation_update(self) -> None:
        formatted = self.formatted
        told = {"conversation": formatted, "messages": self.messages, "messagesOpenAIFormatted": formatted}
        self.tell({"type": "conversation-update", **told})


def _now_ms() -> int:
    return int(time.time() * 1000)
