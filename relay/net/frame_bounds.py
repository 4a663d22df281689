"""Bounds on the frames of one WebSocket (RFC 6455): how long a message may be, and how fast frames are taken.

It reads the heads of the frames as they pass, and does no I/O. A message that is too long is a breach, at which the
connection ends, and so is what is no frame. Frames that come too fast are no breach, because a network that stood still
delivers them so: they are taken later, and meanwhile TCP makes the sender wait.
"""

from dataclasses import dataclass

from relay.net.link.pace import FrameRates

FRAMES_PER_TURN = 4
"""A library has some 25 us of work with each, within which nobody else has a turn."""
FRAGMENTS_MAX = 4096
"""Of one message: one of 8 MiB in the pieces of 4 KiB that some libraries make has half of them."""

_CONTINUATION = 0
_DATA_FRAMES = frozenset((0, 1, 2, 0x80, 0x81, 0x82))
_CONTROL_FRAMES = frozenset((0x88, 0x89, 0x8A))
"""The first byte of a head: no other opcodes are known, no extension is ever agreed to, and no control frame is a
fragment."""
_LENGTH_16, _LENGTH_64 = 126, 127
_HEAD_MAX_BYTES = 14


@dataclass(frozen=True, slots=True)
class Breach:
    """Why a connection ends: a close code (RFC 6455, 7.4.1), and its reason."""

    code: int
    reason: str


NO_FRAME = Breach(1002, "not a WebSocket frame")
TOO_LONG = Breach(1009, "message too long")
TOO_MANY_FRAGMENTS = Breach(1008, "message in too many fragments")


class FrameBounds:
    """For one direction of one WebSocket, from the first byte behind the handshake on. Times are monotonic seconds.

    Bytes go in by `feed` and come out by `take`, unchanged.
    """

    def __init__(self, message_max_bytes: int, rates: FrameRates) -> None:
        self.breach: Breach | None = None
        """Set when `take` has returned the head of a frame that goes too far, or what is no head. That was the last."""
        self._message_max_bytes = message_max_bytes
        self._rates = rates
        self._due_s = float("-inf")
        self._data = b""
        self._at = 0
        self._payload_left = 0
        self._announced_bytes = 0
        self._fragments = 0

    @property
    def is_empty(self) -> bool:
        """Whether `take` has given everything."""
        return self._at == len(self._data)

    @property
    def due_s(self) -> float:
        """From when on `take` gives anything."""
        return self._due_s

    def change_rates(self, rates: FrameRates) -> None:
        """From now on other rates hold, as after a pause."""
        self._rates = rates
        self._due_s = float("-inf")

    def feed(self, data: bytes) -> None:
        """Add what was received. Only to be called when `take` has given all that is due."""
        self._data = self._data[self._at :] + data if self._at < len(self._data) else data
        self._at = 0

    def take(self, now_s: float) -> bytes:
        """What to hand on next: whole heads of at most FRAMES_PER_TURN frames, with as much of their payload as is
        there. Empty when more has to be received, or to be waited for until `due_s`."""
        data, begin = self._data, self._at
        if self.breach is not None or now_s < self._due_s or begin == len(data):
            return b""
        at = self._pass_payload(begin)
        frames = controls = 0
        while frames + controls < FRAMES_PER_TURN and (payload_at := _end_of_head(data, at)):
            if breach := self._judge(data, at):
                if at == begin:
                    self.breach, self._data = breach, b""
                    return data[at:payload_at]
                break
            if data[at] in _CONTROL_FRAMES:
                controls += 1
            else:
                frames += 1
            at = self._pass_payload(payload_at)
        self._at = at
        self._charge(now_s, frames, controls, at - begin)
        return data if at - begin == len(data) else data[begin:at]

    def _pass_payload(self, at: int) -> int:
        step = min(self._payload_left, len(self._data) - at)
        self._payload_left -= step
        return at + step

    def _judge(self, data: bytes, at: int) -> Breach | None:
        """Count the frame whose head begins at `at`, unless it goes too far."""
        if not _is_head(data, at):
            return NO_FRAME
        length = _payload_length(data, at)
        if data[at] in _DATA_FRAMES:
            continues = data[at] & 0x0F == _CONTINUATION
            announced = self._announced_bytes + length if continues else length
            fragments = self._fragments + 1 if continues else 1
            if announced > self._message_max_bytes:
                return TOO_LONG
            if fragments > FRAGMENTS_MAX:
                return TOO_MANY_FRAGMENTS
            self._announced_bytes, self._fragments = announced, fragments
        self._payload_left = length
        return None

    def _charge(self, now_s: float, frames: int, controls: int, n_bytes: int) -> None:
        rates = self._rates
        cost_s = frames / rates.frames_per_s + controls / rates.controls_per_s + n_bytes / rates.bytes_per_s
        self._due_s = max(self._due_s, now_s - rates.burst_s) + cost_s


def _is_head(data: bytes, at: int) -> bool:
    """Whether a head may begin with these two bytes (RFC 6455, 5.2 and 5.5)."""
    return data[at] in _DATA_FRAMES or (data[at] in _CONTROL_FRAMES and data[at + 1] & 0x7F < _LENGTH_16)


def _end_of_head(data: bytes, at: int) -> int:
    """Where the payload begins of the frame whose head begins at `at`; 0 while the head is not there whole.

    What is no head ends with what is there of it: its reader would wait for more in vain.
    """
    if at + 2 > len(data):
        return 0
    if not _is_head(data, at):
        return min(at + _HEAD_MAX_BYTES, len(data))
    end = at + _HEAD_BYTES[data[at + 1]]
    return end if end <= len(data) else 0


def _payload_length(data: bytes, at: int) -> int:
    short = data[at + 1] & 0x7F
    if short < _LENGTH_16:
        return short
    return int.from_bytes(data[at + 2 : at + (4 if short == _LENGTH_16 else 10)], "big")


def _head_bytes(second: int) -> int:
    """How long a head is, by its second byte: a bit for the mask, and a length that may continue (RFC 6455, 5.2)."""
    more_length = {_LENGTH_16: 2, _LENGTH_64: 8}.get(second & 0x7F, 0)
    return 2 + more_length + (4 if second & 0x80 else 0)


_HEAD_BYTES = tuple(_head_bytes(second) for second in range(256))
