"""What a place that keeps records must be able to do.

Every record has an owner: the process that writes it. An owner lives as long as it renews its lease, which `save`,
`take`, `swap` and `beat` do; a record of an owner that lives can be written and deleted by nobody else, and taken only
by force. So a process that died is followed by exactly one other, and one that lives, or was only slow, finds out that
it was followed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

LEASE_S = 2.0
"""An owner that was not heard of for so long is dead."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A record that is there. `taken`: it is the asker's now; otherwise its owner lives."""

    record: bytes
    taken: bool


class Backend(Protocol):
    """Blocking, for one owner, used by one thread at a time. What goes wrong is raised as the library below has it."""

    def save(self, call_sid: str, record: bytes, expires_at: float) -> bool:
        """Write the record; False if it belongs to another owner that lives."""
        ...

    def load(self, call_sid: str) -> bytes | None:
        """The record, whoever owns it; None if there is none, or it expired."""
        ...

    def take(self, call_sid: str, *, by_force: bool = False) -> Claim | None:
        """Become the owner, if the present one is dead or is the asker, or `by_force`. At once: of several that ask
        without force, one gets it."""
        ...

    def swap(self, call_sid: str, seen: bytes, record: bytes) -> bool:
        """Become the owner, whoever was it, and write the record, if it is still what was seen. At once: of several
        that have seen the same, one succeeds."""
        ...

    def owns(self, call_sids: Sequence[str]) -> list[bool | None]:
        """For each of these calls, whether its record is the asker's; None if there is none."""
        ...

    def delete(self, call_sid: str) -> None:
        """Remove the record, if it is the asker's."""
        ...

    def beat(self) -> None:
        """Renew the lease, and remove what expired."""
        ...

    def retire(self) -> None:
        """End the lease: from now on every record of this owner may be taken."""
        ...

    def close(self) -> None: ...
