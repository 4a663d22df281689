"""Takes down what happens in one call, in memory, until the recorder fetches it: one cheap step for each thing.

What is taken down holds no secret: texts and events are cleaned here, as long as the addresses of the call are known.
"""

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import structlog
import trio

from relay.record.backlog import Backlog
from relay.record.entries import (
    ClearSent,
    FromAssistant,
    FromCaller,
    MarkReturned,
    MarkSent,
    Recorded,
    RecordingEnd,
    RecordingHeader,
    SpeechScore,
    TextFromAssistant,
    TextToAssistant,
    ToAssistant,
    ToCaller,
    Told,
)
from relay.record.troubles import Troubles
from relay.redaction import Redactor

ENTRY_BYTES = 128
"""What an entry takes beside its audio or text, roughly."""


_read_message = msgspec.json.Decoder(dict[str, Any]).decode
log = structlog.get_logger(__name__)


class CallRecording:
    """One per call that is recorded. Nothing in it waits or fails.

    `moment` is the time of trio's clock at which the recording began; `backlog` counts what waits.
    """

    def __init__(self, header: RecordingHeader, redactor: Redactor, moment: float, backlog: Backlog) -> None:
        self.call_id = header.call_id
        self.troubles = Troubles()
        self.is_over = False
        """The call has ended."""
        self.waiting_bytes = 0
        """For the backlog."""
        self._given_up = False
        self._moment = moment
        self._redactor = redactor
        self._entries: list[Recorded] = [header]
        self._backlog = backlog

    def take(self) -> Sequence[Recorded]:
        """What was taken down since the last time."""
        taken, self._entries = self._entries, []
        self._backlog.take(self)
        return taken

    def give_up(self, why: str) -> None:
        """Take down nothing more but troubles; what is not fetched is lost. The first reason is logged."""
        if not self._given_up:
            log.warning("record.failed", call_id=self.call_id, error=why)
        self._given_up = True
        self._entries = []
        self._backlog.drop(self)

    def end(self) -> None:
        """The call is over."""
        self._add(RecordingEnd(self._now(), "ended"))
        self.is_over = True

    def from_caller(self, arrived_at: float, stamp_ms: float | None, missing: int, data: bytes) -> None:
        self._add(FromCaller(arrived_at - self._moment, stamp_ms, missing, data), len(data))

    def to_caller(
        self, sent_at: float, turn: int, position_ms: int, data: bytes, *, audible: bool, queued_ms: int
    ) -> None:
        at_s = sent_at - self._moment
        if audible:
            self.troubles.sound_sent(at_s)
        self._add(ToCaller(at_s, turn, position_ms, audible, queued_ms, data), len(data))

    def mark_sent(self, turn: int, position_ms: int, sent_at: float) -> None:
        self._add(MarkSent(sent_at - self._moment, turn, position_ms))

    def mark_returned(self, turn: int, position_ms: int) -> None:
        self._add(MarkReturned(self._now(), turn, position_ms))

    def clear_sent(self, sent_at: float) -> None:
        self._add(ClearSent(sent_at - self._moment))

    def from_assistant(self, message: bytes | str, *, has_floor: bool) -> None:
        if isinstance(message, bytes):
            self._add(FromAssistant(self._now(), has_floor, message), len(message))
        else:
            text = self._redactor.text(message)
            self._add(TextFromAssistant(self._now(), has_floor, text), len(text))

    def to_assistant(self, message: bytes | str) -> None:
        if isinstance(message, bytes):
            self._add(ToAssistant(self._now(), len(message), zlib.crc32(message)))
        else:
            self._add(TextToAssistant(self._now(), _read_type(message)))

    def speech_score(self, end_ms: float, probability: float) -> None:
        self._add(SpeechScore(self._now(), end_ms, probability))

    def told(self, name: str, values: Mapping[str, Any]) -> None:
        at_s = self._now()
        self.troubles.told(at_s, name, values)
        self._add(Told(at_s, name, self._redactor.clean_event(values)), ENTRY_BYTES)

    def _now(self) -> float:
        return trio.current_time() - self._moment

    def _add(self, entry: Recorded, n_bytes: int = 0) -> None:
        if self._given_up or self.is_over:
            return
        self._entries.append(entry)
        self._backlog.add(self, ENTRY_BYTES + n_bytes)


def _read_type(message: str) -> str:
    return str(_read_message(message).get("type"))
