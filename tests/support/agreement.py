"""How much was compared with the vendors' own libraries, as it stands at the end of the report."""

from typing import Protocol

PROPERTY = "agreement"


class Note(Protocol):
    def __call__(self, what: str, compared: int, more: str = "") -> None:
        """So many of this kind were compared, and all agreed; `more` says with what exceptions."""
