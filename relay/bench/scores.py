"""The scores are made of what the sampled calls sent and received: delays, losses, interruptions. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np

from relay.bench.assistant import AssistantRecord, SentFrame
from relay.bench.caller import FRAME_S, CallerRecord
from relay.bench.match import Arrivals, FrameDelays, deliveries, trace
from relay.bench.sounds import FRAME_SAMPLES, TELEPHONE_HZ, CallerTrack, Reference, Waveform
from relay.media.frames import FRAME_MS
from relay.standin.sound import mulaw_to_samples

BARGE_IN_MAX_S = 1.5
"""A `clear` so long after an onset is no answer to it."""
SETTLE_S = 1.0
"""What was sent in the last second of the window may come out after it, and is not scored."""


@dataclass(slots=True)
class Direction:
    """One direction of all sampled calls together.

    delay_ms: of each frame that came, how late it was. lag_ms: of those that ended a message, how much of their end a
    resampler still held back.
    frames, lost: how many were looked for, and how many of them never came.
    """

    delay_ms: list[float] = field(default_factory=list)
    lag_ms: list[float] = field(default_factory=list)
    frames: int = 0
    lost: int = 0


@dataclass(frozen=True, slots=True)
class SampleWindow:
    """What is measured: from `start` to `end` on the monotonic clock, in seconds."""

    start: float
    end: float

    def scores(self, at: float) -> bool:
        """Whether a frame that was sent then counts."""
        return self.start <= at < self.end - SETTLE_S


def score_up(
    caller: CallerRecord,
    assistant: AssistantRecord,
    track: CallerTrack,
    offset: int,
    *,
    into: Sequence[tuple[SampleWindow, Direction]],
    mulaw: bool,
) -> None:
    """Score the way up: from when the caller has written a frame to when its audio is out at the assistant.

    `offset` is where in the track the caller began; `mulaw` says what the assistant receives. Adds to each direction of
    `into` what was sent in its window: to find the frames of a call takes much longer than that.
    """
    audio = [(at, _telephone(data, mulaw=mulaw)) for at, data in assistant.received]
    arrivals = _arrivals(audio, cuts=())
    sent = _said(track, offset, len(caller.sent))
    positions = trace(arrivals, sent, caller.sent)
    for window, direction in into:
        frames = [frame for frame, at in enumerate(caller.sent) if window.scores(at)]
        out = deliveries(arrivals, positions, frames, caller.sent)
        came = ~np.isnan(out.delay_s)
        direction.delay_ms += (out.delay_s[came] * 1000).tolist()
        direction.lag_ms += out.lag_ms[came & ~np.isnan(out.lag_ms)].tolist()
        direction.frames += len(frames)
        direction.lost += int((~came).sum())


def score_down(
    caller: CallerRecord,
    assistant: AssistantRecord,
    reference: Reference,
    target_ms: int,
    *,
    into: Sequence[tuple[SampleWindow, Direction]],
    mulaw: bool,
) -> None:
    """Score the way down: from when the assistant has written a frame to when its audio is out at the caller.

    The delay of a turn counts from the frame on that did not wait for the playout buffer to fill (`target_ms`). What an
    interruption took, which is all after the last frame that came out, is not lost. Adds to `into` as `score_up` does.
    """
    audio = [(at, _telephone(data, mulaw=mulaw)) for at, data in caller.received]
    arrivals = _arrivals(audio, cuts=caller.clears)
    sent_times = [frame.at for frame in assistant.sent]
    positions = trace(arrivals, _spoken(assistant.sent, reference), sent_times)
    numbered = [(number, frame) for number, frame in enumerate(assistant.sent) if frame.reference_index is not None]
    for _, group in groupby(numbered, key=lambda item: item[1].turn):
        turn = list(group)
        out = deliveries(arrivals, positions, [number for number, _ in turn], sent_times)
        for window, direction in into:
            _score_turn([frame for _, frame in turn], out, caller.clears, window, target_ms, into=direction)


def _score_turn(
    turn: Sequence[SentFrame],
    out: FrameDelays,
    clears: Sequence[float],
    window: SampleWindow,
    target_ms: int,
    *,
    into: Direction,
) -> None:
    came = ~np.isnan(out.delay_s)
    expected = np.asarray([window.scores(frame.at) for frame in turn])
    if any(turn[0].at <= at <= turn[-1].at + BARGE_IN_MAX_S for at in clears):
        expected[int(np.flatnonzero(came)[-1]) + 1 if came.any() else 0 :] = False
    into.frames += int(expected.sum())
    into.lost += int((expected & ~came).sum())
    scored = expected & came & np.asarray([frame.place * FRAME_MS >= target_ms for frame in turn])
    into.delay_ms += (out.delay_s[scored] * 1000).tolist()
    into.lag_ms += out.lag_ms[scored & ~np.isnan(out.lag_ms)].tolist()


def score_barge_in(
    caller: CallerRecord, track: CallerTrack, offset: int, window: SampleWindow
) -> tuple[list[float], int]:
    """How long each interruption took, from its first sample to the `clear`, in ms; and how many brought no `clear`."""
    answered, missed = [], 0
    clears = np.asarray(caller.clears)
    for at in _onsets(caller.sent, track, offset):
        if not window.start <= at < window.end - BARGE_IN_MAX_S:
            continue
        after = clears[(clears >= at) & (clears < at + BARGE_IN_MAX_S)] - at
        if len(after):
            answered.append(float(after[0]) * 1000)
        else:
            missed += 1
    return answered, missed


def percentiles(values: Sequence[float], *wanted: int) -> dict[str, float | None]:
    """{"p50": ...} for each of `wanted`; None without values."""
    return {f"p{q}": round(float(np.percentile(values, q)), 3) if len(values) else None for q in wanted}


def _onsets(sent: Sequence[float], track: CallerTrack, offset: int) -> Iterable[float]:
    """When the first sample of each phrase would have been said, were frames written when their last sample is said."""
    first_of = {onset // FRAME_SAMPLES: onset % FRAME_SAMPLES for onset in track.onsets}
    for frame, at in enumerate(sent):
        inside = first_of.get((offset + frame) % len(track.frames))
        if inside is not None:
            yield at - FRAME_S + inside / TELEPHONE_HZ


def _arrivals(audio: Sequence[tuple[float, Waveform]], cuts: Sequence[float]) -> Arrivals:
    ends = np.cumsum([len(samples) for _, samples in audio]).tolist()
    begins, begin, waiting = [], 0, sorted(cuts)
    for index, (at, _) in enumerate(audio):
        while waiting and waiting[0] <= at:
            waiting.pop(0)
            begin = ends[index - 1] if index else 0
        begins.append(begin)
    waveform = np.concatenate([samples for _, samples in audio]) if audio else np.zeros(0, np.float32)
    return Arrivals([at for at, _ in audio], ends, begins, waveform)


def _telephone(data: bytes, *, mulaw: bool) -> Waveform:
    """At 8 kHz. Of 16-bit 16 kHz every second sample is enough: what is said here has nothing over 4 kHz."""
    if mulaw:
        return mulaw_to_samples(data).astype(np.float32)
    return np.frombuffer(data, "<i2")[::2].astype(np.float32)


def _said(track: CallerTrack, offset: int, frames: int) -> Waveform:
    return np.resize(np.roll(track.waveform, -offset * FRAME_SAMPLES), frames * FRAME_SAMPLES)


def _spoken(sent: Sequence[SentFrame], reference: Reference) -> Waveform:
    pieces = reference.waveform.reshape(-1, FRAME_SAMPLES)
    silence = np.zeros(FRAME_SAMPLES, np.float32)
    frames = [silence if frame.reference_index is None else pieces[frame.reference_index] for frame in sent]
    return np.concatenate(frames) if frames else silence
