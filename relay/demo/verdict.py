"""The verdict says which promises were kept: the relay's own figures are checked against the other sides' records."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from relay.demo.evidence import Evidence
from relay.demo.promise import Promise
from relay.demo.reconnect import (
    CAME_AGAIN,
    IN_TIME,
    RECONNECT_FIGURES,
    caller_frames_lost,
    reconnect_figures,
    reconnect_promises,
)
from relay.media.frames import FRAME_MS
from relay.standin.compare import FRAME_SAMPLES, SAME, audible_frames, explain, missing_frames
from relay.standin.phone.player import RATE_HZ
from relay.standin.sound import Samples

ONSET_TO_CLEAR_MAX_MS = 400.0
"""From the first breath of the word, which is no sound yet to a detector: 150 to 220 ms on a machine with time."""
DECIDE_TO_CLEAR_MAX_MS = 40.0
"""Two frames; on a machine that does nothing else it is about one millisecond."""
HEARD_TOLERANCE_MS = 200.0
"""The relay asks for a mark every 200 ms, and reckons in between."""
NO_LOSS = {"stale", "pause", "trimmed"}
"""Causes of dropping what nobody misses: a turn that was cut, silence that a replay or a backlog leaves out."""
COMFORT = "reconnect"
"""The cause under which the relay counts the sound that it plays while the assistant is away."""
_TURN_PAUSE_FRAMES = 30
"""A longer silence is none within a turn."""
_CUT_FRAMES = 5
"""The last frames before a cut may themselves be cut; so many are not asked for."""
_SEAM_FRAMES = 3
"""The window of a frame reaches so far beyond where one sound ends and another begins."""
STOOD_STILL_MAX_MS = 40.0
"""Two processes so late each make a pause of 100 ms, which the relay fills up, as it must: whether it loses any shows
only on a machine with time."""

WHOLE = "no frame lost or invented"
HEARD_BY_ASSISTANT, HEARD_BY_CALLER = "the assistant heard every word", "the caller heard every word"
POSITION = "knows what was heard"
# These say nothing of the relay where the machine kept a process from doing its part in time.
NEED_REAL_TIME = (WHOLE, HEARD_BY_ASSISTANT, HEARD_BY_CALLER, POSITION, IN_TIME, CAME_AGAIN)
FIGURES = ("onset_to_clear_ms", "decide_to_clear_ms", "stale_frames_after_clear", "flushed_ms", "heard_ms")


@dataclass(frozen=True, slots=True)
class DemoVerdict:
    """All promises, and the figures: `bargein` holds `FIGURES`, `reconnect` `RECONNECT_FIGURES`, each None where it
    could not be measured."""

    promises: Sequence[Promise]
    bargein: Mapping[str, float | None]
    reconnect: Mapping[str, float | None] = field(default_factory=lambda: dict.fromkeys(RECONNECT_FIGURES))

    @property
    def ok(self) -> bool:
        """Whether no promise was broken."""
        return not self.broken

    @property
    def broken(self) -> list[Promise]:
        """The promises that were not kept."""
        return [promise for promise in self.promises if promise.kept is False]

    @property
    def unjudged(self) -> list[Promise]:
        """The promises that cannot be judged, because the machine stood still."""
        return [promise for promise in self.promises if promise.kept is None]

    def as_json(self) -> dict[str, Any]:
        """The summary, without the files."""
        promises = [{"name": p.name, "kept": p.kept, "figure": p.figure} for p in self.promises]
        figures = {"bargein": dict(self.bargein), "reconnect": dict(self.reconnect)}
        return {"ok": self.ok, **figures, "promises": promises}


def judge(evidence: Evidence) -> DemoVerdict:
    """Judge a call. Pure, and slow: about a second of correlations."""
    story = Promise("the call went as planned", evidence.broken is None, evidence.broken or "from ringing to hang-up")
    if evidence.phone_end is None:
        return DemoVerdict([story], dict.fromkeys(FIGURES))
    if not evidence.flushes or not evidence.clears_s or evidence.onset_s is None:
        silent = Promise("silent at once", kept=False, figure="the caller's interruption brought no clear")
        return DemoVerdict([story, silent, *_order(evidence)], dict.fromkeys(FIGURES))
    stale, unknown, frames = _sorted_out(evidence)
    bargein = {**{name: evidence.flushes[0].get(name) for name in FIGURES}, "stale_frames_after_clear": stale}
    lost_frames = caller_frames_lost(evidence)
    reconnect = reconnect_figures(evidence, lost_frames)
    promises = [story, *_interruption(evidence), *_silence(evidence, stale, unknown, frames)]
    promises += [*reconnect_promises(evidence, reconnect), *_audio(evidence, lost_frames), *_order(evidence)]
    return DemoVerdict([_excused(promise, evidence.stood_still_ms) for promise in promises], bargein, reconnect)


def _excused(promise: Promise, stood_still_ms: float) -> Promise:
    """A broken promise that needs real time is not judged when there was none."""
    if promise.kept or promise.name not in NEED_REAL_TIME or stood_still_ms <= STOOD_STILL_MAX_MS:
        return promise
    return replace(promise, kept=None)


def _interruption(evidence: Evidence) -> list[Promise]:
    flush = evidence.flushes[0]
    assert evidence.onset_s is not None
    relay_ms, phone_ms = flush["onset_to_clear_ms"], (evidence.clears_s[0] - evidence.onset_s) * 1000
    decide_ms = flush["decide_to_clear_ms"]
    begin, end = _last_turn(evidence.heard_before)
    heard_ms = (end - begin) * 1000 / RATE_HZ - sum(gap_ms for at, gap_ms in evidence.underruns if at > begin)
    return [
        Promise(
            "silent at once",
            0 <= phone_ms <= ONSET_TO_CLEAR_MAX_MS and relay_ms <= ONSET_TO_CLEAR_MAX_MS,
            f"{phone_ms:.0f} ms to clear (relay {relay_ms:.0f}; at most {ONSET_TO_CLEAR_MAX_MS:.0f})",
        ),
        Promise(
            "clear at once",
            decide_ms <= DECIDE_TO_CLEAR_MAX_MS,
            f"{decide_ms:.2f} ms to the wire (at most {DECIDE_TO_CLEAR_MAX_MS:.0f})",
        ),
        Promise(
            "stopped once",
            len(evidence.flushes) == len(evidence.clears_s) == 1,
            f"{len(evidence.flushes)} interruption, {len(evidence.clears_s)} clear",
        ),
        Promise(
            "all buffers emptied",
            flush["flushed_ms"] >= evidence.cleared_ms,
            f"{flush['flushed_ms']:.0f} ms flushed, {evidence.cleared_ms:.0f} ms of it at Twilio",
        ),
        Promise(
            POSITION,
            abs(flush["heard_ms"] - heard_ms) <= HEARD_TOLERANCE_MS,
            f"{flush['heard_ms']:.0f} ms of the turn (phone: {heard_ms:.0f} ms)",
        ),
    ]


def _silence(evidence: Evidence, stale: int, unknown: int, frames: int) -> list[Promise]:
    heard = explain(evidence.heard_after, evidence.old_turn, _expected(evidence))
    stale_at = [each.at for each in heard if _is_stale(each.first, each.second) and not _is_torn(evidence, each.at)]
    late_ms = (stale_at[-1] + FRAME_SAMPLES) * 1000 / RATE_HZ if stale_at else 0
    talked_on_ms = len(audible_frames(evidence.sent_late)) * FRAME_MS
    return [
        Promise(
            "no stale audio sent",
            stale == 0,
            f"{stale} of {frames} audible frames after clear",
        ),
        Promise(
            "no stale audio heard",
            late_ms == 0,
            f"{late_ms:.0f} ms; the assistant sent {talked_on_ms:.0f} ms more",
        ),
        Promise("no foreign audio", unknown == 0, f"{unknown} frames of unknown origin after clear"),
    ]


def _audio(evidence: Evidence, caller_lost: int) -> list[Promise]:
    said = (evidence.said, evidence.said_at_cut, evidence.said_later)
    caller_frames = sum(len(audible_frames(part)) for part in said)
    heard_samples = _heard_of_old_turn(evidence)
    pieces = [(evidence.greeting, evidence.heard_before), (heard_samples, evidence.heard_before)]
    pieces.append((evidence.new_turn, evidence.heard_after))
    assistant_frames = sum(len(audible_frames(piece)) for piece, _ in pieces)
    assistant_lost = sum(missing_frames(piece, heard) for piece, heard in pieces)
    return [
        Promise(
            HEARD_BY_ASSISTANT,
            caller_frames > 0 and caller_lost == 0,
            f"{caller_lost} of {caller_frames} audible frames missing",
        ),
        Promise(
            HEARD_BY_CALLER,
            assistant_frames > 0 and assistant_lost == 0,
            f"{assistant_lost} of {assistant_frames} frames missing, cut ones apart",
        ),
    ]


def _order(evidence: Evidence) -> list[Promise]:
    ended = evidence.ended or {}
    dropped = {cause: n for cause, n in ended.get("frames_dropped", {}).items() if n and cause not in NO_LOSS}
    invented = {cause: n for cause, n in ended.get("frames_invented", {}).items() if n and cause != COMFORT}
    missing = ended.get("messages_missing", 0)
    causes = ", ".join(f"{cause} {n}" for cause, n in invented.items())
    invented_text = f"{sum(invented.values())} invented" + (f" ({causes})" if causes else "")
    whole = bool(ended) and not dropped and not invented and missing == 0 and not evidence.underruns
    lost = sum(dropped.values()) + missing
    ends = f"{ended.get('reason')}, {evidence.assistant_end}, exit {evidence.daemon_exit}"
    orderly = evidence.phone_end == "caller_hangup" == ended.get("reason")
    return [
        Promise(
            WHOLE,
            whole,
            f"{lost} lost, {invented_text}, {len(evidence.underruns)} gaps in playback",
        ),
        Promise(
            "Twilio's protocol kept",
            not evidence.warnings,
            "no warning of the simulated Twilio" if not evidence.warnings else "; ".join(evidence.warnings),
        ),
        Promise(
            "ended in order",
            orderly and evidence.assistant_end == "customer-ended-call" and evidence.daemon_exit == 0,
            ends,
        ),
    ]


def _sorted_out(evidence: Evidence) -> tuple[int, int, int]:
    """Count what arrived after the `clear`: frames of the old turn, frames of unknown origin, audible frames in all."""
    arrived = explain(evidence.arrived_after, evidence.old_turn, _expected(evidence))
    stale = sum(_is_stale(frame.first, frame.second) for frame in arrived)
    unknown = {frame.at for frame in arrived if max(frame.first, frame.second) < SAME}
    if unknown:
        unknown -= _seams(evidence)
    return stale, len(unknown), len(arrived)


def _seams(evidence: Evidence) -> set[int]:
    """The frames that arrived where the sound that fills the wait gives way to the answer: they are of both."""
    near = _SEAM_FRAMES * FRAME_SAMPLES
    frames = explain(evidence.arrived_after, evidence.comfort, evidence.new_turn)
    comfort = [frame.at for frame in frames if frame.first >= SAME > frame.second]
    answer = [frame.at for frame in frames if frame.second >= SAME > frame.first]
    return {
        frame.at
        for frame in frames
        if any(0 < frame.at - at <= near for at in comfort) and any(0 < at - frame.at <= near for at in answer)
    }


def _expected(evidence: Evidence) -> Samples:
    """What the caller may hear after the `clear`: the answer, and the sound that fills the wait for it."""
    return np.concatenate([evidence.new_turn, evidence.comfort])


def _is_torn(evidence: Evidence, at: int) -> bool:
    """Whether a hole in what the caller heard is so near that the sound around it is that of no single place."""
    begin = len(evidence.heard_before) + at - FRAME_SAMPLES
    end = begin + 3 * FRAME_SAMPLES
    return any(
        begin <= hole_end and hole_end - gap_ms * RATE_HZ / 1000 < end for hole_end, gap_ms in evidence.underruns
    )


def _is_stale(old: float, new: float) -> bool:
    return old >= SAME and old > new


def _last_turn(heard: Samples) -> tuple[int, int]:
    """Where the last turn in `heard` begins and ends: it goes back to a silence too long for one in a sentence."""
    frames = audible_frames(heard)
    if not frames:
        return 0, 0
    pauses = (
        i for i in range(len(frames) - 1, 0, -1) if frames[i] - frames[i - 1] > _TURN_PAUSE_FRAMES * FRAME_SAMPLES
    )
    return frames[next(pauses, 0)], frames[-1] + FRAME_SAMPLES


def _heard_of_old_turn(evidence: Evidence) -> Samples:
    """The part of the interrupted turn that the caller should have heard whole; the frames at the cut are left out."""
    begin, end = _last_turn(evidence.heard_before)
    first = next(iter(audible_frames(evidence.old_turn)), 0)
    return evidence.old_turn[first : first + max(0, end - begin - _CUT_FRAMES * FRAME_SAMPLES)]
