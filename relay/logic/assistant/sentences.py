"""Keeps track of which of the caller's sentences the assistant has understood: those need never be sent again.

After a loss the next assistant call gets the caller's audio again from the first sentence that may not have been
understood. The detector says where in the replay log each segment of speech lies. The assistant only says that it has
understood something (Vapi, message "transcript"), and not what, so this is worked out here, for each segment:

| state   | meaning                                | leaves when                                                     |
|---------|----------------------------------------|-----------------------------------------------------------------|
| running | the caller speaks                      | `ended` -> unsent; or -> finished, if a final transcript came   |
|         |                                        | after its true end, but before the detector knew of that        |
| unsent  | this connection has not got all of it  | the log's cursor passes its end -> sent                         |
| sent    | the assistant has it; it is not known  | a final transcript that may be about it -> finished             |
|         | whether it was understood              | without transcripts: the assistant speaks -> finished;          |
|         |                                        | `unanswered_s` have passed when the connection is lost          |
|         |                                        | -> finished                                                     |
|         |                                        | `rewind`: the connection is lost -> unsent                      |

Finishing a segment finishes all before it. A final transcript is about the newest segment that was sent, except

- that it never finishes a segment that still runs, or began after it;
- that it is about the segment before, if two or more were sent and it comes too soon after the end of the last: sooner
  than `REACTION_FRAMES`, as no transcriber is so fast, or than `HASTE` times the shortest reaction on this connection.
  Such a transcript was held up on its way. Reactions are measured only where a single segment could be meant.
"""

from dataclasses import dataclass

from relay.logic.assistant.replay import ReplayLog, Rewind
from relay.media.frames import FRAME_MS

REACTION_FRAMES = 300 // FRAME_MS
"""The least time between the end of speech and anything that an assistant makes of it."""
HASTE = 0.75
"""A reaction is believed if it takes at least this part of the shortest that was measured."""
TAIL_FRAMES = 100 // FRAME_MS
"""What still belongs to a segment behind its end: the fall of the last sound, the delay of a resampler."""
MAX_SEGMENTS = 64
"""More unfinished ones than any assistant leaves. Of more, the oldest is finished together with the next."""


@dataclass(slots=True, eq=False)
class _Segment:
    """Speech from frame `start` up to `end`, None while it runs. `sent_at`: when all of it was seen to be sent."""

    start: int
    end: int | None = None
    sent_at: float | None = None


class Sentences:
    """Watches one replay log, for one call. Frames are numbers of that log, times monotonic seconds.

    `unanswered_s`: without transcripts, an assistant that did not answer for so long has nothing to say to it.
    """

    def __init__(self, replay: ReplayLog, unanswered_s: float) -> None:
        self._replay = replay
        self._unanswered_s = unanswered_s
        self._segments: list[_Segment] = []
        self._transcripts = False
        self._early_final: float | None = None
        """Of a final transcript that came while the last segment ran: the last frame that it can be about."""
        self._quickest: int | None = None
        """The shortest reaction of this connection, in frames."""

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
        self._segments = [*self._segments[1 - MAX_SEGMENTS :], _Segment(start_frame)]
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
        """The connection is lost. Rewinds the log to the first sentence that is not finished; returns what that means.

        What was learnt of this assistant plays no part for the next.
        """
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
        del self._segments[: self._segments.index(last) + 1]
        upto = last.end + TAIL_FRAMES
        self._replay.finish_sentence(min(upto, self._segments[0].start) if self._segments else upto)
