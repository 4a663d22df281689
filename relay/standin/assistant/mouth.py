"""The mouth turns what the assistant says into messages of audio, in real time."""

from dataclasses import dataclass, field

from relay.media.frames import AudioFormat
from relay.standin.assistant.chunks import Chunks


@dataclass(slots=True, eq=False)
class Utterance:
    """One thing said: `data` in the call's format, and the byte of the stream at which it begins.

    A cut shortens `data`; `whole_bytes` keeps the length that the words of `text` are spread over.
    """

    turn: int
    text: str
    data: bytes
    begins_at_byte: int = 0
    whole_bytes: int = field(init=False)

    def __post_init__(self) -> None:
        self.whole_bytes = len(self.data)

    @property
    def ends_at_byte(self) -> int:
        """The byte of the stream behind it."""
        return self.begins_at_byte + len(self.data)

    def words_by(self, stream_byte: float) -> str:
        """The words spoken when the stream has come so far, taking all words as equally long."""
        spoken_bytes = min(stream_byte, self.ends_at_byte) - self.begins_at_byte
        done = max(0.0, spoken_bytes / max(1, self.whole_bytes))
        words = self.text.split()
        return " ".join(words[: int(done * len(words) + 1e-9)])  # rounding must not cost a word


class Mouth:
    """A source of bytes in real time: utterances one after the other, and silence between them (or nothing).

    Two places in the stream count: how far it should be by now (`clock_bytes`), and how much has left. That may be
    less, as a message is not full yet, or more, after a burst. With `burst`, an utterance leaves as fast as it is asked
    for, and the stream then rests until its clock has caught up. `background` is played, over and over, in the place of
    silence. Times are seconds on one monotonic clock; before `open(now_s)` nothing is due.
    """

    def __init__(
        self,
        form: AudioFormat,
        chunks: Chunks,
        *,
        silence: bool = True,
        burst: bool = False,
        background: bytes = b"",
    ) -> None:
        self._form = form
        self._chunks = chunks
        self._silence = silence
        self._burst = burst
        self._background = background or form.silent_frame
        self._opened_s: float | None = None
        self._sent_bytes = 0
        self._next_bytes = chunks.next_bytes()
        self._queue: list[Utterance] = []
        self.muted = False

    def open(self, now_s: float) -> None:
        """The stream begins now."""
        self._opened_s = now_s

    @property
    def utterance(self) -> Utterance | None:
        """What is being said now, until the clock (not the last byte sent) has passed its end."""
        return self._queue[0] if self._queue else None

    def clock_bytes(self, now_s: float) -> int:
        """How far the stream should be by now, in whole samples."""
        if self._opened_s is None:
            return 0
        elapsed = int((now_s - self._opened_s) * self._form.rate_hz + 1e-6)
        return max(0, elapsed) * self._form.block_bytes

    def say(self, turn: int, text: str, data: bytes, now_s: float) -> Utterance:
        """Queue `data` behind what is being said; it begins on a sample boundary, not before `now_s`."""
        utterance = Utterance(turn, text, data)
        if self._queue:
            utterance.begins_at_byte = self._queue[-1].ends_at_byte
        else:
            begins = max(self.clock_bytes(now_s), self._sent_bytes)
            utterance.begins_at_byte = -(-begins // self._form.block_bytes) * self._form.block_bytes
        self._queue.append(utterance)
        return utterance

    def finished(self, now_s: float) -> Utterance | None:
        """The utterance that is over by now, if one is; it leaves the queue."""
        if not self._queue or min(self.clock_bytes(now_s), self._sent_bytes) < self._queue[0].ends_at_byte:
            return None
        return self._queue.pop(0)

    def cut(self, now_s: float, lag_ms: float) -> None:
        """Stop what is being said `lag_ms` from now, and forget what is queued behind it.

        What has left already cannot be taken back; a stream that ran ahead begins anew from now.
        """
        if not self._queue:
            return
        current = self._queue[0]
        lag_bytes = int(lag_ms * self._form.rate_hz / 1000) * self._form.block_bytes
        ends = max(self.clock_bytes(now_s) + lag_bytes, 0 if self._burst else self._sent_bytes)
        # Rounded up to a whole sample: half of one would shift all that follows by a byte.
        whole = -(-(ends - current.begins_at_byte) // self._form.block_bytes) * self._form.block_bytes
        current.data = current.data[: max(0, whole)]
        del self._queue[1:]
        if self._burst:
            self._sent_bytes = min(self._sent_bytes, current.ends_at_byte)

    def due(self, now_s: float) -> list[bytes]:
        """The messages that are to leave now."""
        out: list[bytes] = []
        while self._sent_bytes + self._next_bytes <= self._may_send_until(now_s):
            data = self._take(self._next_bytes)
            if data:
                out.append(data)
            self._next_bytes = self._chunks.next_bytes()
        return out

    def _may_send_until(self, now_s: float) -> int:
        """The byte up to which messages may leave; in a burst up to one that holds the end of what is said."""
        clock = self.clock_bytes(now_s)
        if self._burst and self._queue and clock >= self._queue[0].begins_at_byte:
            return max(clock, self._queue[-1].ends_at_byte + self._next_bytes - 1)
        return clock

    def _take(self, n_bytes: int) -> bytes:
        """The next bytes of the stream: speech where there is some, silence elsewhere (or nothing at all)."""
        position, end = self._sent_bytes, self._sent_bytes + n_bytes
        self._sent_bytes = end
        out = bytearray()
        for utterance in self._queue:
            lead = min(end, utterance.begins_at_byte) - position
            if lead > 0:
                out += self._still(position, lead) if self._silence else b""
                position += lead
            inside = utterance.data[position - utterance.begins_at_byte : end - utterance.begins_at_byte]
            out += self._still(position, len(inside)) if self.muted else inside
            position += len(inside)
        if self._silence:
            out += self._still(position, end - position)
        return bytes(out)

    def _still(self, position: int, n_bytes: int) -> bytes:
        """What is heard at this place of the stream where nobody speaks."""
        offset = position % len(self._background)
        rounds = (offset + n_bytes) // len(self._background) + 1
        return (self._background * rounds)[offset : offset + n_bytes]
