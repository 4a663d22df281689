"""Runs a recorded call again as it was, step for step.

A step is one thing that came from outside, or the end of one wait of the call, as the recording has them in order.
Each begins at the time at which it was taken down, and is over when every task of the call waits: no wait ends by a
clock. So neither the load of the machine on which the call ran nor that of this one decides anything.

| the recording says              | then                                                                          |
|---------------------------------|-------------------------------------------------------------------------------|
| something came                  | the call gets it, and works until it waits                                    |
| a wait was over (`Woke`)        | the wait of that name ends, and the call works until it waits                 |
| the same, just behind the end   | that is before it: the call would be left before it could work                |
| the clock was seen to go on     | it goes on at that look, before it is told (`ClockSeen`)                      |
| others came, or went            | it is so from the step on in which the call has seen that (`ManyCalls`)       |
| something left for the caller   | what waits first in the outbox is gone                                        |
| something left for an assistant | if the call waits for that, it goes on                                        |
| an event was told               | nothing: it is compared afterwards                                            |
"""

import sys
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import pairwise
from math import inf

import trio
from trio.testing import wait_all_tasks_blocked

from relay.config import Config
from relay.media.frames import Audio
from relay.record.backlog import Backlog
from relay.record.call_recording import CallRecording
from relay.record.entries import (
    BufferTarget,
    CallerLent,
    CallerOutboxGone,
    CallStood,
    ClearSent,
    ClockSeen,
    ManyCalls,
    MarkSent,
    PingAnswered,
    Recorded,
    RecordingEnd,
    RecordingHeader,
    TextToAssistant,
    Timed,
    ToAssistant,
    ToCaller,
    Told,
    Woke,
    happened_s,
)
from relay.redaction import Redactor
from relay.replay.stage import ReplayStage, open_stage, record_at_start
from relay.wakeup import whose_turn

TO_CALLER = (ToCaller, MarkSent, ClearSent)
TICK_S = 1e-7
"""Less than it takes to look at a clock twice. What is due at the very moment at which something began is due the next
time that somebody looks, however the sum of both was rounded."""
LAST_WORDS_S = 0.1
"""A task that was woken has its turn within this time."""
SAME_ROUND_S = 0.005
"""Tasks that are due at once have their turns within this time, in an order that is chance."""
TO_ASSISTANT = (ToAssistant, TextToAssistant)
NO_STEPS = (
    *TO_CALLER,
    *TO_ASSISTANT,
    Told,
    CallerOutboxGone,
    CallStood,
    BufferTarget,
    ClockSeen,
    PingAnswered,
    ManyCalls,
)


class StepClock(trio.abc.Clock):
    """Goes by `tick_s` with each look at it. Once it `runs`, it jumps to each deadline that a task waits for.

    Within a step it may be later for one task than for another: which of them had its turn first was chance, and is so
    again.
    """

    def __init__(self, now: float, tick_s: float = 0.0) -> None:
        self.now = now
        self.runs = False
        self._tick_s = tick_s
        self._of_tasks: dict[int, float] = {}

    def go_to(self, at: float) -> None:
        """It is this time for everybody."""
        self.now = max(self.now, at)
        self._of_tasks.clear()

    def go_on(self, at: float) -> None:
        """It is this time for the running task."""
        self._of_tasks[id(trio.lowlevel.current_task())] = at

    def start_clock(self) -> None:
        """Nothing to start."""

    def current_time(self) -> float:
        self.now += self._tick_s
        if not (self._of_tasks and trio.lowlevel.in_trio_task()):
            return self.now
        return max(self.now, self._of_tasks.get(id(trio.lowlevel.current_task()), 0.0))

    def deadline_to_sleep_time(self, deadline: float) -> float:
        if self.runs and deadline < inf:
            self.now = max(self.now, deadline)
        return 0.0 if deadline <= self.now else inf


class SteppedRecording(CallRecording):
    """Takes the replay down, and has the waits of its call in hand."""

    holds = True

    def __init__(
        self, header: RecordingHeader, moment: float, names: Collection[str], on_look: Callable[[str, int], None]
    ) -> None:
        """`names` are those of the waits that were over in the recorded call: it may be of a version with fewer.
        `on_look` is told of each look at the clock whose it is, and which of theirs in the step, before the time is
        known."""
        super().__init__(header, Redactor(), moment, Backlog(sys.maxsize))
        self._on_look = on_look
        self._is_over = False
        self._names = names
        self._waits: dict[str, tuple[trio.CancelScope, float]] = {}

    def let_go(self) -> None:
        """The recording is over: each wait ends at its time, also one that has begun and whose end was not recorded."""
        self._is_over = True
        for scope, at in self._waits.values():
            scope.deadline = at

    def scope(self, name: str, at: float) -> trio.CancelScope:
        scope = trio.CancelScope(deadline=at if self._is_over else inf)
        self._waits[name] = scope, at
        return scope

    def knows(self, name: str) -> bool:
        return name in self._names

    def look(self) -> float:
        self._on_look(whose_turn(), self._looks.get(id(trio.lowlevel.current_task()), 0) + 1)
        return super().look()

    def end_wait(self, name: str) -> None:
        """The wait of this name is over."""
        if name in self._waits:
            self._waits.pop(name)[0].cancel()

    def is_due(self, name: str, at: float) -> bool:
        """Whether a wait of this name is to be over by then."""
        return name in self._waits and self._waits[name][1] <= at


class RecordedSteps:
    """The entries of a recording, and where in them a replay is. It is the `WriteGate` of what the call writes.

    Within a step the clock goes on with what is written, as it did: what is due is asked again behind each message.
    """

    def __init__(self, entries: Sequence[Timed], clock: StepClock) -> None:
        self.entries = entries
        self._clock = clock
        self._began_s = clock.now
        self._at = 0
        self._steps = [index for index, entry in enumerate(entries) if not isinstance(entry, NO_STEPS)]
        self._step = -1
        self._step_end = 0
        self._clock_seen = _clock_seen(entries)
        self._to_caller = [index for index, entry in enumerate(entries) if isinstance(entry, TO_CALLER)]
        self._left_for_caller = 0
        self._to_assistant: dict[int, list[int]] = defaultdict(list)
        for index, entry in enumerate(entries):
            if isinstance(entry, ToAssistant | TextToAssistant):
                self._to_assistant[entry.connection].append(index)

    def go_to(self, index: int, upto: int) -> None:
        """The replay is at this entry. If it is a step, those up to `upto` belong to it."""
        self._at = index
        if not isinstance(self.entries[index], NO_STEPS):
            self._step = index
        self._clock.go_to(self.time_of(index))
        after = bisect_right(self._steps, upto)
        self._step_end = self._steps[after] if after < len(self._steps) else len(self.entries)

    @property
    def found(self) -> Sequence[Timed]:
        """What the call did in this step, and what it found to have changed when it looked."""
        return self.entries[self._at + 1 : self._step_end]

    def let_go(self) -> None:
        """The recording is over: a call that is not ends as it likes."""
        self._clock.runs = True

    def _pass(self, index: int) -> None:
        """The running task is at this entry."""
        if index < len(self.entries):
            self._clock.go_on(self.time_of(index))

    def time_of(self, index: int) -> float:
        """When this entry happened, by the clock of the replay."""
        return self._began_s + happened_s(self.entries[index])

    def look(self, task: str, number: int) -> None:
        """This task looks at the clock, for the `number`-th time in this step."""
        if seen := self._clock_seen.get((self._step, task, number)):
            self._pass(seen)

    def new_caller_socket(self) -> None:
        """What was to leave by the one before will not."""
        self._left_for_caller = bisect_right(self._to_caller, self._at)

    @property
    def is_due(self) -> bool:
        """Whether what is here was to leave for the caller, and has not."""
        return self._next_for_caller == self._at

    @property
    def _next_for_caller(self) -> int:
        left = self._left_for_caller
        return self._to_caller[left] if left < len(self._to_caller) else len(self.entries)

    def caller_takes_at_once(self) -> bool:
        return self._next_for_caller < self._step_end

    def caller_took(self, message: str | bytes = "") -> None:  # noqa: ARG002
        self._pass(self._next_for_caller)
        self._left_for_caller += 1

    def in_hand(self) -> int:
        for number, index in enumerate(self._to_caller[self._left_for_caller :]):
            if isinstance(self.entries[index], ClearSent):
                return number
        return 0

    def assistant_takes(self, connection: int, number: int) -> bool:
        sent = self._to_assistant[connection]
        return number < len(sent) and sent[number] == self._at

    def assistant_takes_at_once(self, connection: int, number: int) -> bool:
        sent = self._to_assistant[connection]
        index = sent[number] if number < len(sent) else len(self.entries)  # it was dead, and took no more
        takes = index < self._step_end
        if takes:
            self._pass(index)
        return takes


def _clock_seen(entries: Sequence[Timed]) -> dict[tuple[int, str, int], int]:
    """Where in the entries a look at the clock was taken down: by its step, its task and its number in both."""
    found, step = {}, -1
    for index, entry in enumerate(entries):
        if isinstance(entry, ClockSeen):
            found[step, entry.task, entry.looks] = index
        elif not isinstance(entry, NO_STEPS):
            step = index
    return found


def run_exactly(
    header: RecordingHeader, entries: Sequence[Timed], config: Config, apology: Audio | None
) -> list[Timed]:
    """What the call does this time. `entries` are those of one file, in its order. Raises CannotReplay."""
    assert header.clock_s is not None
    clock = StepClock(header.clock_s, TICK_S if _clock_ran(entries) else 0.0)
    return trio.run(_play, header, RecordedSteps(entries, clock), config, apology, clock=clock)


async def _play(header: RecordingHeader, script: RecordedSteps, config: Config, apology: Audio | None) -> list[Timed]:
    names = {entry.name for entry in script.entries if isinstance(entry, Woke)}
    recording = SteppedRecording(header, trio.current_time(), names, script.look)
    taken: list[Recorded] = []
    ending, last = last_words(script.entries)
    over: set[int] = set()
    record = record_at_start(header, script.entries, config)
    async with open_stage(header, config, record, recording, script, apology=apology) as stage:
        try:
            await wait_all_tasks_blocked()
            for index, entry in enumerate(script.entries):
                if index in over or index in last:
                    continue
                if index == ending:
                    over = await _wake_who_is_due(recording, script, index)
                script.go_to(index, upto=last[-1] if index == ending and last else index)
                settles = _act(stage, recording, script, entry)
                if index == ending:
                    for late in last:
                        stage.give(script.entries[late])
                if settles:
                    await wait_all_tasks_blocked()
                taken += recording.take()
        finally:  # also when that fails: what waits for a time while the call ends would wait for good
            recording.let_go()
            script.let_go()
    return only_timed(taken)


async def _wake_who_is_due(recording: SteppedRecording, script: RecordedSteps, ending: int) -> set[int]:
    """Wake those that still had a turn behind the step that ends the call, as it was time for them: once that step is
    over they are cancelled. Returns where that was taken down."""
    woken = [
        (index, name)
        for name, index in woken_behind(script.entries, ending).items()
        if recording.is_due(name, script.time_of(index))
    ]
    for index, name in woken:
        script.go_to(index, upto=index)
        recording.end_wait(name)
        await wait_all_tasks_blocked()
    return {index for index, _ in woken}


def _clock_ran(entries: Sequence[Timed]) -> bool:
    """Whether the clock of the recording went on while the call worked: a virtual one does not. What is written for the
    caller has the time at which it left, with what left beside it."""
    others = [entry for entry in entries if not isinstance(entry, (*TO_CALLER, BufferTarget))]
    return all(one.at_s != other.at_s for one, other in pairwise(others))


def last_words(entries: Sequence[Timed]) -> tuple[int, list[int]]:
    """Which step ended the call, and what came right behind it: to tasks that had been woken for that before they were
    cancelled, so it has to come again before they are. What came later, came to a call that was ending: a dial that was
    under way still connects."""
    told = next((index for index, entry in enumerate(entries) if _says_ended(entry)), len(entries))
    steps = [index for index, entry in enumerate(entries) if not isinstance(entry, NO_STEPS)]
    behind = bisect_right(steps, told)
    ending = steps[behind - 1] if behind else -1
    came = [index for index in steps[behind:] if not isinstance(entries[index], Woke)]
    return ending, [index for index in came if happened_s(entries[index]) <= happened_s(entries[told]) + LAST_WORDS_S]


def woken_behind(entries: Sequence[Timed], step: int) -> dict[str, int]:
    """The first end of each wait that was over at once behind this step."""
    until_s, found = happened_s(entries[step]) + SAME_ROUND_S, dict[str, int]()
    for index in range(step + 1, len(entries)):
        entry = entries[index]
        if happened_s(entry) > until_s:
            break
        if isinstance(entry, Woke):
            found.setdefault(entry.name, index)
    return found


def _says_ended(entry: Timed) -> bool:
    return isinstance(entry, Told) and entry.name == "call.state" and entry.values.get("status") == "ended"


def whole_steps(entries: Sequence[Timed]) -> Sequence[Timed]:
    """Those of a recording that was cut short, up to its last step, of which all is known that came of it."""
    last = max((index for index, entry in enumerate(entries) if not isinstance(entry, NO_STEPS)), default=0)
    return entries[:last]


def only_timed(entries: Iterable[Recorded]) -> list[Timed]:
    """What happened, without the frame of a file."""
    return [entry for entry in entries if not isinstance(entry, RecordingHeader | RecordingEnd)]


def _act(stage: ReplayStage, recording: SteppedRecording, script: RecordedSteps, entry: Timed) -> bool:
    """Whether the call has something to do now."""
    match entry:
        case ToCaller() | MarkSent() | ClearSent():
            if script.is_due and stage.leg is not None:
                stage.leg.outbox.release()
            if script.is_due:
                script.caller_took()
        case ToAssistant(_, _, _, number) | TextToAssistant(_, _, number):
            return stage.connections.get(number).socket.release()
        case Woke(_, name):
            _prepare(stage, script)
            recording.end_wait(name)
            return True
        case ManyCalls():
            stage.give(entry)
            return False
        case Told() | CallerOutboxGone() | CallStood() | BufferTarget() | ClockSeen() | PingAnswered():
            return False
        case _:
            _prepare(stage, script)
            if isinstance(entry, CallerLent):
                script.new_caller_socket()
            stage.give(entry)
            return True
    return isinstance(entry, ClearSent)


def _prepare(stage: ReplayStage, script: RecordedSteps) -> None:
    """What the call finds in this step had changed before it."""
    for entry in script.found:
        match entry:
            case CallerOutboxGone() if stage.leg is not None:
                stage.leg.outbox.broken = True
            case ManyCalls():
                stage.give(entry)
