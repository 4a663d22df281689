"""The playback task, and what it plays: the assistant's turn, the sound of an outage, the last words of a call.

| part        | what it does                                                                           |
|-------------|----------------------------------------------------------------------------------------|
| intake      | takes the assistant's audio, and queues what the fence lets through                    |
| interrupter | silences it all when the caller interrupts                                             |
| speaker     | sends what is due, when it is due                                                      |

Only the speaker's sending waits. All else is done in one step each, so that no other task can see half a flush. What
is due, what is held and what was heard is decided in `relay.logic.playback`; here it meets the clock and the sockets.
"""

import math

import numpy as np
import trio

from relay.call.playback.dialogue import Dialogue
from relay.call.playback.flush import Flush
from relay.call.playback.intake import Intake
from relay.call.playback.interrupter import Interrupter
from relay.call.playback.interruptions import Interruptions
from relay.call.playback.speaker import Burden, Speaker
from relay.call.report.report import Report
from relay.config import BargeInConfig, Config
from relay.logic.assistant.conversation import Turn
from relay.logic.playback.fence import Fence, FenceRules, FenceState
from relay.logic.playback.frame import PlayFrame
from relay.media import g711
from relay.media.features import level_dbfs
from relay.media.frames import FRAME_MS, Audio, AudioFormat, Encoding
from relay.media.packetizer import Packetizer
from relay.media.silence import silence_test
from relay.media.transcode import Transcoder
from relay.wakeup import Signal, current_time, deadline

COMFORT_QUEUED_MS = 300
"""So much of a comfort sound may wait; more than the buffer fills with before it plays."""
LOOK_AGAIN_MS = 100.0
"""The end of a call looks so often whether the last word is over."""
LAST_MARK_S = 1.0
"""How long the end of a call waits for the marks of what by the clock was played."""


class Playback:
    """One per call: whoever the caller's socket is, there is one queue, one schedule and one turn at a time.

    `source` is the format of the assistant, `format` what the caller hears.
    """

    def __init__(
        self,
        source: AudioFormat,
        target: AudioFormat,
        config: Config,
        dialogue: Dialogue,
        report: Report,
        *,
        burden: Burden | None = None,
    ) -> None:
        self.format = target
        self.fence = Fence(fence_rules(config.barge_in))
        self._interruptions = Interruptions(report)
        before_ms = config.barge_in.agreement_back_ms
        self.speaker = Speaker(config.jitter, report, before_ms=before_ms, burden=burden)
        flush = Flush(fence=self.fence, speaker=self.speaker, dialogue=dialogue, interruptions=self._interruptions)
        self.intake = Intake(
            source,
            target,
            fence=self.fence,
            flush=flush,
            speaker=self.speaker,
            dialogue=dialogue,
            interruptions=self._interruptions,
            counts=report.counts,
            words_decide=config.barge_in.policy != "local" or config.barge_in.min_words > 0,
        )
        self.interrupter = Interrupter(
            config.barge_in,
            fence=self.fence,
            flush=flush,
            intake=self.intake,
            speaker=self.speaker,
            interruptions=self._interruptions,
            goes_on=dialogue.has_begun,
        )
        self._counts = report.counts
        self._dialogue = dialogue
        self._playout = self.speaker.playout
        self._marks = Signal()

    @property
    def audible(self) -> bool:
        """Whether the caller hears the assistant, or is about to."""
        return self._playout.audible(current_time())

    @property
    def queued_ms(self) -> int:
        """Audio that waits here for the caller."""
        return self._playout.queued_ms

    @property
    def target_ms(self) -> float:
        """How much of the assistant's audio is to be kept ahead."""
        return self._playout.target_ms

    @property
    def level_dbfs(self) -> float:
        """The level of what the caller hears now."""
        data = b"".join([frame.data for frame in self._playout.sounding(current_time())])
        return level_dbfs(g711.decode(data) if self.format.encoding is Encoding.MULAW else np.frombuffer(data, "<i2"))

    def turns(self) -> tuple[Turn, ...]:
        """The conversation as the caller knows it now."""
        return self._dialogue.turns(self._playout.unheard(current_time()))

    def heard(self, turn: int, position_ms: int) -> None:
        """The caller's side echoed a mark. One of a turn that was cut came back because of the `clear`."""
        now = current_time()
        behind_clear = self._interruptions.mark_returned(turn, position_ms, now)
        if not behind_clear and not self.fence.is_stale(turn):
            self._playout.mark_heard(position_ms, now)
            self._marks.fire()

    def comfort(self, frame: bytes) -> None:
        """Play this sign of life, unless anything else waits to be played. It cannot be interrupted."""
        if self._playout.queued_ms < COMFORT_QUEUED_MS:
            now = current_time()
            self._counts.invented("reconnect")
            self.speaker.add([PlayFrame(self.fence.turn, frame, audible=False)], now)
            self.intake.comforted(now)

    def comfort_over(self) -> None:
        """All of it was played: what else it has left waiting is taken back in the next pause."""
        self._playout.catch_up()

    def say(self, audio: Audio) -> None:
        """Play this behind all others, as the assistant's words."""
        speech = Transcoder(audio.format, self.format).push(audio)
        frames = Packetizer(self.format).push(speech.data)
        turn, now, is_silent = self.fence.turn, current_time(), silence_test(self.format)
        self.speaker.add([PlayFrame(turn, frame, not is_silent(frame), now) for frame in frames], now)

    async def run(self) -> None:
        """The task: send what is due, and decide what has waited long enough, until cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.speaker.run)
                await self._keep_deadlines()
        finally:
            self._interruptions.settled(None)

    async def _keep_deadlines(self) -> None:
        while True:
            deadlines = (self.fence.deadline, self.interrupter.deadline)
            earliest = min((at for at in deadlines if at is not None), default=math.inf)
            await self.speaker.changed.wait(earliest, "playback")
            now = current_time()
            self.intake.expire(now)
            self.interrupter.expire(now)

    async def play_out(self) -> None:
        """No more audio will come. Return when the caller has heard everything that is audible.

        While the fence waits for the assistant to agree, what it holds may still turn out to be worth playing.
        """
        self.intake.finish()
        while self.audible or self.fence.state is FenceState.HOLDING:
            now = current_time()
            left_ms = min(self._playout.left_ms(now), LOOK_AGAIN_MS)  # some of it may be silence behind the last word
            await self.speaker.changed.wait(now + max(FRAME_MS, left_ms) / 1000, "last_word")
        with deadline("last_mark", current_time() + LAST_MARK_S):
            while self._playout.lingers:
                await self._marks.wait()


def fence_rules(config: BargeInConfig) -> FenceRules:
    """What an interrupted assistant does, as [barge_in] configures it."""
    return FenceRules(
        old_turn_s=config.old_turn_ms / 1000,
        false_alarm_s=config.false_alarm_ms / 1000,
        new_turn_pause_s=config.pause_ms / 1000,
    )
