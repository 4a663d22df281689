"""Plays a scenario on a simulated telephone, and judges each expectation by what the caller hears."""

import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import trio

from relay.scenario.hearing import Hearing
from relay.scenario.judge import CallerMoment, HeardExpectation, Judgement, judge
from relay.scenario.script import Scenario
from relay.scenario.step import (
    CallerStep,
    DialStep,
    DropStep,
    EchoOffStep,
    EchoStep,
    EndWithin,
    Expectation,
    HangUpStep,
    PressStep,
    SayStep,
    ScriptLine,
    TransferWithin,
    WaitStep,
)
from relay.standin.echo import EchoPath
from relay.standin.phone import Phone, PhoneOptions, PhoneResult, open_phone
from relay.standin.phone.player import RATE_HZ
from relay.standin.sound import lay_out, mulaw_to_samples

DIAL = "dial"
"""The first step of each scenario, which is not written in the script."""
ANSWERED_WITHIN_S = 15.0
SPEAKS_WITHIN_S = 10.0
"""So long an interruption waits for somebody to interrupt."""
ATTACHED_WITHIN_S = 15.0
_SPEAKS_S = 0.1
_KEYS_APART_S = 0.2
_LOOK_EVERY_S = 0.1

Judging = Callable[[Callable[[], Judgement | None]], Awaitable[Judgement | None]]


class Listener(Protocol):
    """Told of a scenario while it is played."""

    def begin(self, line: int, text: str) -> None:
        """This step begins."""

    def end(self, outcome: "StepOutcome") -> None:
        """It is over."""


@dataclass(frozen=True, slots=True)
class StepOutcome:
    """What came of a step: `why` it did not pass, and what was measured where there was something to measure.

    `line` is 0 for `DIAL`.
    """

    line: int
    text: str
    passed: bool
    measured_ms: float | None = None
    why: str = ""

    def as_json(self) -> dict[str, Any]:
        """One of the `steps` of `--json`."""
        return {
            "line": self.line,
            "step": self.text,
            "ok": self.passed,
            "measured_ms": self.measured_ms,
            "why": self.why,
        }


@dataclass(frozen=True, slots=True)
class ScenarioResult:
    """What came of a scenario: each step, and the call as `relay call` reports any call."""

    outcomes: list[StepOutcome]
    call: PhoneResult

    @property
    def ok(self) -> bool:
        """Every step passed, the call ended in order, and the relay broke no rule."""
        return self.call.ok and all(outcome.passed for outcome in self.outcomes)

    def as_json(self) -> dict[str, Any]:
        """The object of `--json`, but for the script's name."""
        steps = [outcome.as_json() for outcome in self.outcomes]
        return {"ok": self.ok, "steps": steps, "call": self.call.as_json()}


class _NotDone(Exception):
    """A step of the caller's could not be done; the text says why."""


async def _in_thread(function: Callable[[], Judgement | None]) -> Judgement | None:
    """To find a sentence in what was heard takes up to a second, in which the telephone has to go on."""
    return await trio.to_thread.run_sync(function)


async def play_scenario(
    url: str,
    scenario: Scenario,
    listener: Listener,
    *,
    options: PhoneOptions | None = None,
    seconds: float | None = None,
    record: Path | None = None,
    judging: Judging = _in_thread,
) -> ScenarioResult:
    """Place the call, and play every step whatever came of those before it; the caller hangs up behind the last one.

    `seconds` after dialling the caller hangs up in any case. `record` gets a stereo WAV: left what the caller said,
    right what the caller heard.
    """
    outcomes: list[StepOutcome] = []
    limit_s = math.inf if seconds is None else seconds
    async with open_phone(url, options) as phone:
        caller = _Caller(phone, judging)
        for line in (ScriptLine(0, DIAL, DialStep()), *scenario.lines):
            listener.begin(line.number, line.text)
            judgement = Judgement(passed=False, why=f"the call was to last {limit_s:g} s at most")
            with trio.move_on_at(phone.placed_s + limit_s):
                await trio.lowlevel.checkpoint()  # a step that takes no time has none of its own
                judgement = await caller.perform(line.step)
            outcomes.append(_outcome(line, judgement))
            listener.end(outcomes[-1])
    if record is not None:
        phone.write_wav(record)
    return ScenarioResult(outcomes, phone.result())


def _outcome(line: ScriptLine, judgement: Judgement) -> StepOutcome:
    measured_ms = None if judgement.measured_s is None else round(judgement.measured_s * 1000, 1)
    return StepOutcome(line.number, line.text, judgement.passed, measured_ms, judgement.why)


@dataclass(slots=True)
class _Caller:
    """Does what the steps say, and keeps when the caller did something last. Times are on trio's clock."""

    phone: Phone
    judging: Judging
    _moment: CallerMoment = field(init=False)

    def __post_init__(self) -> None:
        self._did()

    async def perform(self, step: CallerStep | Expectation) -> Judgement:
        """One step to its end. A call that has ended fails all but the expectation that it ends."""
        if isinstance(step, EndWithin):
            return await self._until_ended(step.within_s)
        if isinstance(step, TransferWithin):
            return await self._until_transferred(step)
        if self.phone.end is not None:
            return self._ended()
        if isinstance(step, HeardExpectation):
            return await self._expect(step)
        try:
            return Judgement(passed=True, measured_s=await self._do(step))
        except _NotDone as error:
            return Judgement(passed=False, why=str(error))

    async def _do(self, step: CallerStep) -> float | None:
        """What was measured, in seconds."""
        match step:
            case DialStep():
                return await self._dial()
            case SayStep():
                await self._say(step)
            case EchoStep(loss_db, delay_s):
                self.phone.lips.echo = EchoPath(RATE_HZ, delay_ms=delay_s * 1000, loss_db=loss_db)
                self._did()
            case EchoOffStep():
                self.phone.lips.echo = None
                self._did()
            case WaitStep(seconds):
                await self._wait(seconds)
            case PressStep(keys):
                await self._press(keys)
            case DropStep():
                return await self._drop()
            case HangUpStep():
                return await self._hang_up()
        return None

    async def _dial(self) -> float:
        await self._until(lambda: self.phone.is_streaming, ANSWERED_WITHIN_S, "no media stream was opened")
        self._did()
        return trio.current_time() - self.phone.placed_s

    async def _say(self, step: SayStep) -> None:
        if step.interrupts:
            await self._until(self._is_spoken_to, SPEAKS_WITHIN_S, "nobody spoke who could be interrupted")
        sound = step.sound
        saying = self.phone.start_saying(sound.mulaw)
        whole_s = len(sound.mulaw) / RATE_HZ
        await self._until(lambda: saying.ended_s is not None, whole_s + ATTACHED_WITHIN_S, "it could not be said")
        assert saying.began_s is not None
        self._moment = CallerMoment(saying.began_s + sound.onset_s, saying.began_s + sound.end_s)

    def _is_spoken_to(self) -> bool:
        heard_s = self.phone.last_audible_s
        return heard_s is not None and trio.current_time() - heard_s <= _SPEAKS_S

    async def _wait(self, seconds: float) -> None:
        with trio.move_on_after(seconds):
            await self.phone.wait_ended()
            raise _NotDone(self._ended().why)

    async def _press(self, keys: str) -> None:
        began_s = trio.current_time()
        for key in keys:
            await self._until(lambda: self.phone.is_streaming, ATTACHED_WITHIN_S, "no media stream is open")
            await self.phone.send_dtmf(key)
            self._moment = CallerMoment(began_s, trio.current_time())
            await self._wait(_KEYS_APART_S)

    async def _drop(self) -> float:
        await self._until(lambda: self.phone.is_streaming, ATTACHED_WITHIN_S, "no media stream is open")
        dropped_s, streams = trio.current_time(), len(self.phone.streams)
        self.phone.drop()
        await self._until(
            lambda: len(self.phone.streams) > streams and self.phone.is_streaming,
            ATTACHED_WITHIN_S,
            "the stream was not attached again",
        )
        attached_s = trio.current_time()
        self._moment = CallerMoment(dropped_s, attached_s)
        return attached_s - dropped_s

    async def _hang_up(self) -> float:
        began_s = trio.current_time()
        await self.phone.hang_up()
        return trio.current_time() - began_s

    async def _expect(self, expected: HeardExpectation) -> Judgement:
        since_s = trio.current_time() - self.phone.placed_s
        moment = CallerMoment(self._moment.onset_s - self.phone.placed_s, self._moment.end_s - self.phone.placed_s)
        while True:
            is_last = self.phone.end is not None
            judgement = await self.judging(partial(_judge_heard, expected, self._heard(), moment, since_s))
            if judgement is not None:
                return judgement
            if is_last:
                return self._ended()
            with trio.move_on_after(_LOOK_EVERY_S):
                await self.phone.wait_ended()

    def _heard(self) -> list[tuple[float, bytes]]:
        """What each stream has played until now, and when that began; between two streams, silence."""
        phone = self.phone
        pieces = [(player.started_s - phone.placed_s, bytes(player.heard)) for player in phone.players]
        if not phone.is_streaming:
            pieces.append((trio.current_time() - phone.placed_s, b""))
        return pieces

    async def _until_ended(self, within_s: float) -> Judgement:
        began_s = trio.current_time()
        with trio.move_on_after(within_s):
            await self.phone.wait_ended()
            return Judgement(passed=True, measured_s=trio.current_time() - began_s)
        return Judgement(passed=False, why="the call goes on")

    async def _until_transferred(self, step: TransferWithin) -> Judgement:
        """Also one that is over, and with it the call."""
        began_s, phone = trio.current_time(), self.phone
        with trio.move_on_after(step.within_s):
            await phone.wait_until(lambda: step.destination in phone.dialled)
        if step.destination in phone.dialled:
            return Judgement(passed=True, measured_s=trio.current_time() - began_s)
        return Judgement(passed=False, why=f"connected to {', '.join(phone.dialled) or 'nobody'}")

    async def _until(self, holds: Callable[[], bool], timeout_s: float, otherwise: str) -> None:
        try:
            if await self.phone.wait_until(holds, timeout_s):
                return
        except trio.TooSlowError:
            raise _NotDone(otherwise) from None
        raise _NotDone(self._ended().why)

    def _did(self) -> None:
        """The caller has done something that takes no time."""
        self._moment = CallerMoment(trio.current_time(), trio.current_time())

    def _ended(self) -> Judgement:
        why = "; ".join([f"the call has ended: {self.phone.end}", *self.phone.troubles])
        return Judgement(passed=False, why=why)


def _judge_heard(
    expected: HeardExpectation, heard: Sequence[tuple[float, bytes]], moment: CallerMoment, since_s: float
) -> Judgement | None:
    pieces = ((at_s, mulaw_to_samples(mulaw)) for at_s, mulaw in heard)
    return judge(expected, Hearing(lay_out(pieces, RATE_HZ)), moment, since_s)
