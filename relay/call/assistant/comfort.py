"""Plays a quiet sound to a caller who would otherwise hear nothing, while no assistant can answer."""

from collections.abc import Callable

from relay.call.playback.playback import Playback
from relay.media.comfort import comfort_frames
from relay.media.frames import FRAME_MS
from relay.wakeup import Signal, current_time, sleep_until

COMFORT_AFTER_S = 0.9
"""Without sound, during an outage. With what is queued ahead and the filling of the buffer this is under 1.5 s."""

PLAYED_S = 0.5
"""After the last of it was given to playback, which lets so much of it wait, and a lead."""


class Comfort:
    """The comfort sound of one call."""

    def __init__(self, playback: Playback) -> None:
        self._playback = playback
        self._outage = False
        self._news = Signal()

    def begin(self) -> None:
        """An outage begins."""
        self._outage = True
        self._news.fire()

    async def run(self, needed: Callable[[], bool]) -> None:
        """Play a quiet sound where there is no other, as long as it is needed; until cancelled.

        `needed`: the outage goes on, or what was said in it is still on its way.
        """
        frames = comfort_frames(self._playback.format)
        while True:
            while not self._outage:
                await self._news.wait()
            due, number = current_time() + COMFORT_AFTER_S, 0
            while needed():
                due = max(due, self._playback.speaker.last_audible_at + COMFORT_AFTER_S)
                await sleep_until(due, "comfort")
                # The assistant may have been heard while this slept; then the silence begins anew.
                if due >= self._playback.speaker.last_audible_at + COMFORT_AFTER_S:
                    self._playback.comfort(frames[number % len(frames)])
                    number += 1
                    due += FRAME_MS / 1000
            self._outage = False
            await self._news.wait(current_time() + PLAYED_S, "comfort")
            if number and not self._outage:
                self._playback.comfort_over()
