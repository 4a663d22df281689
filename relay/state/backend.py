"""Defines what every place that keeps records does, and the rules of who may have a record.

Every record has an owner: the process that writes it. An owner lives as long as it renews its lease, which `save`,
`take`, `swap` and `beat` do. While it lives, nobody else can write or delete its records, or take them but by force.
So exactly one process follows another that died; and one that lives, or was only slow, finds out that it was followed.

Every place has a clock of its own, by which leases and records end. The processes that use it go by it too, because the
clocks of two processes or machines may be hours apart, and the one of a machine may be set while a process lives.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

LEASE_S = 2.0
"""An owner that has not renewed its lease for so long is dead. Until then its callers wait for the next process."""
LETTERS_MAX = 1000
"""Letters that wait for one owner: beyond it the oldest make room."""
LETTER_KEPT_S = 60.0
"""An owner that lives takes its letters every second or so."""


@dataclass(frozen=True, slots=True)
class Claim:
    """The answer to `take`: a record is there. `taken`: it is the asker's now; otherwise its owner lives."""

    record: bytes
    taken: bool


def pending(owner: str) -> bytes:
    """What is kept under a question while this owner is to answer it."""
    return b"?" + owner.encode()


def answered(answer: bytes) -> bytes:
    """What is kept under a question that has this answer."""
    return b"=" + answer


def answer_in(kept: bytes | None) -> bytes | None:
    """The answer in what is kept; None: there is none yet."""
    return kept[1:] if kept is not None and kept.startswith(b"=") else None


class Backend(Protocol):
    """A place that keeps records, as one owner sees it.

    All operations block; one thread may use it at a time. Errors are those of the library below.
    """

    def now(self) -> float:
        """Return the time of this place's clock, in seconds."""
        ...

    def save(self, call_sid: str, record: bytes, expires_at: float) -> bool:
        """Write the record. Return False if it belongs to another owner that lives.

        `expires_at` is a time of this place's clock.
        """
        ...

    def load(self, call_sid: str) -> bytes | None:
        """Return the record, whoever owns it; None if there is none, or it has expired."""
        ...

    def take(self, call_sid: str, *, by_force: bool = False) -> Claim | None:
        """Become the owner, if the present one is dead or is the asker, or `by_force`; None if there is no record.

        It is atomic: of several that ask without force, one gets the record.
        """
        ...

    def swap(self, call_sid: str, seen: bytes, record: bytes) -> bool:
        """Become the owner, whoever was it, and write the record, if it is still the one that was `seen`.

        It is atomic: of several that have seen the same, one succeeds.
        """
        ...

    def owns(self, call_sids: Sequence[str]) -> list[bool | None]:
        """Return for each of these calls whether its record is the asker's; None if there is none."""
        ...

    def delete(self, call_sid: str) -> None:
        """Remove the record, if it is the asker's."""
        ...

    def note(self, assistant_call_id: str, call_sid: str, whose: bytes, keep_s: float) -> None:
        """Keep for so long whose call an assistant's call is. The asker has that call."""
        ...

    def whose(self, assistant_call_id: str) -> bytes | None:
        """Return what was noted of an assistant's call; None if that is nothing."""
        ...

    def post(self, letters: Sequence[tuple[str, bytes]]) -> int:
        """Leave each letter for who has the call of that assistant's call, if that is another owner, and lives.

        That is the owner of the call's record, or who has noted it where there is none. Returns how many letters were
        thrown away, because too many wait for their owner.
        """
        ...

    def letters(self) -> list[bytes]:
        """Take what was left for the asker, the oldest first."""
        ...

    def claim_question(self, question: str, hold_s: float) -> bool:
        """Be who answers this question, for so long; the asker may be already. False: somebody else is, or it has its
        answer.

        It is atomic: of several that ask, one succeeds.
        """
        ...

    def keep_answer(self, question: str, answer: bytes, keep_s: float) -> None:
        """Keep the answer to a question for so long, whoever is to answer it."""
        ...

    def answer_to(self, question: str) -> bytes | None:
        """Return the answer that was kept; None if there is none, or none any more."""
        ...

    def beat(self) -> None:
        """Renew the lease, and remove what has expired."""
        ...

    def retire(self) -> None:
        """End the lease: from now on every record of this owner may be taken."""
        ...

    def close(self) -> None:
        """Let go of files and connections. The lease goes on until it ends by itself."""
        ...
