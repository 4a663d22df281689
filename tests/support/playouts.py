"""A playout queue for tests: frames that can be told apart, and what is sent of them when."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from relay.logic.playback.frame import PlayFrame
from relay.logic.playback.playout import Playout

FRAME_S = 0.02


def word(n: int = 0, turn: int = 1) -> PlayFrame:
    return PlayFrame(turn, n.to_bytes(4), audible=True)


def silence(turn: int = 1) -> PlayFrame:
    return PlayFrame(turn, b"....", audible=False)


def words(count: int, first: int = 0, turn: int = 1) -> list[PlayFrame]:
    return [word(first + n, turn) for n in range(count)]


def playout(*, target_ms: float = 200, lead_ms: float = 100, max_ms: float = 30_000, attach: bool = True) -> Playout:
    result = Playout(target_ms=target_ms, lead_ms=lead_ms, max_ms=max_ms)
    if attach:
        result.attach(0.0)
    return result


def fill(queue: Playout, frames: Iterable[PlayFrame], now: float) -> None:
    for frame in frames:
        assert queue.add(frame, now) in {None, "trimmed"}


@dataclass
class Told:
    """What the queue said with the frames that it gave."""

    trimmed: int = 0
    holes_ms: list[float] = field(default_factory=list)


def run(
    queue: Playout, until: float, now: float = -math.inf, told: Told | None = None
) -> list[tuple[float, PlayFrame]]:
    """All that is sent from now until then, each at the very moment that was asked for, or at once if that is over."""
    told = told or Told()
    sent = []
    while (at := queue.next_send_at()) is not None and at <= until:
        now = max(now, at)
        taken = queue.take(now)
        assert taken is not None
        told.trimmed += taken.trimmed
        told.holes_ms += [] if taken.hole_ms is None else [taken.hole_ms]
        sent.append((now, taken.frame))
    return sent


def run_together(queue: Playout, until: float) -> list[tuple[float, list[PlayFrame]]]:
    """As `run`, two frames at a time where that may be."""
    sent = []
    while (at := queue.next_send_at()) is not None and at <= until:
        taken = queue.take(at)
        assert taken is not None
        along = queue.take_along(taken.frame)
        sent.append((at, [taken.frame] if along is None else [taken.frame, along.frame]))
    return sent


def frame_at(queue: Playout, now: float) -> PlayFrame:
    taken = queue.take(now)
    assert taken is not None
    assert taken.hole_ms is None
    return taken.frame


def heard_ms(queue: Playout, now: float) -> float:
    """The position that the caller has heard."""
    return queue.sent_ms - (queue.left_ms(now) - queue.queued_ms)


def backlog(pause_frames: int, speech_frames: int = 40) -> list[PlayFrame]:
    """Words, a pause and words, which all wait at once."""
    return [*words(speech_frames), *[silence()] * pause_frames, *words(speech_frames, speech_frames)]
