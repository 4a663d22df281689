"""The marks of a verdict can be written wherever they are shown."""

import pytest

from relay.marks import marks


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1", "cp437", "no-such-encoding", None])
def test_every_mark_is_in_signs_that_the_encoding_has_and_means_one_thing(encoding: str | None) -> None:
    given = marks(encoding)

    assert len(set(given.values())) == 3
    for mark in given.values():
        mark.encode(encoding if encoding in {"utf-8", "latin-1", "cp437"} else "ascii" if mark.isascii() else "utf-8")


def test_a_terminal_with_unicode_shows_ticks_and_another_one_shows_words() -> None:
    assert marks("utf-8") == {True: "✓", False: "✗", None: "?"}
    assert marks("ascii") == {True: "ok", False: "NO", None: "??"}
