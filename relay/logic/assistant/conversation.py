"""Keeps what was said, for an assistant that joins later: of the assistant's words only those that were heard.

The text of the assistant comes ahead of its sound, and an interruption takes away sound whose text is here already. So
the present turn of the assistant is limited to the part of its audio that was heard, down to the last whole word.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

Role = Literal["user", "assistant"]

_CLOSED = -1
"""In place of the number of the assistant's turn: an entry that no interruption shortens any more."""
_FIRST_UNSPACED = "\u2e80"
"""From here on (CJK) scripts do not separate words by spaces."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One side's words until the other speaks. `interrupted`: there was more of it, which the caller did not hear."""

    role: Role
    text: str
    interrupted: bool = False

    @property
    def content(self) -> str:
        """The text as a language model should read it."""
        return f"{self.text} \N{EM DASH}" if self.interrupted else self.text


def to_json(turns: Iterable[Turn]) -> list[dict[str, str | bool]]:
    """Plain values for a state store."""
    return [{"role": turn.role, "text": turn.text, "interrupted": turn.interrupted} for turn in turns]


def from_json(data: object) -> tuple[Turn, ...]:
    """The turns that `to_json` wrote. Raises `ValueError` for anything else."""
    match data:
        case list(entries):
            return tuple(_turn(entry) for entry in entries)
    raise ValueError("a conversation is a list of turns")


def _turn(entry: object) -> Turn:
    match entry:
        case {"role": "user" | "assistant" as role, "text": str(text), "interrupted": bool(interrupted)}:
            return Turn(role, text, interrupted)
    raise ValueError("a turn has a role, a text, and whether it was interrupted")


@dataclass(frozen=True, slots=True)
class _Passage:
    """Consecutive transcripts of one role, and of one turn if that is the assistant."""

    role: Role
    text: str
    turn: int
    interrupted: bool = False


class Conversation:
    """At most `max_turns` entries of `max_chars` in all; the oldest go first.

    `heard_ms` and `audio_ms` below are, of the assistant's present turn, the audio that the caller has heard and all
    that has arrived.
    """

    def __init__(self, earlier: Iterable[Turn] = (), *, max_turns: int = 40, max_chars: int = 8000) -> None:
        self._max_turns = max_turns
        self._max_chars = max_chars
        self._turn = 0
        self._partial = ""
        self._silenced = False
        self._forgotten_chars = 0
        self._entries = [_Passage(turn.role, turn.text, _CLOSED, turn.interrupted) for turn in earlier]
        self._bound()

    def user_said(self, text: str) -> None:
        """A final transcript of the caller."""
        self._add("user", text, _CLOSED)

    def assistant_began(self) -> None:
        """A new turn of the assistant; the one before was heard to its end, or has been cut."""
        self._keep_partial()
        self._turn += 1
        self._silenced = False
        self._forgotten_chars = 0

    def assistant_said(self, text: str, *, final: bool) -> None:
        """A transcript of the assistant; one that is not final is replaced by the next.

        What comes between an interruption and the next turn belongs to what was cut, and is left out.
        """
        if self._silenced:
            return
        self._partial = "" if final else text
        if final:
            self._add("assistant", text, self._turn)

    def interrupted(self, heard_ms: float, audio_ms: float) -> None:
        """The assistant's present turn was cut."""
        self._keep_partial()
        if not self._silenced:
            self._entries = self._heard(heard_ms, audio_ms)
        self._silenced = True

    def turns(self, heard_ms: float, audio_ms: float) -> tuple[Turn, ...]:
        """The conversation as the caller knows it now."""
        entries = self._entries if self._silenced else self._heard(heard_ms, audio_ms)
        turns: list[Turn] = []
        for entry in entries:
            last = turns[-1] if turns else None
            if last is not None and last.role == entry.role and not last.interrupted:
                turns[-1] = Turn(entry.role, f"{last.text} {entry.text}", entry.interrupted)
            else:
                turns.append(Turn(entry.role, entry.text, entry.interrupted))
        return tuple(turns)

    def _heard(self, heard_ms: float, audio_ms: float) -> list[_Passage]:
        """The entries, without what was not heard of the assistant's present turn."""
        entries = [*self._entries]
        if self._partial:
            entries.append(_Passage("assistant", _tidy(self._partial), self._turn))
        total = self._forgotten_chars + sum(len(entry.text) for entry in entries if entry.turn == self._turn)
        share = min(1.0, max(0.0, heard_ms / audio_ms)) if audio_ms > 0 else 0.0
        left = int(total * share) - self._forgotten_chars
        kept: list[_Passage] = []
        heard_last: int | None = None
        for entry in entries:
            if entry.turn != self._turn:
                kept.append(entry)
            elif text := _beginning(entry.text, left):
                heard_last = len(kept)
                kept.append(replace(entry, text=text, interrupted=text != entry.text))
            elif heard_last is not None:
                kept[heard_last] = replace(kept[heard_last], interrupted=True)
            left -= len(entry.text) if entry.turn == self._turn else 0
        return kept

    def _keep_partial(self) -> None:
        partial, self._partial = self._partial, ""
        self._add("assistant", partial, self._turn)

    def _add(self, role: Role, text: str, turn: int) -> None:
        text = _tidy(text)
        last = self._entries[-1] if self._entries else None
        if last is not None and text and (last.role, last.turn) == (role, turn) and not last.interrupted:
            self._entries[-1] = replace(last, text=f"{last.text} {text}")
        elif text:
            self._entries.append(_Passage(role, text, turn))
        self._bound()

    def _bound(self) -> None:
        chars = sum(len(entry.text) for entry in self._entries)
        while len(self._entries) > self._max_turns or (chars > self._max_chars and len(self._entries) > 1):
            oldest = self._entries.pop(0)
            chars -= len(oldest.text)
            self._note_forgotten(oldest, len(oldest.text))
        if chars > self._max_chars:
            entry = self._entries[0]
            text = _end(entry.text, self._max_chars)
            self._note_forgotten(entry, len(entry.text) - len(text))
            self._entries[0] = replace(entry, text=text)

    def _note_forgotten(self, entry: _Passage, chars: int) -> None:
        if entry.turn == self._turn:
            self._forgotten_chars += chars


def _tidy(text: str) -> str:
    return " ".join(text.split())


def _beginning(text: str, chars: int) -> str:
    """At most so many characters from the beginning, in whole words."""
    end = min(max(0, chars), len(text))
    while 0 < end < len(text) and not _between_words(text, end):
        end -= 1
    return text[:end].rstrip()


def _end(text: str, chars: int) -> str:
    """At most so many characters from the end, in whole words; a part of a word that is longer."""
    start = len(text) - chars
    begin = start
    while begin < len(text) and not _between_words(text, begin):
        begin += 1
    return text[begin if begin < len(text) else start :].lstrip()


def _between_words(text: str, at: int) -> bool:
    return text[at].isspace() or text[at - 1].isspace() or text[at] >= _FIRST_UNSPACED
