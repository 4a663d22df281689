"""Runs a recorded call again with other settings: its sides do what they did, at the times at which they did it.

The call itself goes on in its own time, on a virtual clock. So what comes out is compared with a run of the same kind
without the change, not with the recording: there the machine woke each task a little late.

| side          | what it does                                                                                    |
|---------------|-------------------------------------------------------------------------------------------------|
| the caller    | says what it said, when it said it; plays what it gets now, and returns marks after as long as |
|               | they took then at the median. A browser says what it said of what it has played                |
| the assistant | says what it said, when it said it, whatever it is told                                         |
| the model     | finds in a window of the caller's audio what it found then                                      |
| a dial        | comes to what it came to, at that time; one that was not made then is never answered            |
"""

import sys
from collections import deque
from collections.abc import Sequence
from math import inf
from statistics import median

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from relay.config import Config
from relay.media.frames import FRAME_MS, Audio
from relay.record.backlog import Backlog
from relay.record.call_recording import CallRecording
from relay.record.entries import (
    BufferTarget,
    CallerOutboxGone,
    CallStood,
    ClearSent,
    ClockSeen,
    MarkReturned,
    MarkSent,
    PingAnswered,
    RecordingHeader,
    SpeechScore,
    SpeechSkipped,
    TextToAssistant,
    Timed,
    ToAssistant,
    ToCaller,
    Told,
    Woke,
    happened_s,
)
from relay.redaction import Redactor
from relay.replay.exact_run import only_timed
from relay.replay.peers import CLEAR, RecordedLane
from relay.replay.stage import ReplayStage, caller_format_of, open_stage, record_at_start
from relay.wakeup import Signal

DECIDED_AGAIN = (
    *(ToCaller, MarkSent, MarkReturned, ClearSent, ToAssistant, TextToAssistant, Told, Woke),
    *(CallerOutboxGone, SpeechSkipped, CallStood, BufferTarget, ClockSeen, PingAnswered),
)


class PlayedMarks:
    """Tells when a caller's side returns its marks that plays what it gets in real time. Times are seconds.

    `delay_s` is how long a mark is on its way, once all before it was played.
    """

    def __init__(self, delay_s: float = 0.0) -> None:
        self._delay_s = delay_s
        self._played_at = -inf

    def frame(self, at: float) -> None:
        self._played_at = max(self._played_at, at) + FRAME_MS / 1000

    def mark(self, at: float) -> float:
        """When a mark comes back that is sent now."""
        return max(self._played_at, at) + self._delay_s

    def clear(self, at: float) -> float:
        """When all come back that have not yet."""
        self._played_at = at
        return at + self._delay_s


def mark_delay_s(entries: Sequence[Timed]) -> float:
    """How long marks were on their way in this call, at the median."""
    played, expected, delays = PlayedMarks(), dict[tuple[int, int], float](), list[float]()
    for entry in entries:
        match entry:
            case ToCaller(at_s):
                played.frame(at_s)
            case ClearSent(at_s):
                played.clear(at_s)
                expected.clear()
            case MarkSent(at_s, turn, position_ms):
                expected[turn, position_ms] = played.mark(at_s)
            case MarkReturned(at_s, turn, position_ms) if (turn, position_ms) in expected:
                delays.append(at_s - expected.pop((turn, position_ms)))
    return max(0.0, median(delays)) if delays else 0.0


class CallerSide:
    """Takes everything at once, and returns the marks of a telephone. It is the `WriteGate` of the run."""

    def __init__(self, played: PlayedMarks, frame_bytes: int) -> None:
        self._played = played
        self._frame_bytes = frame_bytes
        self._due: deque[tuple[float, MarkReturned]] = deque()
        self._news = Signal()

    def caller_takes_at_once(self) -> bool:
        return True

    def caller_took(self, message: str | bytes) -> None:
        now = trio.current_time()
        if isinstance(message, bytes):
            for _ in range(len(message) // self._frame_bytes):
                self._played.frame(now)
        elif message == CLEAR:
            at = self._played.clear(now)
            self._due = deque((min(at, due), mark) for due, mark in self._due)
        else:
            turn, position_ms = map(int, message.split())
            self._due.append((self._played.mark(now), MarkReturned(0.0, turn, position_ms)))
        self._news.fire()

    def in_hand(self) -> int:
        return 0

    def assistant_takes_at_once(self, connection: int, number: int) -> bool:  # noqa: ARG002
        return True

    assistant_takes = assistant_takes_at_once

    async def run(self, stage: ReplayStage) -> None:
        """Return each mark when its time has come."""
        while True:
            await self._news.wait(self._due[0][0] if self._due else inf)
            while self._due and self._due[0][0] <= trio.current_time():
                stage.give(self._due.popleft()[1])


class _Answers:
    """What the model said of each window, for those that are heard again."""

    def __init__(self, lane: RecordedLane) -> None:
        self._lane = lane
        self._known: deque[SpeechScore] = deque()
        self._news = Signal()
        lane.submitted = self._news.fire

    def add(self, score: SpeechScore) -> None:
        self._known.append(score)
        self._news.fire()

    async def run(self) -> None:
        """Give each window its answer, once both are there; a window of which nothing was said gets none."""
        while True:
            while self._known and self._lane.waiting:
                score, end_ms = self._known[0], self._lane.waiting[0].end_ms
                if end_ms < score.end_ms:
                    self._lane.skip()
                    continue
                self._known.popleft()
                if end_ms == score.end_ms:
                    self._lane.judge(score.probability, inf if score.voice_bound is None else score.voice_bound)
            await self._news.wait()


def run_changed(
    header: RecordingHeader, entries: Sequence[Timed], config: Config, apology: Audio | None
) -> list[Timed]:
    """What the call does under this configuration. `entries` are those of one file, in its order. Raises
    CannotReplay."""
    return trio.run(_play, header, entries, config, apology, clock=MockClock(autojump_threshold=0))


async def _play(
    header: RecordingHeader, entries: Sequence[Timed], config: Config, apology: Audio | None
) -> list[Timed]:
    began_s = header.clock_s or 0.0
    clock = trio.lowlevel.current_clock()
    assert isinstance(clock, MockClock)
    clock.jump(began_s)
    recording = CallRecording(header, Redactor(), began_s, Backlog(sys.maxsize))
    done = list(recording.take())
    side = CallerSide(PlayedMarks(mark_delay_s(entries)), caller_format_of(header).frame_bytes)
    record = record_at_start(header, entries, config)
    async with (
        open_stage(header, config, record, recording, side, apology=apology) as stage,
        trio.open_nursery() as nursery,
    ):
        answers = _Answers(stage.lane)
        nursery.start_soon(answers.run)
        if not stage.is_browser:
            nursery.start_soon(side.run, stage)
        for entry in entries:
            await trio.sleep_until(began_s + happened_s(entry))
            if isinstance(entry, SpeechScore):
                answers.add(entry)
            elif not isinstance(entry, DECIDED_AGAIN) or (stage.is_browser and isinstance(entry, MarkReturned)):
                stage.give(entry)
            done += recording.take()
        await wait_all_tasks_blocked()
        done += recording.take()
        nursery.cancel_scope.cancel()
    return only_timed(done)
