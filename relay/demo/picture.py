"""The picture draws the present moment: how loud each side is, the relay's buffer, what was flushed."""

from collections.abc import Iterable, Sequence

from rich.console import Group
from rich.text import Text

from relay.demo.scene import DemoScene, SceneMoment
from relay.standin.phone.player import AUDIBLE_DBFS

_BLOCKS = " ▁▂▃▄▅▆▇█"
_BLOCKS_ASCII = " ._-=+*#@"
_CLEAR, _CLEAR_ASCII = "┃", "|"
_QUIET_DBFS, _LOUD_DBFS = -57.0, -12.0
_FULL_BUFFER_MS = 800.0
_LABEL = 11
_NUMBER = 10
_NARROWEST = 10


def picture(scene: DemoScene, width: int, *, ascii_only: bool) -> Group:
    """Draw the scene in six lines of at most `width` columns."""
    room = max(_NARROWEST, width - _LABEL - _NUMBER - 1)
    moments = list(scene.moments)[-room:]
    now = scene.now
    rows = (
        ("caller", "cyan", [_loudness(m.caller_dbfs) for m in moments], _decibels(now.caller_dbfs)),
        ("assistant", "green", [_loudness(m.heard_dbfs) for m in moments], _decibels(now.heard_dbfs)),
        ("buffer", "blue", [m.buffer_ms / _FULL_BUFFER_MS for m in moments], f"{now.buffer_ms:.0f} ms"),
    )
    lines = [
        Text(f" {name:<{_LABEL - 1}}" + " " * (room - len(moments)))
        .append(_history(heights, style, moments, ascii_only=ascii_only))
        .append(f"{number:>{_NUMBER}}")
        for name, style, heights, number in rows
    ]
    flushed = Text.assemble(f"{' flushed':<{_LABEL}}", (scene.flushed, "bold red" if _was_cleared(moments) else ""))
    said = Text.assemble(f"{'':<{_LABEL}}", *_words(scene))
    group = [_head(scene, width, ascii_only=ascii_only), *lines, flushed, said]
    for line in group:
        line.no_wrap, line.overflow = True, "crop" if ascii_only else "ellipsis"
        line.truncate(width, overflow=line.overflow)
    return Group(*group)


def _head(scene: DemoScene, width: int, *, ascii_only: bool) -> Text:
    line = "-" if ascii_only else "─"
    who = {(True, True): "both speak", (True, False): "the caller speaks", (False, True): "the assistant speaks"}
    speakers = (scene.now.caller_dbfs > AUDIBLE_DBFS, scene.now.heard_dbfs > AUDIBLE_DBFS)
    parts = [f"{scene.elapsed_s:4.1f} s", f"turn {scene.turn}", who.get(speakers, "silence")]
    text = f"{line}{line} " + f" {line}{line} ".join(parts) + " "
    return Text(text.ljust(width, line), style="dim")


def _history(heights: Sequence[float], style: str, moments: Sequence[SceneMoment], *, ascii_only: bool) -> Text:
    blocks, mark = (_BLOCKS_ASCII, _CLEAR_ASCII) if ascii_only else (_BLOCKS, _CLEAR)
    text = Text()
    for height, moment in zip(heights, moments, strict=True):
        if moment.cleared:
            text.append(mark, "bold red")
        else:
            text.append(blocks[round(min(1.0, max(0.0, height)) * (len(blocks) - 1))], style)
    return text


def _loudness(dbfs: float) -> float:
    """0 to 1; anything that is heard at all is more than 0."""
    return (dbfs - _QUIET_DBFS) / (_LOUD_DBFS - _QUIET_DBFS)


def _decibels(dbfs: float) -> str:
    return f"{dbfs:.0f} dBFS" if dbfs > AUDIBLE_DBFS else "silent"


def _was_cleared(moments: Iterable[SceneMoment]) -> bool:
    return any(moment.cleared for moment in moments)


def _words(scene: DemoScene) -> list[tuple[str, str]]:
    words = []
    if scene.caller_says:
        words.append((f'caller: "{scene.caller_says}"  ', "cyan"))
    if scene.assistant_says:
        words.append((f'assistant: "{scene.assistant_says}"', "green"))
    return words
