"""Which of the caller's sentences the assistant has understood, so that they need never be sent again.

The detector says where in the replay log a segment of speech lies; the assistant says, without a position, that it has
understood something (Vapi, message "transcript"). Each segment goes through these states:

| state   | meaning                                | leaves when                                                     |
|---------|----------------------------------------|-----------------------------------------------------------------|
| running | the caller speaks                      | `ended` -> unsent, or finished if a final transcript came after |
|         |                                        | its true end, before the detector knew of it                    |
| unsent  | this connection has not got all of it  | the log's cursor passes its end -> sent                         |
| sent    | the assistant has it; nothing is known | final transcript -> finished                                    |
|         |                                        | without transcripts: the assistant speaks -> finished, or       |
|         |                                        | `unanswered_s` pass -> finished                                 |
|         |                                        | `rewind`: the connection is lost -> unsent                      |

Finishing a segment finishes all before it. A final transcript never finishes one that runs or began after it. Where two
segments wait and the last ended less than `REACTION_FRAMES` ago, it is about the one before: no transcriber is so fast.
Nor is it much faster than this one ever was on this connection, where only one segment could be meant: what comes
sooner is a transcript that was held up.
"""

from collections import deque
from dataclasses import dataclass

from relay.logic.assistant.replay import ReplayLog, Rewind
from relay.media.frames import FRAME_MS

REACTION_FRAMES = 300 // FRAME_MS
"""Between the end of speech and anything that an assistant makes of it."""
HASTE = 0.75
"""The part of the shortest reaction so far that another may take."""
TAIL_FRAMES = 100 // FRAME_MS
"""What still belongs to a segment behind its end: the fall of the last sound, the delay of a resampler."""
MAX_SEGMENTS = 64


@dataclass(slots=True)
class _Segment:
    start: int
    end: int | None = None
    sent_at: float | None = None


class Sentences:
    """Watches one replay log for one call. Frames are numbers of that log, times monotonic seconds."""

    def __init__(self, replay: ReplayLog, unanswered_s: float) -> None:
        self._replay = replay
        self._unanswered_s = unanswered_s
        self._segments: deque[_Segment] = deque(maxlen=MAX_SEGMENTS)
        self._transcripts = False
        self._early_final: float | None = None
        self._quickest: int | None = None

    @property
    def unfinished(self) -> bool:
        """Whether there is speech that the assistant is not known to have understood."""
        return bool(self._segments)

    @property
    def running(self) -> bool:
        """Whether the caller speaks, to the ears of the assistant, who may hear it later."""
        last = self._segments[-1] if self._segments else None
        return last is not None and (last.end is None or last.end > self._replay.cursor)

    def began(self, start_frame: int) -> None:
        """The detector is sure that the caller speaks since this frame."""
        self._replay.mark_speech(start_frame)
        self._segments.append(_Segment(start_frame))
        self._early_final = None

    def ended(self, end_frame: int, now: float) -> None:
        """The segment that began last has ended before this frame."""
        if not self._runs:
            return
        self._segments[-1].end = end_frame
        if self._early_final is not None and end_frame <= self._early_final:
            self._finish(self._segments[-1])
        self._early_final = None
        self._note_sent(now)

    def transcript(self, *, final: bool, now: float) -> None:
        """The assistant has recognised something of what the caller says."""
        self._transcripts = True
        self._note_sent(now)
        if not final:
            return
        sent = self._sent()
        if self._runs:
            self._early_final = self._replay.cursor - (self._reaction_frames() if sent else 0)
        if not sent:
            return
        if len(sent) > 1 and self._frames_after(sent[-1]) < self._reaction_frames():
            self._finish(sent[-2])
        else:
            self._note_reaction(sent)
            self._finish(sent[-1])

    def assistant_spoke(self, now: float) -> None:
        """The assistant has begun to speak: where there are no transcripts, because it has understood."""
        self._note_sent(now)
        if not self._transcripts:
            self._finish_last([s for s in self._sent() if self._frames_after(s) >= REACTION_FRAMES])

    def rewind(self, now: float) -> Rewind:
        """The connection is lost. Rewinds the log to the first sentence that is not finished."""
        self._note_sent(now)
        if not self._transcripts:
            before = now - self._unanswered_s
            self._finish_last([s for s in self._sent() if s.sent_at is not None and s.sent_at <= before])
        for segment in self._segments:
            segment.sent_at = None
        self._transcripts = False
        self._early_final = self._quickest = None
        return self._replay.rewind()

    @property
    def _runs(self) -> bool:
        return bool(self._segments) and self._segments[-1].end is None

    def _note_reaction(self, sent: list[_Segment]) -> None:
        if len(sent) == len(self._segments) == 1:
            took = self._frames_after(sent[0])
            self._quickest = took if self._quickest is None else min(took, self._quickest)

    def _reaction_frames(self) -> float:
        return max(REACTION_FRAMES, HASTE * (self._quickest or 0))

    def _sent(self) -> list[_Segment]:
        return [segment for segment in self._segments if segment.sent_at is not None]

    def _note_sent(self, now: float) -> None:
        for segment in self._segments:
            if segment.sent_at is None and segment.end is not None and segment.end <= self._replay.cursor:
                segment.sent_at = now

    def _frames_after(self, segment: _Segment) -> int:
        assert segment.end is not None
        return self._replay.cursor - segment.end

    def _finish_last(self, segments: list[_Segment]) -> None:
        if segments:
            self._finish(segments[-1])

    def _finish(self, last: _Segment) -> None:
        assert last.end is not None
        while self._segments[0] is not last:
            self._segments.popleft()
        self._segments.popleft()
        upto = last.end + TAIL_FRAMES
        self._replay.finish_sentence(min(upto, self._segments[0].start) if self._segments else upto)
