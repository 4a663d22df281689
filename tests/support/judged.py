"""A replay log whose frames are judged as soon as they are there, as by a detector that takes no time."""

from relay.logic.assistant.replay import ReplayLog
from relay.media.frames import FRAME_MS


def append_judged(replay: ReplayLog, frame: bytes, *, speech: bool) -> str | None:
    """What fell off to make room for it."""
    fell_off = replay.append(frame)
    end = replay.cursor + replay.unread_ms // FRAME_MS
    if not speech:
        replay.mark_pause(end - 1, end)
    return fell_off
