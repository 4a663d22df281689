"""The timeline of a recorded call: all that a picture of it shows, in milliseconds of the time line of its sides.

What there is at each moment is a `TimelineTrack`; what happens now and then is in lists, in the order of time.
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relay.media.frames import FRAME_MS
from relay.record.entries import BufferTarget, ClearSent, SpeechScore, Told
from relay.record.event_log import shown
from relay.record.recorded_call import RecordedCall
from relay.record.sides import CallSides
from relay.record.stereo import stereo
from relay.record.summary import CallSummary, Values, summarise
from relay.record.verdict import moments, verdict

WAVE_STEP_MS = 10
STEP_MS = 20
SCORE_MS = 32.0
"""The speech model's window."""
TURN_PAUSE_MS = 1000.0
"""A longer silence divides what was heard of a turn."""
CUT_PAUSE_S = 2.0
"""Speech that was noticed so long before a cut is what it was paused for."""
QUEUE_KNOWN_MS = 200.0
"""How full the buffer is, is told with each frame that is sent; for so long it is taken to stay so."""
NONE_8, NONE_16 = 0xFF, 0xFFFF
"""Nothing is known at this step."""

Ints = NDArray[np.int8] | NDArray[np.uint8] | NDArray[np.uint16]


@dataclass(frozen=True, slots=True, eq=False)
class TimelineTrack:
    """A value for each step. Waves are -127 to 127, probabilities 0 to 200 for 0 to 1, the others milliseconds."""

    step_ms: int
    values: Ints


@dataclass(frozen=True, slots=True, eq=False)
class Timeline:
    """Each entry of `lists` has `at`, or `from` and `to`, in ms. All are in the order of time but "moments", at which
    something went wrong: of these the worst come first."""

    summary: CallSummary
    settings: Mapping[str, Any]
    is_live: bool
    duration_ms: float
    verdict: Sequence[str]
    tracks: Mapping[str, TimelineTrack]
    lists: Mapping[str, Sequence[Values]]


def timeline(call: RecordedCall, sides: CallSides, *, is_live: bool = False) -> Timeline:
    """`sides` are those of the call, which is_live: it still goes on, and the recording ends where it is now."""
    summary = summarise(call, sides)
    at = _Places(call, sides)
    return Timeline(
        summary=summary,
        settings=call.header.settings,
        is_live=is_live,
        duration_ms=round(max(sides.end_ms, 1.0), 1),
        verdict=verdict(call, summary, is_live=is_live),
        tracks=_tracks(call, sides),
        lists={
            "moments": [{"at": at.of(it.at_s), "sentence": it.sentence} for it in moments(call, summary)],
            "speech": list(_speech(call, at)),
            "turns": list(_turns(sides)),
            "pauses": list(_pauses(call, at)),
            "cuts": list(_cuts(call, sides, at)),
            "clears": [{"at": at.of_entry(it.at_s)} for it in call.entries if isinstance(it, ClearSent)],
            "away": list(_away(summary, at)),
            "holes": list(_holes(summary, sides, at)),
            "said": list(_said(call, at)),
            "answers": [
                {"at": (begin := at.of(it["at_s"])), "to": begin + it["caller_stopped_to_assistant_heard"], **it}
                for it in summary.latency_ms
            ],
            "events": list(_events(call, at)),
        },
    )


class _Places:
    """Where times are on the time line, to a tenth of a millisecond."""

    def __init__(self, call: RecordedCall, sides: CallSides) -> None:
        self._start_s = call.start_s
        self._sides = sides

    def of(self, at_s: float) -> float:
        """Of seconds since the caller's first stream."""
        return self.of_entry(at_s + self._start_s)

    def of_entry(self, at_s: float) -> float:
        """Of seconds since the recording began."""
        return round(self._sides.at(at_s), 1)


# -- at each moment


def _tracks(call: RecordedCall, sides: CallSides) -> dict[str, TimelineTrack]:
    both = stereo(sides)
    samples = round(sides.format.rate_hz * WAVE_STEP_MS / 1000)
    waves = {
        f"{name}_{edge}": TimelineTrack(WAVE_STEP_MS, _wave(both[:, side], samples, edge))
        for side, name in enumerate(("caller", "heard"))
        for edge in ("low", "high")
    }
    steps = int(np.ceil(max(sides.end_ms, 1.0) / STEP_MS))
    return {
        **waves,
        "speech": TimelineTrack(STEP_MS, _scores(call, sides, steps)),
        "queued": TimelineTrack(STEP_MS, _queued(sides, steps)),
        "ahead": TimelineTrack(STEP_MS, _ahead(sides, steps)),
        "target": TimelineTrack(STEP_MS, _target(call, sides, steps)),
    }


def _wave(side: NDArray[np.int16], samples: int, edge: str) -> NDArray[np.int8]:
    """The lowest or highest sample of each step."""
    padded = np.zeros(-(-max(1, len(side)) // samples) * samples, np.int16)
    padded[: len(side)] = side
    rows = padded.reshape(-1, samples)
    extreme: NDArray[np.int16] = rows.min(axis=1) if edge == "low" else rows.max(axis=1)
    return np.round(extreme / 258.1).astype(np.int8)


def _scores(call: RecordedCall, sides: CallSides, steps: int) -> NDArray[np.uint8]:
    """The highest probability within each step."""
    scores = [entry for entry in call.entries if isinstance(entry, SpeechScore)]
    found = np.full(steps, -1, np.int16)
    ends_ms = np.array([sides.at(score.at_s) for score in scores])
    values = np.array([round(score.probability * 200) for score in scores], np.int16)
    for back_ms in np.arange(1.0, SCORE_MS, STEP_MS / 2):
        cells = np.floor((ends_ms - back_ms) / STEP_MS).astype(int)
        inside = (cells >= 0) & (cells < steps)
        np.maximum.at(found, cells[inside], values[inside])
    return np.where(found < 0, NONE_8, found).astype(np.uint8)


def _last_steps(sides: CallSides, steps: int) -> tuple[NDArray[np.floating], NDArray[np.integer]]:
    """The time at the end of each step, and which of `sides.sent` was the last by then; -1: none."""
    times_ms = (np.arange(steps) + 1.0) * STEP_MS
    return times_ms, np.searchsorted([it.at_ms for it in sides.sent], times_ms, side="right") - 1


def _queued(sides: CallSides, steps: int) -> NDArray[np.uint16]:
    times_ms, last = _last_steps(sides, steps)
    known = [(it.at_ms, NONE_16 if it.queued_ms is None else min(it.queued_ms, NONE_16 - 1)) for it in sides.sent]
    table = np.array([*known, (-np.inf, NONE_16)])
    fresh = times_ms - table[last, 0] <= QUEUE_KNOWN_MS
    return np.where(fresh, table[last, 1], NONE_16).astype(np.uint16)


def _ahead(sides: CallSides, steps: int) -> NDArray[np.uint16]:
    """What was sent and is not heard yet, the time of the way left out."""
    times_ms, last = _last_steps(sides, steps)
    until_ms = np.array([*(it.until_ms for it in sides.sent), -np.inf])
    ahead_ms: NDArray[np.float64] = np.clip(until_ms[last] - times_ms, 0, NONE_16 - 1)
    return ahead_ms.astype(np.uint16)


def _target(call: RecordedCall, sides: CallSides, steps: int) -> NDArray[np.uint16]:
    """How much is to wait before playback: what the configuration says, until the relay has made another of it."""
    configured = call.header.settings.get("jitter", {}).get("target_ms", NONE_16)
    changes = [(sides.at(it.at_s), it.target_ms) for it in call.entries if isinstance(it, BufferTarget)]
    table = np.array([*changes, (-np.inf, configured)])
    last = np.searchsorted(table[:-1, 0], (np.arange(steps) + 1.0) * STEP_MS, side="right") - 1
    target_ms: NDArray[np.float64] = table[last, 1]
    return target_ms.astype(np.uint16)


# -- now and then


def _speech(call: RecordedCall, at: _Places) -> Iterator[Values]:
    """When the caller spoke, as the detector says it."""
    since: float | None = None
    for event in call.events:
        values = event.values
        if event.name == "speech.started":
            since = at.of_entry(event.at_s - (values["decided_ms"] - values["onset_ms"]) / 1000)
        elif event.name == "speech.ended" and since is not None:
            yield {"from": since, "to": at.of_entry(event.at_s - (values["decided_ms"] - values["at_ms"]) / 1000)}
            since = None
    if since is not None:
        yield {"from": since, "to": at.of_entry(call.end_s)}


def _turns(sides: CallSides) -> Iterator[Values]:
    """What was heard of each turn of the assistant, from its first sound to its last."""
    turn: Values | None = None
    for frame in sides.heard:
        if not frame.audible:
            continue
        if turn is not None and turn["turn"] == frame.turn and frame.start_ms - turn["to"] < TURN_PAUSE_MS:
            turn["to"] = round(frame.end_ms, 1)
            continue
        if turn is not None:
            yield turn
        turn = {"from": round(frame.start_ms, 1), "to": round(frame.end_ms, 1), "turn": frame.turn}
    if turn is not None:
        yield turn


def _pauses(call: RecordedCall, at: _Places) -> Iterator[Values]:
    """When the assistant was made to wait because the caller might be speaking, and what came of it."""
    noticed: Told | None = None
    for event in call.events:
        match event.name:
            case "speech.started":
                noticed = event
            case "bargein.resumed":
                begin_s = event.at_s - event.values["paused_ms"] / 1000
                yield {"from": at.of_entry(begin_s), "to": at.of_entry(event.at_s), "then": "resumed"}
            case "bargein.flushed" if noticed is not None and event.at_s - noticed.at_s < CUT_PAUSE_S:
                likely_s = noticed.at_s - (noticed.values["decided_ms"] - noticed.values["likely_ms"]) / 1000
                yield {"from": at.of_entry(likely_s), "to": at.of_entry(event.at_s), "then": "cut"}


def _cuts(call: RecordedCall, sides: CallSides, at: _Places) -> Iterator[Values]:
    """Each interruption that was cut: its `clear`, and the last byte of it that could be heard."""
    audible = [frame for frame in sides.heard if frame.audible]
    starts_ms = [frame.start_ms - (frame.way_ms or 0.0) for frame in audible]
    for number, event in enumerate(call.events):
        if event.name != "bargein.flushed":
            continue
        turn, values = event.values["turn"], event.values
        clear_ms = at.of_entry(event.at_s)
        heard = bisect_left(starts_ms, clear_ms)
        last = audible[heard - 1] if heard and audible[heard - 1].turn == turn else None
        later = (it for it in islice(call.events, number, None) if it.values.get("turn") == turn)
        yield {
            "at": clear_ms,
            "turn": turn,
            "by": values["by"],
            "onset_to_clear_ms": values["onset_to_clear_ms"],
            "flushed_ms": values["flushed_ms"],
            "last": None if last is None else round(last.end_ms, 1),
            "outcome": next((outcome for it in later if (outcome := _outcome(it)) is not None), None),
        }


def _outcome(event: Told) -> str | None:
    """What an interruption turned out to be, if this event says so."""
    match event:
        case Told(name="bargein.settled"):
            return "settled"
        case Told(name="bargein.false", values={"by": "agreement"}):
            return "agreement"
        case Told(name="bargein.false"):
            return "false alarm"
    return None


def _away(summary: CallSummary, at: _Places) -> Iterator[Values]:
    for it in summary.reconnects:
        shown_too = {name: it[name] for name in ("leg", "gap_ms", "replayed_ms", "dropped_ms")}
        yield {"from": at.of(it["at_s"]), "to": at.of(it["at_s"] + it["gap_ms"] / 1000), **shown_too}


def _holes(summary: CallSummary, sides: CallSides, at: _Places) -> Iterator[Values]:
    """Each is told when it is over. One of the assistant's ends for the caller when they hear what was sent then."""
    sent_ms = [frame.sent_ms for frame in sides.heard]
    for it in summary.holes:
        end = at.of(it["at_s"])
        number = bisect_left(sent_ms, end - FRAME_MS)
        if it["cause"] != "caller_audio_missing" and number < len(sent_ms) and sent_ms[number] < end + FRAME_MS:
            end = round(sides.heard[number].start_ms, 1)
        yield {"from": round(max(0.0, end - it["ms"]), 1), "to": end, "ms": it["ms"], "cause": it["cause"]}


def _said(call: RecordedCall, at: _Places) -> Iterator[Values]:
    """The words of both, as the assistant understood them: final ones, from when the first of them were told."""
    since: dict[str, float] = {}
    for event in call.events:
        if event.name in {"transcript.partial", "transcript.final"}:
            role = event.values["role"]
            since.setdefault(role, event.at_s)
            if event.name == "transcript.final":
                begin, end = at.of_entry(since.pop(role)), at.of_entry(event.at_s)
                yield {"from": begin, "to": end, "role": role, "text": event.values["text"]}


def _events(call: RecordedCall, at: _Places) -> Iterator[Values]:
    for event in call.events:
        values = "  ".join(f"{name}={shown(value)}" for name, value in event.values.items())
        yield {"at": at.of_entry(event.at_s), "name": event.name, "values": values}
