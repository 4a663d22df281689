"""Checks that a client's audio has the rate that it declared: 48 kHz taken for 16 sounds three times too slow.

Two witnesses, because either may be silent or lie. Audio lasts `media` by the declared rate, and took `real` time:

| witness              | `real` is                    | says so when                                                   |
|----------------------|------------------------------|----------------------------------------------------------------|
| the header           | its milliseconds, the time   | over `HEADER_WINDOW_MS` of consecutive messages media / real   |
|                      | of the client's own clock    | is off by more than `HEADER_TOLERANCE`                         |
| the arrival          | our clock                    | in each of `PARTS` successive parts of `PART_S` it is off by   |
|                      |                              | more than `ARRIVAL_TOLERANCE`, to the same side                |

Only the arrival can say anything of a header that counts samples instead of time. It must not mistake a network for a
rate: a stall is a gap of more than `GAP_S`, behind which the measurement begins anew; a backlog comes at once, or at
worst until what was missing since the session began has come (`owed`), and that much is never held against the client.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

HEADER_WINDOW_MS = 1000
HEADER_TOLERANCE = 1.05
"""44.1 and 48 kHz are 1.088 apart; rounding to milliseconds is 0.2 % of the window."""
PAUSE_FACTOR = 12
PAUSE_MS = 200
"""A message that comes later than 12 times the length of the one before and this (96 kHz taken for 8, 8 for 96): the
client did not send for a while."""
PART_S = 0.5
PARTS = 3
ARRIVAL_TOLERANCE = 1.3
GAP_S = 0.3
START_OWED_MS = 1000
"""What a client may have recorded while it was still connecting."""
COMMON_RATES_HZ = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 88200, 96000)


@dataclass(frozen=True, slots=True)
class WrongRate:
    """The audio has not the rate that was declared. `likely_hz` is the common rate nearest to what was measured."""

    declared_hz: int
    measured_hz: int
    likely_hz: int


class RateCheck:
    """For one declared rate. Times are monotonic seconds."""

    def __init__(self, declared_hz: int) -> None:
        self._declared_hz = declared_hz
        self._header: deque[tuple[int, float]] = deque()
        self._header_media_ms = 0.0
        self._last_ms: int | None = None
        self._last_media_ms = 0.0
        self._began_at: float | None = None
        self._owed_ms = START_OWED_MS + 0.0
        self._last_at = 0.0
        self._part_began_at = 0.0
        self._part_media_ms = 0.0
        self._parts: deque[float] = deque(maxlen=PARTS)

    def note(self, ms: int | None, duration_ms: float, now: float) -> WrongRate | None:
        """One message of so much audio by the declared rate, in order; `ms` is its header's time, if it has one."""
        ratio = None if ms is None else self._by_header(ms, duration_ms)
        by_arrival = self._by_arrival(duration_ms, now)
        ratio = by_arrival if ratio is None else ratio
        if ratio is None:
            return None
        measured = self._declared_hz * ratio
        likely = min(COMMON_RATES_HZ, key=lambda rate: max(rate / measured, measured / rate))
        return WrongRate(self._declared_hz, round(measured), likely)

    def interrupted(self) -> None:
        """The message after this does not follow the one before: some are missing, or the connection is a new one."""
        self._forget_header()
        self._begin_part(self._last_at)

    def _by_header(self, ms: int, duration_ms: float) -> float | None:
        last, self._last_ms = self._last_ms, ms
        before_ms, self._last_media_ms = self._last_media_ms, duration_ms
        if last is not None and not 0 <= ms - last <= PAUSE_FACTOR * before_ms + PAUSE_MS:
            self._forget_header()
        self._header.append((ms, duration_ms))
        elapsed_ms = ms - self._header[0][0]
        ratio = None
        if elapsed_ms >= HEADER_WINDOW_MS:
            ratio = _off(self._header_media_ms / elapsed_ms, HEADER_TOLERANCE)
            self._header_media_ms -= self._header.popleft()[1]
        elif self._header_media_ms >= PAUSE_FACTOR * HEADER_WINDOW_MS:
            self._forget_header()  # milliseconds that stand still are no clock
            self._header.append((ms, duration_ms))
        self._header_media_ms += duration_ms
        return ratio

    def _forget_header(self) -> None:
        self._header.clear()
        self._header_media_ms = 0.0

    def _by_arrival(self, duration_ms: float, now: float) -> float | None:
        if self._began_at is None:
            self._began_at = self._last_at = self._part_began_at = now
        self._owed_ms += (now - self._last_at) * 1000
        gap_s, self._last_at = now - self._last_at, now
        if gap_s > GAP_S:
            self._begin_part(now)
        if now - self._part_began_at >= PART_S:
            self._parts.append(self._part_media_ms / ((now - self._part_began_at) * 1000))
            self._part_began_at, self._part_media_ms = now, 0.0
        self._part_media_ms += duration_ms
        self._owed_ms -= duration_ms
        return self._judge_parts()

    def _begin_part(self, now: float) -> None:
        self._parts.clear()
        self._part_began_at, self._part_media_ms = now, 0.0

    def _judge_parts(self) -> float | None:
        if len(self._parts) < PARTS:
            return None
        mean = sum(self._parts) / PARTS
        return mean if (_all_fast(self._parts) and self._owed_ms < 0) or _all_slow(self._parts) else None


def _all_fast(parts: Sequence[float]) -> bool:
    return all(ratio > ARRIVAL_TOLERANCE for ratio in parts)


def _all_slow(parts: Sequence[float]) -> bool:
    return all(ratio < 1 / ARRIVAL_TOLERANCE for ratio in parts)


def _off(ratio: float, tolerance: float) -> float | None:
    return None if 1 / tolerance <= ratio <= tolerance else ratio
