"""Keeps records in this process, with which they are lost: for tests, and where calls may end with the process."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from relay.state.backend import LEASE_S, LETTERS_MAX, Claim, answer_in, answered, pending


@dataclass(slots=True)
class _Row:
    owner: str
    record: bytes
    expires_at: float


@dataclass(frozen=True, slots=True)
class _Note:
    owner: str
    call_sid: str
    whose: bytes
    expires_at: float


@dataclass(slots=True)
class MemoryTables:
    """The records and leases that several owners share."""

    rows: dict[str, _Row] = field(default_factory=dict)
    alive_until: dict[str, float] = field(default_factory=dict)
    notes: dict[str, _Note] = field(default_factory=dict)
    letters: dict[str, list[bytes]] = field(default_factory=dict)
    answers: dict[str, tuple[bytes, float]] = field(default_factory=dict)
    """What is kept under each question, and until when."""


class MemoryBackend:
    """A `Backend` in memory. Without `tables` the owner is alone. `wall` is its clock."""

    def __init__(
        self,
        owner: str,
        tables: MemoryTables | None = None,
        *,
        lease_s: float = LEASE_S,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._owner = owner
        self._tables = tables or MemoryTables()
        self._lease_s = lease_s
        self._wall = wall

    def now(self) -> float:
        return self._wall()

    def save(self, call_sid: str, record: bytes, expires_at: float) -> bool:
        self.beat()
        if not self._may_have(self._tables.rows.get(call_sid)):
            return False
        self._tables.rows[call_sid] = _Row(self._owner, record, expires_at)
        return True

    def load(self, call_sid: str) -> bytes | None:
        row = self._row(call_sid)
        return row.record if row else None

    def take(self, call_sid: str, *, by_force: bool = False) -> Claim | None:
        self.beat()
        row = self._row(call_sid)
        if row is None:
            return None
        taken = by_force or self._may_have(row)
        if taken:
            row.owner = self._owner
        return Claim(row.record, taken)

    def swap(self, call_sid: str, seen: bytes, record: bytes) -> bool:
        self.beat()
        row = self._row(call_sid)
        if row is None or row.record != seen:
            return False
        row.owner, row.record = self._owner, record
        return True

    def owns(self, call_sids: Sequence[str]) -> list[bool | None]:
        rows = [self._row(call_sid) for call_sid in call_sids]
        return [None if row is None else row.owner == self._owner for row in rows]

    def delete(self, call_sid: str) -> None:
        row = self._tables.rows.get(call_sid)
        if row and row.owner == self._owner:
            del self._tables.rows[call_sid]

    def note(self, assistant_call_id: str, call_sid: str, whose: bytes, keep_s: float) -> None:
        self._tables.notes[assistant_call_id] = _Note(self._owner, call_sid, whose, self._wall() + keep_s)

    def whose(self, assistant_call_id: str) -> bytes | None:
        note = self._note(assistant_call_id)
        return note.whose if note else None

    def post(self, letters: Sequence[tuple[str, bytes]]) -> int:
        thrown_away = 0
        for assistant_call_id, letter in letters:
            if note := self._note(assistant_call_id):
                row = self._row(note.call_sid)
                owner = row.owner if row else note.owner
                if owner != self._owner and self._tables.alive_until.get(owner, 0) > self._wall():
                    waiting = [*self._tables.letters.get(owner, []), letter]
                    self._tables.letters[owner] = waiting[-LETTERS_MAX:]
                    thrown_away += len(waiting[:-LETTERS_MAX])
        return thrown_away

    def letters(self) -> list[bytes]:
        return self._tables.letters.pop(self._owner, [])

    def claim_question(self, question: str, hold_s: float) -> bool:
        mine = pending(self._owner)
        if self._answer(question) not in {None, mine}:
            return False
        self._tables.answers[question] = mine, self._wall() + hold_s
        return True

    def keep_answer(self, question: str, answer: bytes, keep_s: float) -> None:
        self._tables.answers[question] = answered(answer), self._wall() + keep_s

    def answer_to(self, question: str) -> bytes | None:
        return answer_in(self._answer(question))

    def beat(self) -> None:
        now = self._wall()
        tables = self._tables
        tables.rows = {sid: row for sid, row in tables.rows.items() if row.expires_at > now}
        tables.alive_until = {owner: until for owner, until in tables.alive_until.items() if until > now}
        tables.notes = {it: note for it, note in tables.notes.items() if note.expires_at > now}
        tables.answers = {it: answer for it, answer in tables.answers.items() if answer[1] > now}
        tables.alive_until[self._owner] = now + self._lease_s

    def retire(self) -> None:
        self._tables.alive_until.pop(self._owner, None)

    def close(self) -> None:
        pass

    def _row(self, call_sid: str) -> _Row | None:
        row = self._tables.rows.get(call_sid)
        return row if row and row.expires_at > self._wall() else None

    def _note(self, assistant_call_id: str) -> _Note | None:
        note = self._tables.notes.get(assistant_call_id)
        return note if note and note.expires_at > self._wall() else None

    def _answer(self, question: str) -> bytes | None:
        answer, until = self._tables.answers.get(question, (None, 0.0))
        return answer if until > self._wall() else None

    def _may_have(self, row: _Row | None) -> bool:
        return row is None or row.owner == self._owner or self._tables.alive_until.get(row.owner, 0) <= self._wall()
