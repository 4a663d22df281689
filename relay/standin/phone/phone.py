"""A telephone for programs dials a relay as Twilio would, and can speak, listen, press keys and hang up."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import trio

from relay.standin.phone.lips import Lips, Saying
from relay.standin.phone.media import MediaStream
from relay.standin.phone.player import RATE_HZ, Player
from relay.standin.phone.result import PhoneResult
from relay.standin.phone.stream import Clock
from relay.standin.phone.webhooks import RetryOn
from relay.standin.sound import lay_out, mulaw_to_samples, write_wav

_HANG_UP_S = 5.0

PhoneEventKind = Literal["stream.started", "stream.ended", "clear", "warning"]


@dataclass(frozen=True, slots=True)
class PhoneEvent:
    """Something happened on the media stream. `at_s` is on trio's clock."""

    at_s: float
    kind: PhoneEventKind
    detail: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PhoneOptions:
    """auth_token: signs what Twilio signs (None: nothing is signed). public_url: what the relay calls itself, by
    default the URL dialled. fallback: a document that Twilio holds itself (a TwiML Bin), obeyed, once, when a webhook
    or its document fails ("Primary handler fails" of the number). on_event: called, synchronously, as things happen.
    retry_on, read_timeout_s: the account's policy for its webhooks: what else is tried once more, and how long an
    answer may take. clock: of the media messages' time stamps (see `StreamMessages`). swap_every: each so many frames
    of the caller, one leaves behind the one that follows it (0: never). dial_status, dial_s: what comes of a
    `<Dial>`, in Twilio's words, and how long that takes."""

    auth_token: str | None = field(default=None, repr=False)
    public_url: str | None = None
    account_sid: str = "AC" + "0" * 31 + "1"
    from_number: str = "+15005550006"
    to_number: str = "+15005550001"
    fallback: str | None = None
    on_event: Callable[[PhoneEvent], None] | None = None
    retry_on: frozenset[RetryOn] = frozenset()
    read_timeout_s: float = 15.0
    clock: Clock = "live"
    swap_every: int = 0
    dial_status: str = "completed"
    dial_s: float = 0.0


@dataclass(slots=True)
class Phone:
    """One call. Times are on trio's clock; `placed_s` is when it was dialled, and where its recording begins.

    `streams`: one for each media stream that was tried. `dialled`: to whom the caller was connected. `steps`: what the
    operator did. `troubles`: what went wrong. `end`: why the call ended, as in `PhoneResult`; None while it goes on.
    """

    options: PhoneOptions
    call_sid: str
    placed_s: float
    lips: Lips
    streams: list[MediaStream] = field(default_factory=list)
    dialled: list[str] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    end: str | None = None
    ended_s: float | None = None
    last_audible_s: float | None = None
    _current: MediaStream | None = None
    _lines_told: int = 0
    _audible_ms: float = 0.0
    _changed: trio.Event = field(default_factory=trio.Event)
    _ended: trio.Event = field(default_factory=trio.Event)
    _scope: trio.CancelScope = field(default_factory=trio.CancelScope)

    # What was heard and said

    @property
    def players(self) -> list[Player]:
        """One for each stream of the call so far: the log of its messages, clears, underruns, warnings."""
        return [stream.player for stream in self.streams]

    @property
    def heard_audible_ms(self) -> float:
        """How much the caller has heard, silence left out."""
        return sum(player.audible_ms for player in self.players)

    @property
    def heard_level_dbfs(self) -> float:
        """Of the last 20 ms."""
        return self.players[-1].level_dbfs if self._current is not None else -100.0

    @property
    def is_streaming(self) -> bool:
        return self._current is not None

    def write_wav(self, path: Path) -> None:
        """Left: what the caller said; right: what the caller heard."""
        pieces = [(player.started_s - self.placed_s, mulaw_to_samples(player.heard)) for player in self.players]
        write_wav(path, RATE_HZ, mulaw_to_samples(self.lips.said), lay_out(pieces, RATE_HZ))

    def result(self) -> PhoneResult:
        """What the call has come to so far."""
        players = self.players
        clears = [clear for player in players for clear in player.clears]
        returned = [line for player in players for line in player.log if line.kind == "mark-returned"]
        cleared = sum(clear.marks for clear in clears)
        underruns = [underrun for player in players for underrun in player.underruns]
        until_s = trio.current_time() if self.ended_s is None else self.ended_s
        return PhoneResult(
            call_sid=self.call_sid,
            end=self.end or "in-progress",
            duration_s=round(until_s - self.placed_s, 3),
            steps=list(self.steps),
            dialled=list(self.dialled),
            streams=sum(stream.opened for stream in self.streams),
            said_ms=round(len(self.lips.said) * 1000 / RATE_HZ, 1),
            heard_ms=round(self.heard_audible_ms, 1),
            clears=[{"at_s": self._since(c.at_s), "cleared_ms": c.cleared_ms, "marks": c.marks} for c in clears],
            marks_returned=len(returned) - cleared,
            marks_cleared=cleared,
            underruns=[{"at_s": self._since(u.at_s), "gap_ms": round(u.gap_ms, 1)} for u in underruns],
            warnings=[*self.troubles, *(line.detail for player in players for line in player.warnings)],
        )

    def _since(self, at_s: float) -> float:
        return round(at_s - self.placed_s, 3)

    # What the caller does

    async def say(self, mulaw: bytes) -> Saying:
        """Speak, after what is being said already; returns when the last frame has left (or the call has ended)."""
        saying = self.start_saying(mulaw)
        await self.wait_until(lambda: saying.ended_s is not None)
        return saying

    def start_saying(self, mulaw: bytes) -> Saying:
        """Like `say`, without waiting."""
        return self.lips.say(mulaw)

    async def send_dtmf(self, digit: str) -> None:
        """Press a key. `RuntimeError` when no stream is open."""
        if self._current is None:
            raise RuntimeError("no stream is open")
        self._current.digits.append(digit)
        self._current.changed.set()
        await trio.lowlevel.checkpoint()

    async def hang_up(self) -> None:
        """End the call as a caller does: `stop`, then the socket is closed. Returns when it is over."""
        if self.end is None:
            self.end = "caller_hangup"
            if self._current is None:
                self._scope.cancel("the caller hung up")
            else:
                self._current.ask("hang-up")
        with trio.move_on_after(_HANG_UP_S):
            await self._ended.wait()
        self._scope.cancel("the caller hung up")

    def drop(self) -> None:
        """Lose the media socket by a TCP reset; Twilio then goes on with the next verb. Nothing without a stream."""
        if self._current is not None:
            self._current.ask("drop")

    def leave_stream(self) -> None:
        """Have the account's other program use the live call: `stop`, and the call goes on with the next verb. Nothing
        without a stream."""
        if self._current is not None:
            self._current.ask("stop")

    async def wait_until(self, holds: Callable[[], bool], timeout_s: float = 600.0) -> bool:
        """Whether `holds()` came true, looked at each time something is said, heard or received, before the call
        ended. `trio.TooSlowError` after `timeout_s`."""
        with trio.fail_after(timeout_s):
            while not holds():
                if self._ended.is_set():
                    return False
                await self._changed.wait()
            return True

    async def wait_heard(self, audible_ms: float, timeout_s: float = 60.0) -> bool:
        """Until so much more audible audio was heard than when this was called; otherwise as `wait_until`."""
        goal_ms = self.heard_audible_ms + audible_ms
        return await self.wait_until(lambda: self.heard_audible_ms >= goal_ms, timeout_s)

    async def wait_quiet(self, quiet_ms: float, timeout_s: float = 60.0) -> bool:
        """Until nothing audible was heard for so long, counted from now at the earliest; otherwise as `wait_until`."""
        from_s = trio.current_time()

        def is_quiet() -> bool:
            return trio.current_time() - max(from_s, self.last_audible_s or 0.0) >= quiet_ms / 1000

        return await self.wait_until(is_quiet, timeout_s)

    async def wait_streaming(self, timeout_s: float = 15.0) -> bool:
        """Until a media stream is open; returns and raises as `wait_until`."""
        return await self.wait_until(lambda: self.is_streaming, timeout_s)

    async def wait_ended(self) -> None:
        """Until the call is over."""
        await self._ended.wait()

    # What the operator tells it

    def tell(self, kind: PhoneEventKind, **detail: Any) -> None:
        """Call `on_event`, and wake whoever waits for something."""
        if self.options.on_event is not None:
            self.options.on_event(PhoneEvent(trio.current_time(), kind, detail))
        self.news()

    def news(self) -> None:
        """Wake whoever waits for something."""
        self._changed.set()
        self._changed = trio.Event()

    def begin_stream(self, stream: MediaStream) -> None:
        """Its socket is open."""
        self._current = stream
        self._lines_told, self._audible_ms = 0, 0.0
        stream.opened = True
        self.tell("stream.started")

    def end_stream(self, how: str) -> None:
        """The stream is over; `how` is a `StreamEnd`."""
        self._current = None
        self.tell("stream.ended", how=how)

    def listen(self) -> None:
        """Tell what is new: something was sent, played or received on the current stream."""
        stream = self._current
        if stream is None:
            return
        for line in stream.player.log[self._lines_told :]:
            if line.kind in ("clear", "warning"):
                self.tell(line.kind, detail=line.detail, n_bytes=line.n_bytes)
        self._lines_told = len(stream.player.log)
        if stream.player.audible_ms > self._audible_ms:
            self.last_audible_s = trio.current_time()
        self._audible_ms = stream.player.audible_ms
        self.news()

    async def live(self, connect_call: Callable[[], Awaitable[str]]) -> None:
        """The whole call, until it ends or is cancelled. `connect_call` answers why it ended."""
        with self._scope:
            end = await connect_call()
            self.end = self.end or end
        self.end = self.end or "caller_hangup"
        self.ended_s = trio.current_time()
        self._ended.set()
        self.news()
