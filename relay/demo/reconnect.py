"""The second act is judged here: the assistant's socket was cut while the caller spoke."""

from collections.abc import Mapping

from relay.demo.evidence import Evidence
from relay.demo.promise import Promise
from relay.media.frames import FRAME_MS
from relay.standin.compare import audible_frames, missing_frames

GAP_MAX_MS = 1500.0
"""From the cut to the new connection being ready for audio; a first attempt on this machine takes 0.3 to 0.8 s."""
RECONNECTED, IN_TIME = "reconnected", "reconnected in time"
CAME_AGAIN = "cut sentence came whole"
NOTHING_DROPPED = "nothing dropped at the cut"
RECONNECT_FIGURES = ("gap_ms", "replayed_ms", "dropped_ms", "caller_audio_lost_ms")


def caller_frames_lost(evidence: Evidence) -> int:
    """How many audible frames of the caller did not reach the call of the assistant that was to have them.

    What was said before the cut sentence belongs to the first call; that sentence and the rest belong to the second.
    """
    before = missing_frames(evidence.said, evidence.received)
    parts = (evidence.said_at_cut, evidence.said_later)
    return before + sum(missing_frames(part, evidence.received_again) for part in parts)


def reconnect_figures(evidence: Evidence, lost_frames: int) -> dict[str, float | None]:
    """`RECONNECT_FIGURES`: the relay's own, and the comparison of what was said with what was received."""
    if not evidence.reconnects:
        return dict.fromkeys(RECONNECT_FIGURES)
    own = {name: evidence.reconnects[0].get(name) for name in RECONNECT_FIGURES}
    return {**own, "caller_audio_lost_ms": lost_frames * FRAME_MS}


def reconnect_promises(evidence: Evidence, figures: Mapping[str, float | None]) -> list[Promise]:
    """Judge what the relay says of the reconnect, and what the assistant's second call received."""
    times = len(evidence.reconnects)
    reconnected = Promise(RECONNECTED, times == 1, f"{times} time after 1 cut" if times == 1 else f"{times} times")
    if not evidence.reconnects:
        return [reconnected]
    gap_ms, replayed_ms, dropped_ms = (figures[name] or 0.0 for name in RECONNECT_FIGURES[:3])
    frames, lost = (
        len(audible_frames(evidence.said_at_cut)),
        missing_frames(evidence.said_at_cut, evidence.received_again),
    )
    return [
        reconnected,
        Promise(IN_TIME, gap_ms <= GAP_MAX_MS, f"{gap_ms:.0f} ms (at most {GAP_MAX_MS:.0f})"),
        Promise(NOTHING_DROPPED, dropped_ms == 0, f"{dropped_ms:.0f} ms dropped, {replayed_ms:.0f} ms replayed"),
        Promise(CAME_AGAIN, frames > 0 and lost == 0, f"{lost} of {frames} audible frames missing"),
    ]
