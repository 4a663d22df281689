"""A simulated browser keeps here what it says of itself, what it was sent, and how much of that was heard."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Self

from relay.media.frames import WIDEBAND, AudioFormat


@dataclass(frozen=True, slots=True)
class BrowserOptions:
    """`format` is of what it says. `polling`: begin without a WebSocket. `report_every_s`: how often to say what was
    played; None: never by itself."""

    format: AudioFormat = WIDEBAND
    token: str | None = field(default=None, repr=False)
    origin: str | None = None
    polling: bool = False
    report_every_s: float | None = 0.25
    timeout_s: float = 10.0

    def start(self) -> dict[str, Any]:
        """The `start` message of a new session."""
        known = {"sampleRate": self.format.rate_hz, "channels": self.format.channels, "encoding": self.format.encoding}
        return {"type": "start", **known, **({"token": self.token} if self.token else {})}


@dataclass(frozen=True, slots=True)
class Ready:
    """The answer to `start`. `next`: the sequence number that the relay wants next, if it says so."""

    session_id: str
    token: str = field(repr=False)
    resume: str = field(repr=False)
    rate_hz: int
    next: int | None = None

    @classmethod
    def of(cls, message: dict[str, Any]) -> Self:
        """Read the `ready` message."""
        return cls(
            message["sessionId"], message["token"], message["resume"], message["sampleRate"], message.get("next")
        )


class BrowserRefused(Exception):
    """The relay did not open or resume the session; `code` is its own, or HTTP_ and the status. `session_id` is that
    under which another process has the session; "" if that is not said."""

    def __init__(self, code: str, text: str, session_id: str = "") -> None:
        super().__init__(f"{code}: {text}")
        self.code = code
        self.session_id = session_id


@dataclass(frozen=True, slots=True)
class HeardFrame:
    """Audio of the assistant: mono pcm_s16le. `late`: of a turn that was interrupted before the frame came."""

    n: int
    turn: int
    pcm: bytes = field(repr=False)
    at_s: float
    late: bool


@dataclass(slots=True)
class BrowserRecord:
    """Everything that came down, each message once. `cursor` is the number of the last one, `fence` the last turn that
    was interrupted."""

    frames: list[HeardFrame] = field(default_factory=list)
    messages: list[dict[str, Any]] = field(default_factory=list)
    cursor: int = 0
    fence: int = -1
    interrupted_at_s: dict[int, float] = field(default_factory=dict)

    def take_audio(self, frame: HeardFrame) -> bool:
        """Keep a frame; returns whether it is to be played: it is new, and not late."""
        if not self._is_new(frame.n):
            return False
        self.frames.append(frame)
        return not frame.late

    def take_text(self, message: dict[str, Any], at_s: float) -> None:
        """Keep a text message that is new."""
        if "n" in message and not self._is_new(message["n"]):
            return
        self.messages.append(message)
        if message["type"] == "interrupt":
            self.fence = max(self.fence, message["turn"])
            self.interrupted_at_s.setdefault(message["turn"], at_s)

    def heard(self, turn: int | None = None) -> bytes:
        """The audio of one turn or of all, without what came after the turn's interruption."""
        return b"".join(frame.pcm for frame in self.frames if not frame.late and turn in {None, frame.turn})

    def _is_new(self, n: int) -> bool:
        if n <= self.cursor:
            return False
        self.cursor = n
        return True


@dataclass(slots=True)
class BrowserPlayback:
    """A loudspeaker: it plays everything as soon as it comes, at its own speed, and knows how much was heard."""

    _free_at_s: float = 0.0
    _pieces: list[tuple[int, float, float]] = field(default_factory=list)

    def play(self, turn: int, duration_s: float, now_s: float) -> None:
        """Play behind what is still sounding."""
        begins_s = max(now_s, self._free_at_s)
        self._free_at_s = begins_s + duration_s
        self._pieces.append((turn, begins_s, duration_s))

    def interrupt(self, turn: int, now_s: float) -> None:
        """What would have sounded after now is never heard."""
        kept = [(t, at_s, min(s, max(0.0, now_s - at_s)) if t <= turn else s) for t, at_s, s in self._pieces]
        self._pieces = [piece for piece in kept if piece[2] > 0]
        self._free_at_s = max([now_s, *(at_s + s for _, at_s, s in self._pieces)])

    def heard_ms(self, now_s: float) -> dict[int, int]:
        """By turn. Turns before the last one that sounds are final."""
        heard: dict[int, float] = {}
        for turn, at_s, duration_s in self._pieces:
            if at_s < now_s:
                heard[turn] = heard.get(turn, 0.0) + min(duration_s, now_s - at_s)
        return {turn: round(s * 1000) for turn, s in heard.items()}


def newer(now: dict[int, int], told: dict[int, int]) -> Iterable[tuple[int, int]]:
    """What is worth reporting: turn and milliseconds."""
    return [(turn, ms) for turn, ms in now.items() if ms > told.get(turn, 0)]
