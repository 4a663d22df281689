"""The load of a soak: calls of `relay bench` that talk on and on, of which one after the other loses a socket or ends.

Some calls are steady: nothing happens to them, so that what their assistants hear can be held against the clock.
"""

import random
import socket
import time
from collections import deque

from relay.bench.assistant import AssistantListener, LoadAssistant
from relay.bench.caller import SETUP_TIMEOUT_S, LoadCaller, SetupFailed
from relay.bench.load import RAMP_S, offsets
from relay.bench.reactor import Reactor
from relay.bench.sounds import caller_track, reference
from relay.config import ReconnectConfig

RULES = ReconnectConfig()
STEADY_CALLS = 5
AWAY_S = 0.2
"""How long a caller's stream is gone before Twilio asks what to do."""
BYTES_PER_MS = 32
"""Of what the assistants hear: 16 kHz, 16 bits, mono."""


class SoakCall:
    """A call whose caller and assistant may be replaced. It says where its caller is in the track."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.caller: LoadCaller | None = None
        self.assistant: LoadAssistant | None = None
        self.heard_since = 0.0
        self._away_at: deque[float] = deque(maxlen=RULES.reattach_attempts)

    def may_go_away(self, now: float) -> bool:
        """Whether its caller's stream may be cut once more: the relay takes one back only so often. Counts it if so."""
        is_often = len(self._away_at) == self._away_at.maxlen
        if is_often and now <= self._away_at[0] + RULES.reattach_window_s + AWAY_S:
            return False
        self._away_at.append(now)
        return True

    @property
    def place(self) -> int:
        """The frame of the track that is said next."""
        return self.caller.place if self.caller else 0

    @property
    def lost(self) -> bool:
        """Whether a socket is gone that we have not cut."""
        return self.lost_assistant or bool(self.caller and self.caller.lost)

    @property
    def lost_assistant(self) -> bool:
        """Whether that of its assistant is."""
        return bool(self.assistant and self.assistant.lost)

    def drift_ms(self) -> float:
        """By how much what the assistant has heard is longer than the time since it was connected."""
        assert self.assistant is not None
        return self.assistant.heard_bytes / BYTES_PER_MS - (time.monotonic() - self.heard_since) * 1000


class SoakLoad:
    """`calls` at a time with the relay on `port`; the assistants listen on `listener`. `cuts` counts what was done."""

    def __init__(self, port: int, listener: socket.socket, calls: int, seed: int = 1) -> None:
        self.reactor = Reactor()
        self.lost = 0
        self.cuts = {"caller": 0, "assistant": 0, "call": 0}
        self._port = port
        self._random = random.Random(seed)
        self._track = caller_track()
        self._reference = reference("pcm")
        self._waiting: deque[SoakCall] = deque()
        self._numbers = 0
        self._kinds = deque(self.cuts)
        self.calls: list[SoakCall] = []
        AssistantListener(listener, self.reactor, self._attach)
        for _ in range(calls):
            self.calls.append(self._place())

    def drifts_ms(self) -> list[float]:
        """Of the steady calls."""
        return [call.drift_ms() for call in self.calls[:STEADY_CALLS] if not call.lost]

    def look(self) -> None:
        """Count sockets that are gone, replace their calls, and forget when each frame was sent."""
        for place, call in enumerate(self.calls):
            assert call.caller is not None
            call.caller.record.sent.clear()
            call.caller.record.clears.clear()
            if call.lost:
                self.lost += 1
                self._part(call)
                self.calls[place] = self._place()

    def cut(self) -> None:
        """The next thing that can happen, to a call that is not steady. Raises SetupFailed: it did not come back."""
        self._kinds.rotate(-1)
        kind = self._kinds[0]
        place = self._random.randrange(min(STEADY_CALLS, len(self.calls) - 1), len(self.calls))
        call = self.calls[place]
        if kind == "caller" and not call.may_go_away(time.monotonic()):
            kind = "call"
        self.cuts[kind] += 1
        match kind:
            case "caller":
                self._cut_caller(call)
            case "assistant":
                self._cut_assistant(call)
            case _:
                self._part(call)
                self.calls[place] = self._place()

    def _place(self) -> SoakCall:
        call = SoakCall(self._numbers)
        self._numbers += 1
        self._listen(call)
        self._dial(call, "/twilio/voice")
        self._await_assistant(call)
        self.reactor.run_until(time.monotonic() + RAMP_S)
        return call

    def _dial(self, call: SoakCall, path: str) -> None:
        offset, _ = offsets(call.number, self._track)
        said = call.caller.frames_sent if call.caller else 0
        offset = (offset + said) % len(self._track.frames)
        call.caller = LoadCaller(call.number, self._port, self._track, offset, sampled=False)
        call.caller.dial(self.reactor, path)

    def _listen(self, call: SoakCall) -> None:
        _, at = offsets(call.number, self._track)
        call.assistant = LoadAssistant(call, self._track, self._reference, at, sampled=False)
        self._waiting.append(call)

    def _await_assistant(self, call: SoakCall) -> None:
        assistant = call.assistant
        assert assistant is not None
        if not self.reactor.run_until(time.monotonic() + SETUP_TIMEOUT_S, lambda: assistant.connected):
            raise SetupFailed(f"call {call.number}: the relay did not connect to the assistant")

    def _attach(self, sock: socket.socket, early: bytes) -> None:
        if not self._waiting and (left := next((call for call in self.calls if call.lost_assistant), None)):
            self.lost += 1
            self._listen(left)
        if not self._waiting:
            sock.close()
            return
        call = self._waiting.popleft()
        assert call.assistant is not None
        call.heard_since = time.monotonic()
        call.assistant.attach(sock, self.reactor, early)

    def _cut_caller(self, call: SoakCall) -> None:
        assert call.caller is not None
        call.caller.drop()
        self.reactor.run_until(time.monotonic() + AWAY_S)
        self._dial(call, "/twilio/resume")

    def _cut_assistant(self, call: SoakCall) -> None:
        assert call.assistant is not None
        call.assistant.drop()
        self._listen(call)
        self._await_assistant(call)

    def _part(self, call: SoakCall) -> None:
        if call.caller is not None:
            call.caller.hang_up()
        self.reactor.run_until(time.monotonic() + AWAY_S)
        for peer in (call.caller, call.assistant):
            if peer is not None:
                peer.drop()
