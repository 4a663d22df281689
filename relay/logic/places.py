"""Counts what is held at a time, in all and for each holder, and says when there is no place."""

from collections import Counter
from typing import Literal


class Places:
    """`in_all` places, of which one holder has at most `for_each`."""

    def __init__(self, in_all: float, for_each: float) -> None:
        self._in_all = in_all
        self._for_each = for_each
        self._held: Counter[str] = Counter()
        self._taken = 0

    def resize(self, in_all: float, for_each: float) -> None:
        """So many places from now on. Who holds one keeps it, also beyond that."""
        self._in_all = in_all
        self._for_each = for_each

    def __len__(self) -> int:
        """How many are taken."""
        return self._taken

    def take(self, holder: str) -> Literal["taken", "all full", "holder full"]:
        """Take a place, if there is one; `give_back` it once."""
        if self._held[holder] >= self._for_each:
            return "holder full"
        if self._taken >= self._in_all:
            return "all full"
        self._held[holder] += 1
        self._taken += 1
        return "taken"

    def give_back(self, holder: str) -> None:
        """Give one place of this holder back."""
        self._taken -= 1
        self._held[holder] -= 1
        if not self._held[holder]:
            del self._held[holder]
