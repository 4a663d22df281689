"""Lets a caller hear something still when the assistant is gone for good: the rest of what it said, or an apology."""

from relay.call.caller_line import CallerLine
from relay.call.playback.playback import Playback
from relay.config import Config
from relay.logic.end_reason import EndReason
from relay.media.frames import Audio
from relay.wakeup import current_time, deadline


class LastWords:
    """Plays the end of one call. `apology` is for a caller who had no assistant; None: the call just ends."""

    def __init__(self, playback: Playback, line: CallerLine, config: Config, apology: Audio | None) -> None:
        self._playback = playback
        self._line = line
        self._play_out_max_s = config.session.play_out_max_s
        self._start_timeout_s = config.twilio.media_start_timeout_s
        self._apology = apology

    async def say(self, reason: EndReason) -> None:
        """Return when the caller has heard it.

        It takes `session.play_out_max_s` at most, and for an apology its length beside that, after up to
        `twilio.media_start_timeout_s` for a caller whose socket is still to come.
        """
        if reason is EndReason.ASSISTANT_ENDED:
            await self._play_out(self._play_out_max_s)
        elif self._apology is not None:
            await self._apologise(self._apology)

    async def _apologise(self, apology: Audio) -> None:
        with deadline("apology", current_time() + self._start_timeout_s):
            await self._line.until_attached()
        if self._line.leg is not None:
            self._playback.say(apology)
            await self._play_out(apology.duration_ms / 1000 + self._play_out_max_s)

    async def _play_out(self, limit_s: float) -> None:
        with deadline("play_out", current_time() + limit_s):
            await self._playback.play_out()
