"""Audio that was sent for a session in one piece, spoken into its call as a microphone would."""

import trio

from relay.call.browser.leg import BrowserLeg
from relay.media.frames import WIDEBAND
from relay.wakeup import Signal

WAITING_MAX_BYTES = 10_000_000
"""Five minutes, which is one request; more is refused."""
LEAD_S = 1.0
"""So far ahead of real time: small pieces that come in real time are not held up by their own jitter."""


class Spoken:
    """One per session: mono pcm_s16le at 16 kHz, in real time, in the order it came."""

    def __init__(self) -> None:
        self._audio = bytearray()
        self._news = Signal()

    def add(self, pcm: bytes) -> bool:
        """Speak this behind all that waits. False: too much waits already, and nothing was taken."""
        if len(self._audio) + len(pcm) > WAITING_MAX_BYTES:
            return False
        self._audio += pcm
        self._news.fire()
        return True

    async def run(self, leg: BrowserLeg) -> None:
        """Speak until cancelled."""
        due_at = trio.current_time()
        while True:
            while not self._audio:
                await self._news.wait()
            frame = bytes(self._audio[: WIDEBAND.frame_bytes])
            del self._audio[: len(frame)]
            await leg.speak(frame)
            due_at = max(due_at, trio.current_time()) + WIDEBAND.duration_ms(len(frame)) / 1000
            await trio.sleep_until(due_at - LEAD_S)
