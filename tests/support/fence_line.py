"""An assistant's audio in real time, in front of a fence."""

from relay.logic.playback.fence import MARGIN_S, Fence, FenceRules
from relay.logic.playback.frame import PlayFrame
from relay.logic.playback.ruling import Ruling, Verdict

RULES = FenceRules()
FRAME_S = 0.02
OLD_OVER_S = RULES.old_turn_s + MARGIN_S
FLUSHED = (PlayFrame(1, b"unheard 1", audible=True), PlayFrame(1, b"unheard 2", audible=False))


class Line:
    """An assistant's audio in real time, in front of a fence. The clock starts at 100 s."""

    def __init__(self) -> None:
        self.fence = Fence(RULES)
        self.now = 100.0
        self.count = 0
        self.opened: Ruling | None = None

    def sound(self, seconds: float) -> None:
        self._send(seconds, audible=True)

    def silence(self, seconds: float) -> None:
        self._send(seconds, audible=False)

    def wait(self, seconds: float) -> None:
        self.now += seconds

    def cut(self, *, confirmed: bool = False) -> None:
        self.fence.cut(self.now, confirmed=confirmed)
        self.fence.keep(FLUSHED)

    def apply(self, ruling: Ruling) -> None:
        if ruling.verdict is not None:
            assert self.opened is None
            self.opened = ruling

    def _send(self, seconds: float, *, audible: bool) -> None:
        for _ in range(round(seconds / FRAME_S)):
            self.count += 1
            name = f"{self.count}{'s' if audible else '.'}".encode()
            self.apply(self.fence.offer(name, audible=audible, now=self.now))
            self.now += FRAME_S


def speaking(seconds: float = 3.0) -> Line:
    line = Line()
    line.sound(seconds)
    return line


def holding(*, confirmed: bool = False) -> Line:
    line = speaking()
    line.cut(confirmed=confirmed)
    return line


def verdict(line: Line) -> Verdict | None:
    return line.opened.verdict if line.opened else None


def heard(line: Line) -> list[bytes]:
    assert line.opened is not None
    return [frame.data for frame in line.opened.frames]
