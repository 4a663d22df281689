"""A weak callback calls its owner, and does not keep it."""

from weakref import ref

import pytest

from relay.weak import weakly


class Owner:
    def __init__(self) -> None:
        self.told: list[tuple[int, str]] = []
        self.tell = weakly(self._tell)

    def _tell(self, number: int, *, word: str) -> int:
        self.told.append((number, word))
        return -number


def test_it_calls_the_method_with_what_it_is_given_and_returns_what_that_returns() -> None:
    owner = Owner()

    assert owner.tell(3, word="now") == -3
    assert owner.told == [(3, "now")]


def test_an_owner_that_holds_it_is_freed_without_the_garbage_collector_and_no_more_is_called() -> None:
    owner = Owner()
    tell, freed = owner.tell, ref(owner)
    del owner

    assert freed() is None
    with pytest.raises(ReferenceError):
        tell(1, word="late")
