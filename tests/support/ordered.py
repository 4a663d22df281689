"""Makes trio run its tasks in the same order each time: as a rule it chooses one by chance."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from trio._core import _run


@contextmanager
def ordered(number: int) -> Iterator[None]:
    """While this is open, an event loop that begins has the order of this number."""
    before = _run._r.getstate()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_run, "_ALLOW_DETERMINISTIC_SCHEDULING", True)
        _run._r.seed(number)
        yield
        _run._r.setstate(before)
