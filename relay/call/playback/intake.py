"""Takes the assistant's audio, cuts it into the caller's frames, and queues what the fence lets through."""

import math
from collections.abc import Sequence
from itertools import dropwhile

from relay.call.playback.dialogue import Dialogue
from relay.call.playback.flush import Flush
from relay.call.playback.interruptions import Interruptions
from relay.call.playback.speaker import Speaker
from relay.call.report.counts import Counts
from relay.logic.playback.fence import Fence, FenceState
from relay.logic.playback.frame import PlayFrame
from relay.logic.playback.ruling import Ruling, Verdict
from relay.media.downlink import Downlink
from relay.media.frames import FRAME_MS, AudioFormat
from relay.media.silence import silence_test
from relay.wakeup import current_time

COMFORT_COVERS_S = 2 * FRAME_MS / 1000
"""A frame of the comfort sound takes the place of the silence that comes so soon behind it."""


class Intake:
    """One per call, whichever assistant speaks. `source` is the format it sends, `target` what the caller hears."""

    def __init__(
        self,
        source: AudioFormat,
        target: AudioFormat,
        *,
        fence: Fence,
        flush: Flush,
        speaker: Speaker,
        dialogue: Dialogue,
        interruptions: Interruptions,
        counts: Counts,
        words_decide: bool = False,
    ) -> None:
        """`words_decide`: an interruption waits for what the assistant says of it, so that is to be known at once."""
        self._source = source
        self._target = target
        self._downlink = Downlink(source, target)
        self._is_silent = silence_test(target)
        self._fence = fence
        self._flush = flush
        self._speaker = speaker
        self._playout = speaker.playout
        self._counts = counts
        self._dialogue = dialogue
        self._interruptions = interruptions
        self._words_decide = words_decide
        self._comforted_at = -math.inf

    def listen_to(self, source: AudioFormat) -> None:
        """An assistant that sends this format speaks from now on."""
        if source != self._source:
            self._source = source
            self._downlink = Downlink(source, self._target)

    def wanted_at(self) -> float:
        """When more of the assistant's audio is of use; in the past: as it comes, for the fence decides by that."""
        is_open = self._fence.state is FenceState.OPEN
        return self._speaker.wanted_at() if is_open and not self._words_decide else -math.inf

    def push(self, data: bytes) -> bool:
        """A chunk from the assistant, of any length. Returns whether anything can be heard in it."""
        return self._offer(self._downlink.push(data))

    def finish(self) -> None:
        """No more will come: what waits for the rest of its frame is played as it is."""
        self._offer(self._downlink.finish())

    def comforted(self, now: float) -> None:
        """A frame of the comfort sound was queued. The assistant's silence would tear that sound: it is left out."""
        self._comforted_at = now

    def assistant_lost(self) -> None:
        """The assistant's connection is gone: what is queued is played, what has half arrived is not."""
        self._downlink = Downlink(self._source, self._target)
        self._playout.outage()
        self._apply(self._fence.reconnected(), current_time())
        self._speaker.changed.fire()

    def assistant_started(self, turn_index: int | None) -> None:
        """The assistant says that it began to speak."""
        now = current_time()
        self._apply(self._fence.assistant_started(turn_index, now), now)
        if self._fence.state is FenceState.OPEN:
            self._dialogue.announced()

    def assistant_stopped(self) -> None:
        """The assistant says that it stopped speaking."""
        self._fence.assistant_stopped()

    def take_back(self, now: float) -> None:
        """What was cut plays again, because the caller has only agreed. Only while the fence is holding."""
        self._apply(self._fence.take_back(), now)

    def expire(self, now: float) -> None:
        """Act on the fence's deadline, if it has passed."""
        if self._fence.deadline is not None and now >= self._fence.deadline:
            self._apply(self._fence.expire(now), now)

    def _offer(self, frames: Sequence[bytes]) -> bool:
        now = current_time()
        self._counts.frame("assistant", "down", len(frames))
        some_audible = False
        admitted: list[PlayFrame] = []
        for frame in frames:
            audible = not self._is_silent(frame)
            some_audible = some_audible or audible
            ruling = self._fence.offer(frame, audible=audible, now=now)
            if ruling.verdict is None:
                admitted += ruling.frames
            else:
                self._admit(admitted, now)
                admitted = []
                self._apply(ruling, now)
        self._admit(admitted, now)
        return some_audible

    def _apply(self, ruling: Ruling, now: float) -> None:
        if ruling.flush:
            self._flush.follow_fence(now)
        self._counts.dropped("stale", ruling.dropped)
        if ruling.clean:
            self._downlink.reset()
        if ruling.verdict is not None:
            self._interruptions.settled(ruling.verdict)
        if ruling.verdict in {Verdict.FALSE_ALARM, Verdict.AGREEMENT}:
            self._dialogue.taken_back(ruling.frames[ruling.repeated :])
            self._playout.put_back(ruling.frames, now)
            self._speaker.changed.fire()
            return
        if ruling.verdict is not None:
            self._dialogue.settled()
        self._admit(ruling.frames, now)

    def _admit(self, frames: Sequence[PlayFrame], now: float) -> None:
        if not frames:
            return
        self._dialogue.added(frames)
        if now < self._comforted_at + COMFORT_COVERS_S:
            words = list(dropwhile(lambda frame: not frame.audible, frames))
            self._counts.dropped("trimmed", len(frames) - len(words))
            if words:
                self._comforted_at = -math.inf
            frames = words
        self._speaker.add(frames, now)
