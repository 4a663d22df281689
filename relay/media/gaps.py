"""Decides how much silence goes into the gaps of a caller's audio, and how much of it was too much.

That keeps the audio on the caller's own clock. Silence is put in for two reasons: messages are missing, by their
numbers, or nothing has come for a while. In the second case the audio may only have been late; then the silence was too
much, and is a surplus that later pauses have to make up for.

Stamps cannot be taken at their word. They jitter, stand still within a burst, or say when a message was sent and not
when it was recorded; so between messages whose numbers follow each other nothing is missing, whatever the stamps say.
Only all stamps of a second together show that time has passed without audio: a stamp may be late, never early, so the
lowest of them is the nearest to the truth, and the highest is what might be true.

Sources: Twilio Media Streams, "WebSocket messages" (`media.timestamp`, ms since the stream began; public traces begin
at 155 or 171, and are no multiples of 20); `docs/browser.md` for the header of a browser's messages.
"""

from collections import deque

MIN_GAP_MS = 60
"""Shorter holes are left: closing up two frames is heard less than silence cut into a word."""
MAX_FILL_MS = 1000
"""Longer holes are filled with only so much silence, so that a wrong number cannot invent minutes of it."""
WINDOW_MS = 1000
"""So much audio has to agree that time has passed: more than any burst in which messages are sent."""
WINDOW_MESSAGES_MAX = 256

_Offsets = deque[tuple[float, float]]
"""How much audio there was, and how far the stamps were ahead of it."""


class MediaClock:
    """One for each stream of a caller. All times are milliseconds, each kind on a clock of its own."""

    __slots__ = ("_audio_ms", "_base_ms", "_highest", "_invented_ms", "_lowest", "_silence_ms")

    def __init__(self) -> None:
        self._audio_ms = 0.0
        self._silence_ms = 0.0
        self._invented_ms = 0.0
        self._base_ms: float | None = None
        self._lowest, self._highest = _Offsets(maxlen=WINDOW_MESSAGES_MAX), _Offsets(maxlen=WINDOW_MESSAGES_MAX)
        """Of the offsets in the window those that are lower, or higher, than all that came later: the first is the
        lowest, or the highest, of them all. Of stamps that march in step it is one."""

    def place(self, stamp_ms: float, duration_ms: float, missing: int = 0) -> float:
        """Take the next message in order, before which `missing` are missing; return how much silence goes before it.

        `stamp_ms` is the time of its first sample as its sender says, or the time of its arrival.
        """
        hole_ms = missing * duration_ms - self._invented_ms
        self._invented_ms = 0.0
        fill_ms = min(hole_ms, MAX_FILL_MS) if hole_ms >= MIN_GAP_MS else 0.0
        if self._base_ms is None:
            self._silence_ms = 0.0  # before the first message nothing could be late
        self._silence_ms += fill_ms
        self._note_offset(stamp_ms - self._audio_ms)
        self._audio_ms += duration_ms
        return fill_ms

    def note_invented(self, silence_ms: float) -> None:
        """Silence was put in because nothing came. It also fills the hole before the next message, if there is one."""
        self._invented_ms += silence_ms
        self._silence_ms += silence_ms

    def note_left_out(self, silence_ms: float) -> None:
        """So much of a pause was left out, to make up for a surplus."""
        self._silence_ms -= silence_ms

    @property
    def surplus_ms(self) -> float:
        """Silence that was put in beyond the time that may have passed without audio; 0 or more."""
        if self._base_ms is None or self._silence_ms <= 0:
            return 0.0
        passed_at_most_ms = self._highest[0][1] - self._base_ms
        return max(0.0, self._silence_ms - passed_at_most_ms)

    def _note_offset(self, offset_ms: float) -> None:
        """`offset_ms`: how far the stamps are ahead of the audio. It grows by the time that passes without audio."""
        lowest, highest = self._lowest, self._highest
        while lowest and lowest[-1][1] >= offset_ms:
            lowest.pop()
        while highest and highest[-1][1] <= offset_ms:
            highest.pop()
        for offsets in (lowest, highest):
            offsets.append((self._audio_ms, offset_ms))
            while offsets[0][0] < self._audio_ms - WINDOW_MS:
                offsets.popleft()
        if self._base_ms is None or offset_ms < self._base_ms:
            self._base_ms = offset_ms
        if offset_ms - self._base_ms > self._silence_ms:
            # Time that has passed, by all stamps, and in whose place there is no silence, is let go.
            passed_ms = lowest[0][1] - self._base_ms
            self._base_ms += max(0.0, passed_ms - self._silence_ms)
