"""The load is a process of its own: `python -m relay.bench.load SPEC`, with the fields of `LoadSpec` as JSON.

Prints one JSON object, the fields of `LoadResult`; exit status 1 and a line on standard error if the relay did not take
the calls. The relay's CPU time and /metrics are read at both ends of the window.
"""

import gc
import socket
import sys
import time
from collections.abc import Iterable, Sequence

import msgspec

from relay.bench.assistant import AssistantListener, LoadAssistant, OnSocket
from relay.bench.caller import SETUP_TIMEOUT_S, LoadCaller, Refused, SetupFailed
from relay.bench.process import Snapshot, counted_between, cpu_s, quantile_between, rss_mb, scrape
from relay.bench.reactor import LATE_S, Reactor
from relay.bench.scores import Direction, SampleWindow, percentiles, score_barge_in, score_down, score_up
from relay.bench.sounds import CallerTrack, caller_track, reference

RAMP_S = 0.03
"""From one call to the next; a caller's number adds up to 19 ms, so that the frames of all spread over 20 ms."""
WARM_UP_S = 3.0
CATCH_UP_S = 0.5
"""What the load was late with while it waited for /metrics is over after this."""
DRAIN_S = 0.5
"""For audio that is under way, and for calls to end."""
SAMPLED_CALLS = 8
RING_EVERY_S = 0.25
"""Of callers who ring without end. The load waits for the answer, which is some milliseconds."""
_OFFSET_FRAMES = 367
"""7.34 s: how far apart two callers are in the loop of speech."""
_REFERENCE_OFFSET_FRAMES = 131


class LoadSpec(msgspec.Struct):
    """What a load is to do: how many calls for how long, with which audio to the assistant ("mulaw" or "pcm").

    relay_port, relay_pid: the relay under test. listener_fd: the inherited socket on which the assistants listen.
    target_ms, lead_ms: the relay's playout buffer, and the part of it that is sent ahead. echo_loss_db: of the echo on
    the line of every caller, if there is one. ringing: there are no `calls` to begin with, and callers ring for as long
    as the run takes; who is refused rings no more.
    """

    calls: int
    seconds: float
    audio: str
    relay_port: int
    relay_pid: int
    listener_fd: int
    target_ms: int
    lead_ms: int
    echo_loss_db: float | None = None
    ringing: bool = False


class DelayResult(msgspec.Struct):
    """`raw_ms` from socket to socket; `added_ms` without the configured playout buffer; `resampler_ms` of audio that is
    held back inside; `frames` were looked for, `lost` of them never came out."""

    added_ms: dict[str, float | None]
    raw_ms: dict[str, float | None]
    resampler_ms: float | None
    frames: int
    lost: int


class LoadResult(msgspec.Struct):
    """What a load has measured in its window: of the relay, of the calls, and of itself (`load_`).

    rss_before_mb: the relay's memory without a call. bargeins: interruptions that were answered by a `clear`,
    bargeins_missed: those that were not. dropped, invented: the relay's counters, by their labels. load_late: timers
    of the load that were over 5 ms late; when there are many, the run says little. taken, refused: how many calls there
    were, and how many rang in vain.
    """

    cpu_s: float
    wall_s: float
    rss_mb: float
    rss_before_mb: float
    up: DelayResult
    down: DelayResult
    bargein_ms: dict[str, float | None]
    bargeins: int
    bargeins_missed: int
    loop_lag_p99_ms: float | None
    vad_delay_ms: dict[str, float | None]
    dropped: dict[str, float]
    invented: dict[str, float]
    calls_lost: int
    load_late_p99_ms: float
    load_late: int
    load_cpu_percent: float
    taken: int
    refused: int


class LoadCalls:
    """Calls that are placed with a relay, on one reactor: their callers, their assistants, and how they are scored.

    The assistants listen on `listener`, which is owned from here on. `audio` is what they and the relay speak. A socket
    that none of them waits for is handed to `on_other`. With an echo, what comes up cannot be told apart and has no
    score.
    """

    def __init__(
        self,
        relay_port: int,
        listener: socket.socket,
        audio: str,
        reactor: Reactor,
        on_other: OnSocket = lambda sock, _: sock.close(),
        *,
        echo_loss_db: float | None = None,
    ) -> None:
        self._echo_loss_db = echo_loss_db
        self._relay_port = relay_port
        self._mulaw = audio == "mulaw"
        self._reactor = reactor
        self._on_other = on_other
        self._track = caller_track()
        self._reference = reference(audio)
        self._callers: list[LoadCaller] = []
        self._assistants: list[LoadAssistant] = []
        AssistantListener(listener, reactor, self._attach)

    @property
    def taken(self) -> int:
        """How many calls there are."""
        return len(self._callers)

    @property
    def lost(self) -> int:
        """How many sockets of callers and assistants were there and are gone."""
        return sum(caller.lost for caller in self._callers) + sum(one.lost for one in self._assistants)

    def place(self, number: int, *, sampled: bool) -> None:
        """Place a call; returns when its assistant is connected. Raises Refused, and SetupFailed."""
        offset, at = offsets(number, self._track)
        echo_loss_db = self._echo_loss_db
        caller = LoadCaller(number, self._relay_port, self._track, offset, sampled=sampled, echo_loss_db=echo_loss_db)
        assistant = LoadAssistant(caller, self._track, self._reference, at, sampled=sampled)
        next_at = time.monotonic() + RAMP_S
        self._assistants.append(assistant)  # before the relay dials it
        try:
            caller.dial(self._reactor)
        except Refused:
            self._assistants.remove(assistant)
            raise
        self._callers.append(caller)
        if not self._reactor.run_until(time.monotonic() + SETUP_TIMEOUT_S, lambda: assistant.connected):
            raise SetupFailed(f"call {number}: the relay did not connect to the assistant")
        self._reactor.run_until(next_at + number % 20 / 1000)

    def hang_up(self) -> None:
        """All callers hang up, and have a moment for it."""
        for caller in self._callers:
            caller.hang_up()
        self._reactor.run_until(time.monotonic() + DRAIN_S)

    def directions(
        self, windows: Sequence[SampleWindow], target_ms: int, numbers: Iterable[int]
    ) -> list[tuple[Direction, Direction]]:
        """The scores of these calls, up and down in each window: their places among those that were taken; they must be
        sampled. `target_ms`: the relay's playout buffer."""
        found = [(Direction(), Direction()) for _ in windows]
        up = [(window, one) for window, (one, _) in zip(windows, found, strict=True)]
        down = [(window, one) for window, (_, one) in zip(windows, found, strict=True)]
        for number in numbers:
            caller, assistant = self._callers[number], self._assistants[number].record
            if self._echo_loss_db is None:
                score_up(caller.record, assistant, self._track, caller.offset, into=up, mulaw=self._mulaw)
            score_down(caller.record, assistant, self._reference, target_ms, into=down, mulaw=True)
        return found

    def barge_ins(self, window: SampleWindow) -> tuple[list[float], int]:
        """See `score_barge_in`; of all calls."""
        answered: list[float] = []
        missed = 0
        for caller in self._callers:
            of_call, unanswered = score_barge_in(caller.record, self._track, caller.offset, window)
            answered += of_call
            missed += unanswered
        return answered, missed

    def _attach(self, sock: socket.socket, early: bytes) -> None:
        waiting = next((assistant for assistant in self._assistants if not assistant.connected), None)
        if waiting is None:  # the relay dials again, because it has lost one, or there are other calls
            self._on_other(sock, early)
        else:
            waiting.attach(sock, self._reactor, early)


class Load:
    """All calls of one run."""

    def __init__(self, spec: LoadSpec) -> None:
        self._spec = spec
        self._reactor = Reactor()
        listener = socket.socket(fileno=spec.listener_fd)
        self._calls = LoadCalls(spec.relay_port, listener, spec.audio, self._reactor, echo_loss_db=spec.echo_loss_db)
        self._refused = 0

    def run(self) -> LoadResult:
        """Raises SetupFailed."""
        spec = self._spec
        rss_before = rss_mb(spec.relay_pid)
        for number in range(spec.calls):
            self._calls.place(number, sampled=number in sampled(spec.calls))
        while self._spec.ringing and not (self._refused and self._calls.taken):
            self._ring()
        gc.freeze()  # what is there now stays: the collector need not look at it while it is measured
        self._run_until(time.monotonic() + WARM_UP_S - CATCH_UP_S)
        before = scrape(spec.relay_port)
        self._reactor.run_until(time.monotonic() + CATCH_UP_S)
        cpu_before, load_before = cpu_s(spec.relay_pid), time.process_time()
        self._reactor.measuring, start = True, time.monotonic()
        self._run_until(start + spec.seconds)
        cpu, window = cpu_s(spec.relay_pid) - cpu_before, SampleWindow(start, time.monotonic())
        self._reactor.measuring = False
        load_cpu = time.process_time() - load_before
        rss = rss_mb(spec.relay_pid)
        lost = self._calls.lost
        after = scrape(spec.relay_port)
        self._reactor.run_until(time.monotonic() + DRAIN_S)
        self._calls.hang_up()
        return self._result(window, (before, after), cpu=(cpu, load_cpu), rss=(rss_before, rss), calls_lost=lost)

    def _run_until(self, end: float) -> None:
        """Let the calls talk, and more callers ring where they do."""
        while self._spec.ringing and time.monotonic() + RING_EVERY_S < end:
            self._reactor.run_until(time.monotonic() + RING_EVERY_S)
            self._ring()
        self._reactor.run_until(end)

    def _ring(self) -> None:
        try:
            taken = self._calls.taken
            self._calls.place(taken + self._refused, sampled=taken < SAMPLED_CALLS)
        except Refused:
            self._refused += 1

    def _result(
        self,
        window: SampleWindow,
        metrics: tuple[Snapshot, Snapshot],
        *,
        cpu: tuple[float, float],
        rss: tuple[float, float],
        calls_lost: int,
    ) -> LoadResult:
        before, after = metrics
        numbers = range(min(self._calls.taken, SAMPLED_CALLS)) if self._spec.ringing else sampled(self._spec.calls)
        ((up, down),) = self._calls.directions([window], self._spec.target_ms, numbers)
        bargein, missed = self._calls.barge_ins(window)
        wall_s = window.end - window.start
        late = self._reactor.late_s
        buffer_ms = max(0, self._spec.target_ms - self._spec.lead_ms)
        return LoadResult(
            cpu_s=cpu[0],
            wall_s=wall_s,
            rss_mb=rss[1],
            rss_before_mb=rss[0],
            up=delay_result(up, 0),
            down=delay_result(down, buffer_ms),
            bargein_ms=percentiles(bargein, 50, 95),
            bargeins=len(bargein),
            bargeins_missed=missed,
            loop_lag_p99_ms=_in_ms(before, after, "relay_loop_lag_seconds", 0.99),
            vad_delay_ms={f"p{q}": _in_ms(before, after, "relay_vad_delay_seconds", q / 100) for q in (50, 99)},
            dropped=counted_between(before, after, "relay_frames_dropped_total"),
            invented=counted_between(before, after, "relay_frames_invented_total"),
            calls_lost=calls_lost,
            load_late_p99_ms=percentiles([seconds * 1000 for seconds in late], 99)["p99"] or 0.0,
            load_late=sum(seconds > LATE_S for seconds in late),
            load_cpu_percent=cpu[1] / wall_s * 100,
            taken=self._calls.taken,
            refused=self._refused,
        )


def sampled(calls: int) -> Sequence[int]:
    """The calls that are looked at: all, or SAMPLED_CALLS of them from the first to the last."""
    if calls <= SAMPLED_CALLS:
        return range(calls)
    return [round(index * (calls - 1) / (SAMPLED_CALLS - 1)) for index in range(SAMPLED_CALLS)]


def offsets(number: int, track: CallerTrack) -> tuple[int, int]:
    """At which frames of their loops the caller and the assistant of this call begin."""
    return number * _OFFSET_FRAMES % len(track.frames), number * _REFERENCE_OFFSET_FRAMES


def delay_result(direction: Direction, buffer_ms: int) -> DelayResult:
    """The delays of one direction; `buffer_ms` of them were asked for by the configuration."""
    return DelayResult(
        added_ms=percentiles([value - buffer_ms for value in direction.delay_ms], 50, 99),
        raw_ms=percentiles(direction.delay_ms, 50, 99),
        resampler_ms=percentiles(direction.lag_ms, 50)["p50"],
        frames=direction.frames,
        lost=direction.lost,
    )


def _in_ms(before: Snapshot, after: Snapshot, name: str, quantile: float) -> float | None:
    seconds = quantile_between(before, after, name, quantile)
    return None if seconds is None else round(seconds * 1000, 3)


def main() -> int:
    """Run the load that the first argument describes, and print its result; 1 when the relay did not take the calls."""
    spec = msgspec.json.decode(sys.argv[1], type=LoadSpec)
    try:
        result = Load(spec).run()
    except (SetupFailed, OSError) as failed:
        sys.stderr.write(f"load: {failed}\n")
        return 1
    sys.stdout.write(msgspec.json.encode(result).decode() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
