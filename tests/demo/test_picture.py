"""The picture fits, says what is heard, and needs nothing that a terminal does not have."""

import io

import pytest
from rich.console import Console

from relay.demo.picture import picture
from relay.demo.scene import DemoScene, SceneMoment


def scene(moments: int = 100) -> DemoScene:
    made = DemoScene(elapsed_s=14.2, turn=2, assistant_says="one large dial", flushed="300 ms")
    for _ in range(moments):
        made.moments.append(SceneMoment())
    return made


def drawn(it: DemoScene, width: int, *, ascii_only: bool = False) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=width, force_terminal=False).print(picture(it, width, ascii_only=ascii_only))
    return out.getvalue().splitlines()


@pytest.mark.parametrize("width", [40, 80, 120, 300])
def test_it_has_six_lines_that_fit(width: int) -> None:
    lines = drawn(scene(), width)

    assert len(lines) == 6
    assert max(len(line) for line in lines) <= width


def test_it_says_who_speaks_in_which_turn_and_how_loud() -> None:
    it = scene()
    it.sound(-100.0, -21.4)

    head, caller, assistant, *_, words = drawn(it, 80)

    assert "14.2 s" in head
    assert "turn 2" in head
    assert "the assistant speaks" in head
    assert caller.endswith("silent")
    assert assistant.endswith("-21 dBFS")
    assert 'assistant: "one large dial"' in words


def test_the_moment_of_the_clear_stands_out_on_every_row() -> None:
    it = scene()
    it.now.cleared = True

    assert [("┃" in line) for line in drawn(it, 80)] == [False, True, True, True, False, False]


def test_louder_is_higher_and_the_newest_is_on_the_right() -> None:
    it = scene()
    it.sound(-50.0, -14.0)

    caller, assistant = drawn(it, 80)[1:3]

    column = assistant.rindex("█")
    assert " ▁▂▃▄▅▆▇█".index(caller[column]) < 4
    assert assistant[column + 1 :].strip() == "-14 dBFS"


def test_without_unicode_it_is_ascii() -> None:
    it = scene()
    it.sound(-20.0, -20.0)
    it.now.cleared = True

    assert all(line.isascii() for line in drawn(it, 60, ascii_only=True))
