"""Takes what a browser sends: puts it in order, checks it, and brings it to the call's format and one time line.

The order, the numbers and the time line belong to the session: the connection a message came by does not matter. A
message that cannot be used is told to the client by `complain`, with a code of a closed set; the session goes on.
"""

from collections.abc import Callable

from relay.call.caller.leg import CallerAudio, CallerEvent, Dropped
from relay.logic.browser.rate_check import RateCheck, WrongRate
from relay.logic.caller.reorder import ReorderBuffer, ReorderStatistics
from relay.logic.rate_limit import RateLimit
from relay.media.frames import WIDEBAND, Audio, AudioFormat
from relay.media.transcode import Transcoder
from relay.wire.browser import BrowserCode, ClientAudio

AHEAD_PER_S_MS = 4_000.0
"""A backlog may come this many times faster than it was spoken, after `AHEAD_BURST_MS` at any speed."""
AHEAD_BURST_MS = 30_000.0
COMPLAIN_EVERY_S = 1.0
SEQUENCE_MODULUS = 2**32

Complain = Callable[[str, str], None]


class BrowserUplink:
    """The microphone of one session, whose numbers begin with `first`. Plain object; times are monotonic seconds."""

    def __init__(self, target: AudioFormat, reorder_ms: float, complain: Complain, *, first: int = 1) -> None:
        self._target = target
        self._complain = complain
        self._reorder = ReorderBuffer[ClientAudio](reorder_ms, first=first)
        self._flow = RateLimit(per_s=AHEAD_PER_S_MS, burst=AHEAD_BURST_MS)
        self._complained_at: dict[str, float] = {}
        self._transcoder: Transcoder | None = None
        self._spoken = Transcoder(WIDEBAND, target)
        self._rate = RateCheck(target.rate_hz)
        self._wrong_rate_told: AudioFormat | None = None
        self.next = first
        """The sequence number that is wanted next: everything before it was taken or given up."""

    @property
    def deadline(self) -> float | None:
        """When `expire` has something to do."""
        return self._reorder.next_deadline

    def statistics(self) -> ReorderStatistics:
        return self._reorder.statistics()

    def take(self, audio: ClientAudio, now: float, *, resent: bool) -> list[CallerEvent]:
        """A message; returns what is in order now. `resent`: one that was taken before may come again without harm."""
        duration_ms = audio.format.duration_ms(len(audio.data))
        if not self._flow.allow("", now, duration_ms):
            self._tell(BrowserCode.TOO_FAST, "audio comes many times faster than real time: it is dropped", now)
            return [Dropped("overflow")]
        if audio.sequence is None:
            return [self._convert(audio, now)]
        if not resent and self._is_past(audio.sequence):
            wanted = f"message {audio.sequence} came when {self.next} was next"
            self._tell(BrowserCode.SEQUENCE_BACKWARDS, f"{wanted}: it is dropped; a sequence only rises", now)
        pushed = self._reorder.push(audio.sequence, audio, now)
        released = self._release(pushed.ready, now)
        if pushed.dropped:
            released.append(Dropped(pushed.dropped))
        return released

    def expire(self, now: float) -> list[CallerEvent]:
        """What is in order once gaps whose time is over are given up."""
        return self._release(self._reorder.expire(now), now)

    def speak(self, pcm: bytes, now: float) -> CallerAudio:
        """Audio at 16 kHz that comes beside what the client's microphone sends; it follows what came before."""
        return CallerAudio(None, self._spoken.push(Audio(WIDEBAND, pcm)).data, now)

    def interrupted(self) -> None:
        """The client has another connection: how fast its audio came by the old one says nothing any more."""
        self._rate.interrupted()

    def _is_past(self, sequence: int) -> bool:
        return 0 < (self.next - sequence) % SEQUENCE_MODULUS < SEQUENCE_MODULUS // 2

    def _release(self, ready: list[ClientAudio], now: float) -> list[CallerEvent]:
        released: list[CallerEvent] = []
        for audio in ready:
            assert audio.sequence is not None
            missing = (audio.sequence - self.next) % SEQUENCE_MODULUS
            if missing:
                self._rate.interrupted()
            self.next = (audio.sequence + 1) % SEQUENCE_MODULUS
            released.append(self._convert(audio, now, missing))
        return released

    def _convert(self, audio: ClientAudio, now: float, missing: int = 0) -> CallerAudio:
        if self._transcoder is None or self._transcoder.source != audio.format:
            self._transcoder = Transcoder(audio.format, self._target)
            self._rate = RateCheck(audio.format.rate_hz)
        duration_ms = audio.format.duration_ms(len(audio.data))
        if (wrong := self._rate.note(audio.ms, duration_ms, now)) is not None:
            self._tell_wrong_rate(audio.format, wrong, now)
        data = self._transcoder.push(Audio(audio.format, audio.data)).data
        return CallerAudio(audio.ms, data, now, missing)

    def _tell_wrong_rate(self, declared: AudioFormat, wrong: WrongRate, now: float) -> None:
        if self._wrong_rate_told == declared:
            return
        self._wrong_rate_told = declared
        seen = f"audio declared as {wrong.declared_hz} Hz comes as if it were about {wrong.likely_hz} Hz"
        todo = "say the true sampleRate in start, or find what delays it"
        self._tell(BrowserCode.WRONG_RATE, f"{seen} ({wrong.measured_hz} Hz measured): {todo}", now)

    def _tell(self, code: str, what: str, now: float) -> None:
        if now - self._complained_at.get(code, -COMPLAIN_EVERY_S) >= COMPLAIN_EVERY_S:
            self._complained_at[code] = now
            self._complain(code, what)
