"""The two sides of a recorded call on one time line: what the caller said, and what they really heard.

The time line is the caller's own clock, which their telephone counts samples with: it says where each frame of theirs
belongs, and how much is missing between two. It is compared with the relay's clock by the frames that came soonest, of
each ten seconds: so the sides stay aligned in a call of hours, though no two clocks go alike.

What was heard is what the caller's side does with what it got: it plays in order and in real time, and forgets the rest
at a `clear`, or with its stream. Its marks say how long all that takes on the way there and back. Both sides are
placed where the relay learned of them, so that they are as far apart as they were for the caller.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from relay.media.frames import AudioFormat
from relay.record.entries import ClearSent, FromCaller, MarkReturned, ToCaller, Told
from relay.record.recorded_call import RecordedCall

STAMPS_AGREE_FRAMES = 50
"""A stamp may be late, never early: time has passed without audio when those of a second say so."""
GAP_MS = 5.0
"""Less is how stamps are rounded."""
COMPARE_EVERY_MS = 10_000.0


@dataclass(frozen=True, slots=True)
class SpokenFrame:
    """Audio of the caller, whose first sample is at `start_ms` of the time line."""

    start_ms: float
    data: bytes


@dataclass(slots=True)
class PlayedFrame:
    """A frame that the caller heard from `start_ms` to `end_ms` of the time line; it may have been cut there."""

    start_ms: float
    end_ms: float
    turn: int
    audible: bool
    data: bytes
    sent_ms: float
    """When it was handed to the caller's socket."""
    way_ms: float | None = None
    """What the way to the caller and back takes, as their marks say; None if none came. `start_ms` is later by it."""


@dataclass(frozen=True, slots=True)
class SentStep:
    """From `at_ms` on, the caller's side plays what it has until `until_ms`, if nothing more comes; the time of the way
    left out. `queued_ms` waited in the relay behind the frame that was sent then; None: a `clear`, or a lost stream."""

    at_ms: float
    until_ms: float
    queued_ms: int | None


@dataclass(slots=True)
class _Stream:
    """What passed over one stream of the caller, in its order."""

    said: list[FromCaller] = field(default_factory=list)
    rest: list[ToCaller | ClearSent | MarkReturned | Told] = field(default_factory=list)


class CallSides:
    """`said`, `heard` and `sent` are in order. The time line begins with the caller's first stream, at most a frame
    before."""

    def __init__(self, call: RecordedCall) -> None:
        self.format = call.caller_format
        self.said: list[SpokenFrame] = []
        self.heard: list[PlayedFrame] = []
        self.sent: list[SentStep] = []
        self._start_ms = call.start_s * 1000
        self._clocks: list[_Clock] = []
        streams = _streams(call)
        for stream in streams:
            self._place_said(stream.said)
        for stream in streams:
            self._place_heard(stream)
        self.end_ms = self.at(call.end_s)

    def at(self, at_s: float) -> float:
        """Where this time of the recording is on the time line, in ms."""
        relay_ms = at_s * 1000 - self._start_ms
        number = bisect_right(self._clocks, relay_ms, key=lambda clock: clock.begins_ms)
        return self._clocks[max(0, number - 1)].at(relay_ms) if self._clocks else relay_ms

    def _place_said(self, frames: Sequence[FromCaller]) -> None:
        if not frames:
            return
        starts_ms, ends_ms = _on_own_clock(frames, self.format)
        arrived_ms = np.array([frame.at_s for frame in frames]) * 1000 - self._start_ms
        clock = _Clock(arrived_ms, ends_ms)
        if self._clocks:
            base_ms = max(self._clocks[-1].at(clock.begins_ms), self._said_until_ms())
        else:
            base_ms = max(0.0, clock.begins_ms)
        clock.base_ms = base_ms
        self._clocks.append(clock)
        self.said += [SpokenFrame(base_ms + at, frame.data) for at, frame in zip(starts_ms, frames, strict=True)]

    def _said_until_ms(self) -> float:
        last = self.said[-1]
        return last.start_ms + self.format.duration_ms(len(last.data))

    def _place_heard(self, stream: _Stream) -> None:
        player = _Player(self.format)
        for entry in stream.rest:
            at_ms = self.at(entry.at_s)
            match entry:
                case ToCaller():
                    player.play(at_ms, entry)
                case MarkReturned(position_ms=position_ms):
                    player.mark(at_ms, position_ms)
                case ClearSent() | Told():
                    player.forget(at_ms)
        self.heard += player.heard()
        self.sent += player.sent


class _Clock:
    """The caller's clock in one stream beside the relay's. `base_ms` is where its first sample is on the time line."""

    def __init__(self, arrived_ms: NDArray[np.float64], ends_ms: NDArray[np.float64]) -> None:
        """When each frame arrived by the relay's clock, and where it ends by the caller's."""
        delays_ms = arrived_ms - ends_ms
        windows = np.floor((ends_ms - ends_ms[0]) / COMPARE_EVERY_MS)
        firsts = np.flatnonzero(np.diff(windows, prepend=-1))
        soonest = [
            begin + int(np.argmin(part)) for begin, part in zip(firsts, np.split(delays_ms, firsts[1:]), strict=True)
        ]
        self._relay_ms: list[float] = arrived_ms[soonest].tolist()
        self._own_ms: list[float] = ends_ms[soonest].tolist()
        self.begins_ms = self._relay_ms[0] - self._own_ms[0]
        self.base_ms = 0.0

    def at(self, relay_ms: float) -> float:
        """The place on the time line of a time of the relay's clock."""
        behind = bisect_right(self._relay_ms, relay_ms)
        before = max(0, behind - 1)
        own_ms = self._own_ms[before] + relay_ms - self._relay_ms[before]
        if 0 < behind < len(self._relay_ms):
            share = (relay_ms - self._relay_ms[before]) / (self._relay_ms[behind] - self._relay_ms[before])
            own_ms = self._own_ms[before] + share * (self._own_ms[behind] - self._own_ms[before])
        return self.base_ms + own_ms


def _on_own_clock(
    frames: Sequence[FromCaller], audio_format: AudioFormat
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where each frame begins and ends, in ms of the stream, what is missing left free."""
    durations_ms = np.array([audio_format.duration_ms(len(frame.data)) for frame in frames])
    joined_ms = np.cumsum(durations_ms) - durations_ms
    stamps_ms = np.array([frame.at_s * 1000 if frame.stamp_ms is None else frame.stamp_ms for frame in frames])
    ahead_ms = stamps_ms - stamps_ms[0] - joined_ms
    padded = np.concatenate([ahead_ms, np.full(STAMPS_AGREE_FRAMES - 1, np.inf)])
    agreed_ms = np.lib.stride_tricks.sliding_window_view(padded, STAMPS_AGREE_FRAMES).min(axis=1)
    free_ms = np.empty_like(agreed_ms)
    free = 0.0
    for number, agreed in enumerate(agreed_ms):
        free = float(agreed) if agreed - free >= GAP_MS else free
        free_ms[number] = free
    starts_ms = joined_ms + free_ms
    return starts_ms, starts_ms + durations_ms


class _Player:
    """The caller's side of one stream, as if nothing took time on its way; `heard` adds what did."""

    def __init__(self, audio_format: AudioFormat) -> None:
        self._format = audio_format
        self._frames: list[PlayedFrame] = []
        self._positions: list[int] = []
        self._until_ms = 0.0
        self._delays_ms: list[float] = []
        self.sent: list[SentStep] = []

    def play(self, at_ms: float, sent: ToCaller) -> None:
        """A frame came: it plays at once, or behind what still plays."""
        start_ms = max(at_ms, self._until_ms)
        self._until_ms = start_ms + self._format.duration_ms(len(sent.data))
        self._frames.append(PlayedFrame(start_ms, self._until_ms, sent.turn, sent.audible, sent.data, at_ms))
        self._positions.append(sent.position_ms)
        self.sent.append(SentStep(at_ms, self._until_ms, sent.queued_ms))

    def forget(self, at_ms: float) -> None:
        """Nothing plays any more of what came before."""
        while self._frames and self._frames[-1].start_ms >= at_ms:
            self._frames.pop()
            self._positions.pop()
        if self._frames:
            self._frames[-1].end_ms = min(self._frames[-1].end_ms, at_ms)
        self._until_ms = min(self._until_ms, at_ms)
        self.sent.append(SentStep(at_ms, self._until_ms, None))

    def mark(self, at_ms: float, position_ms: int) -> None:
        """The caller's side says that it has played everything up to this position."""
        number = bisect_right(self._positions, position_ms)
        if number:
            self._delays_ms.append(at_ms - self._frames[number - 1].end_ms)

    def heard(self) -> list[PlayedFrame]:
        """What was played, later by what the quickest mark took there and back."""
        way_ms = max(0.0, min(self._delays_ms)) if self._delays_ms else None
        for frame in self._frames:
            frame.way_ms = way_ms
            frame.start_ms += way_ms or 0.0
            frame.end_ms += way_ms or 0.0
        return self._frames


def _streams(call: RecordedCall) -> list[_Stream]:
    """The streams of the caller, which follow each other. A browser has one: its connections may be lost beneath it."""
    streams = [_Stream()]
    for entry in call.entries:
        if isinstance(entry, FromCaller):
            streams[-1].said.append(entry)
        elif isinstance(entry, ToCaller | ClearSent | MarkReturned):
            streams[-1].rest.append(entry)
        elif isinstance(entry, Told):
            if entry.name == "caller.lost" and "transport" not in entry.values:
                streams[-1].rest.append(entry)
                streams.append(_Stream())
            elif entry.name == "caller.attached" and streams[-1].said:
                streams.append(_Stream())  # in another process, which took the call over
    return streams
