"""Calls are placed and ended whatever becomes of the caller who wanted them, and of the requests."""

import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs
from trio.testing import MockClock

from relay.call.assistant.dialer import NewCall
from relay.call.assistant.placer import ANSWER_S, END_S, HEDGE_AFTER_S, STOP_S, CallPlacer, open_call_placer
from relay.errors import AssistantUnavailable, HangUpFailed
from relay.metrics import Metrics
from relay.wire.vapi_call import CallCreated
from tests.support.callrig import MULAW, FakeDialer

SILENT = AssistantUnavailable("TIMEOUT vapi.test", "VAPI_UNREACHABLE", retriable=True)
REFUSED = AssistantUnavailable("bad key", "VAPI_UNAUTHORIZED", retriable=False)
LIMITED = AssistantUnavailable("too many", "VAPI_RATE_LIMITED", retriable=True, locked_out_s=30.0)
FAILED = AssistantUnavailable("oh", "VAPI_SERVER_ERROR", retriable=True)
CONTROL_URL = "https://control.vapi.test/"


@dataclass(frozen=True)
class Answer:
    """To one request: when it is there, when it began to come, and what it says; None is a call."""

    after_s: float
    failure: Exception | None = None
    begins_s: float = math.inf
    blocked: bool = False


@dataclass
class Service(FakeDialer):
    """An assistant whose requests are answered in order; `alive` are the calls that it pays for.

    `ends` says what each try to end a call comes to: None ends it, a number is how long there is no answer.
    """

    answers: list[Answer] = field(default_factory=list)
    ends: list[Exception | float | None] = field(default_factory=list)
    alive: list[str] = field(default_factory=list)
    fresh: list[bool] = field(default_factory=list)
    ended_at: list[float] = field(default_factory=list)
    tries: int = 0
    unavailable: int = 0

    async def create(
        self, wanted: NewCall, *, fresh: bool = False, answering: Callable[[], None] | None = None
    ) -> CallCreated:
        answer, number = self.answers[len(self.fresh)], len(self.fresh) + 1
        self.fresh.append(fresh)
        if answer.begins_s < answer.after_s and answering is not None:
            await trio.sleep(answer.begins_s)
            answering()
            await trio.sleep(answer.after_s - answer.begins_s)
        else:
            await trio.sleep(answer.after_s)
        if answer.failure is not None:
            raise answer.failure
        name, control_url = f"call-{number}", f"{CONTROL_URL}{number}"
        self.alive.append(name)
        if answer.blocked:
            raise AssistantUnavailable("full", "FULL", retriable=True, call_id=name, control_url=control_url)
        return CallCreated(name, "wss://vapi.test/secret", control_url, self.format)

    def note_unavailable(self) -> None:
        self.unavailable += 1

    async def hang_up(self, call_id: str, control_url: str | None) -> None:
        assert control_url == f"{CONTROL_URL}{call_id[-1]}"
        self.tries += 1
        result = self.ends.pop(0) if self.ends else None
        if isinstance(result, Exception):
            raise result
        await trio.sleep(result or 0.0)
        self.alive.remove(call_id)
        self.ended_at.append(trio.current_time())


@dataclass
class Rig:
    """A placer that works, and what it tells."""

    placer: CallPlacer
    metrics: Metrics
    logged: list[Any]

    async def place(self, service: Service) -> CallCreated:
        return await self.placer.place(service, partial(service.create, NewCall("our-call")))

    def events(self, name: str) -> list[Any]:
        return [line for line in self.logged if line["event"] == name]

    def metric(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"relay_assistant_{name}_total", labels)


@asynccontextmanager
async def placing() -> AsyncIterator[Rig]:
    metrics = Metrics()
    with capture_logs() as logged:
        async with open_call_placer(metrics) as placer:
            yield Rig(placer, metrics, logged)


@pytest.mark.parametrize(
    ("first", "second", "kept", "at_s", "won"),
    [
        (Answer(3), Answer(5), "call-1", 3, "first"),
        (Answer(3), Answer(30), "call-1", 3, "first"),
        (Answer(30), Answer(0.5), "call-2", 2, "second"),
        (Answer(math.inf), Answer(0.5), "call-2", 2, "second"),
        (Answer(5), Answer(0.5, LIMITED), "call-1", 5, "first"),
        (Answer(5), Answer(0.5, REFUSED), "call-1", 5, "first"),
        (Answer(5), Answer(0.5, blocked=True), "call-1", 5, "first"),
        (Answer(2, FAILED), Answer(5), "call-2", 6.5, "second"),
        (Answer(2, SILENT), Answer(5), "call-2", 6.5, "second"),
        (Answer(12), Answer(30), "VAPI_UNREACHABLE", 10, "none"),
        (Answer(12), Answer(0.5, LIMITED), "VAPI_RATE_LIMITED", 10, "none"),
        (Answer(2, SILENT), Answer(1, REFUSED), "VAPI_UNAUTHORIZED", 2.5, "none"),
        (Answer(2, FAILED), Answer(1, SILENT), "VAPI_SERVER_ERROR", 2.5, "none"),
        (Answer(2, blocked=True), Answer(1, blocked=True), "FULL", 2.5, "none"),
        (Answer(math.inf), Answer(math.inf), "VAPI_UNREACHABLE", 10, "none"),
    ],
)
async def test_the_first_call_of_two_requests_is_kept_and_every_other_is_ended_whenever_it_comes(
    first: Answer, second: Answer, autojump_clock: MockClock, *, kept: str, at_s: float, won: str
) -> None:
    service = Service(MULAW, answers=[first, second])
    async with placing() as rig:
        began_at = trio.current_time()
        try:
            got = (await rig.place(service)).call_id
        except AssistantUnavailable as error:
            got = error.code
        assert got == kept
        assert trio.current_time() - began_at == pytest.approx(at_s)
        await trio.sleep(ANSWER_S)

        assert service.alive == ([kept] if kept.startswith("call") else [])
        assert service.fresh == [False, True]
        assert service.unavailable == (won == "none")
        assert [line["won"] for line in rig.events("assistant.hedge_over")] == [won]
        assert rig.metric("hedges", won=won) == 1
        unanswered = [answer for answer in (first, second) if answer.failure is SILENT or answer.after_s == math.inf]
        assert len(rig.events("assistant.unanswered")) == len(unanswered)


@pytest.mark.parametrize(
    "answer",
    [
        Answer(HEDGE_AFTER_S - 0.1),
        Answer(HEDGE_AFTER_S - 0.1, REFUSED),
        Answer(8, begins_s=HEDGE_AFTER_S - 0.1),
        Answer(30, begins_s=HEDGE_AFTER_S - 0.1),
    ],
    ids=["quick", "refused", "begun", "begun and late"],
)
async def test_a_request_whose_answer_has_begun_is_not_made_twice(answer: Answer, autojump_clock: MockClock) -> None:
    service = Service(MULAW, answers=[answer])
    async with placing() as rig:
        with trio.move_on_after(20):
            try:
                await rig.place(service)
            except AssistantUnavailable:
                service.unavailable = -1
        await trio.sleep(ANSWER_S)

        assert service.fresh == [False]
        assert rig.events("assistant.hedged") == []
        assert len(service.alive) == (answer.after_s < 10 and answer.failure is None)


@pytest.mark.parametrize("gone_s", [0.0, 1.0, 1.4, 5.0])
@pytest.mark.parametrize("answer", [Answer(1.4), Answer(30), Answer(59), Answer(1.4, blocked=True)])
async def test_whatever_a_caller_who_is_gone_has_asked_for_is_ended(
    gone_s: float, answer: Answer, autojump_clock: MockClock
) -> None:
    service = Service(MULAW, answers=[answer, answer])
    async with placing() as rig:
        placed = False
        with trio.move_on_after(gone_s):
            try:
                await rig.place(service)
                placed = True
            except AssistantUnavailable:
                pass
        await trio.sleep(2 * ANSWER_S)

        assert service.alive == (["call-1"] if placed else [])
        assert len(service.fresh) == 1 + (gone_s > HEDGE_AFTER_S and answer.after_s > HEDGE_AFTER_S)


async def test_a_call_that_comes_in_the_moment_in_which_its_caller_goes_is_ended(autojump_clock: MockClock) -> None:
    service = Service(MULAW, answers=[Answer(0)])
    async with placing() as rig:
        with trio.CancelScope() as gone:
            gone.cancel()
            await rig.place(service)
        await trio.sleep(1)

        assert (service.fresh, service.alive, service.tries) == ([False], [], 1)


ANSWERS = st.builds(
    Answer,
    st.floats(0, 59),
    st.sampled_from([None, None, SILENT, REFUSED]),
    st.floats(0, 59) | st.just(math.inf),
    st.booleans(),
)


@given(st.tuples(ANSWERS, ANSWERS), st.floats(0, 20), st.lists(st.just(SILENT) | st.floats(0, 2), max_size=3))
def test_no_call_lives_but_the_one_that_was_taken(
    answers: tuple[Answer, Answer], gone_s: float, ends: list[Exception | float | None]
) -> None:
    async def run() -> None:
        service = Service(MULAW, answers=list(answers), ends=ends)
        taken = []
        async with placing() as rig:
            with trio.move_on_after(gone_s), suppress(AssistantUnavailable):
                taken.append((await rig.place(service)).call_id)
            await trio.sleep(ANSWER_S + END_S)
            assert service.alive == taken

    trio.run(run, clock=MockClock(autojump_threshold=0))


@pytest.mark.parametrize(("failure", "told"), [(SILENT, 1), (REFUSED, 0)])
async def test_a_request_that_breaks_off_when_its_caller_is_gone_is_told(
    failure: AssistantUnavailable, told: int, autojump_clock: MockClock
) -> None:
    service = Service(MULAW, answers=[Answer(5, failure)])
    async with placing() as rig:
        with trio.move_on_after(1):
            await rig.place(service)
        await trio.sleep(10)

        assert len(rig.events("assistant.unanswered")) == told


@pytest.mark.parametrize(
    ("ends", "tries"),
    [
        ([], 1),
        ([HangUpFailed("Vapi answered 500"), HangUpFailed("Vapi answered 500")], 3),
        ([SILENT], 2),
        ([20.0], 1),
    ],
)
async def test_a_call_is_ended_with_as_many_tries_as_it_takes(
    ends: list[Exception | float | None], tries: int, autojump_clock: MockClock
) -> None:
    service = Service(MULAW, ends=ends, alive=["call-1"])
    async with placing() as rig:
        rig.placer.end(service, "call-1", f"{CONTROL_URL}1")
        await trio.sleep(END_S)

        assert (service.alive, service.tries) == ([], tries)
        assert [line["assistant_call_id"] for line in rig.events("assistant.hung_up")] == ["call-1"]
        assert rig.events("assistant.hang_up_failed") == []
        assert rig.metric("hang_ups", result="ok") == 1


@pytest.mark.parametrize("ends", [[math.inf], [HangUpFailed("Vapi answered 500")] * 100, [SILENT, math.inf]])
async def test_a_call_that_cannot_be_ended_is_told_once(
    ends: list[Exception | float | None], autojump_clock: MockClock
) -> None:
    service = Service(MULAW, ends=ends, alive=["call-1"])
    async with placing() as rig:
        rig.placer.end(service, "call-1", f"{CONTROL_URL}1")
        await trio.sleep(END_S + 1)

        assert [line["assistant_call_id"] for line in rig.events("assistant.hang_up_failed")] == ["call-1"]
        assert rig.metric("hang_ups", result="failed") == 1
        tries = service.tries
        await trio.sleep(END_S)
        assert service.tries == tries <= 40


@pytest.mark.parametrize("cancelled", [False, True])
async def test_the_daemon_stops_in_time_and_says_what_it_leaves_behind(
    autojump_clock: MockClock, *, cancelled: bool
) -> None:
    late, soon = Service(MULAW, answers=[Answer(30)]), Service(MULAW, answers=[Answer(STOP_S)])
    deaf = Service(MULAW, ends=[math.inf], alive=["call-1"])
    with trio.CancelScope() as scope:
        async with placing() as rig:
            for service in (late, soon):
                with trio.move_on_after(1):
                    await rig.place(service)
            rig.placer.end(deaf, "call-1", f"{CONTROL_URL}1")
            stopped_at = trio.current_time()
            if cancelled:
                scope.cancel()
    logged = {line["event"]: line for line in rig.logged}

    assert trio.current_time() - stopped_at == pytest.approx(STOP_S)
    assert (late.alive, soon.alive) == ([], [])
    assert logged["assistant.unanswered"]["assistant"] == "fake"
    assert logged["assistant.hang_up_failed"]["assistant_call_id"] == "call-1"


async def test_a_daemon_that_has_nothing_under_way_stops_at_once(autojump_clock: MockClock) -> None:
    service = Service(MULAW, answers=[Answer(1)])
    async with placing() as rig:
        await rig.place(service)
        stopped_at = trio.current_time()

    assert trio.current_time() == stopped_at


async def test_a_daemon_that_is_cancelled_before_it_has_begun_stops(autojump_clock: MockClock) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        async with open_call_placer(Metrics()):
            await trio.sleep_forever()

    assert scope.cancelled_caught


async def test_a_crash_is_its_callers(autojump_clock: MockClock) -> None:
    async with placing() as rig:
        with pytest.raises(ZeroDivisionError):
            await rig.place(Service(MULAW, answers=[Answer(1, ZeroDivisionError())]))
        with trio.move_on_after(1):
            await rig.place(Service(MULAW, answers=[Answer(5, ZeroDivisionError())]))
        rig.placer.end(Service(MULAW, ends=[ZeroDivisionError()]), "call-1", f"{CONTROL_URL}1")
        await trio.sleep(10)

        assert [line["log_level"] for line in rig.events("assistant.placing_failed")] == ["error"]
        assert [line["log_level"] for line in rig.events("assistant.hang_up_failed")] == ["error"]
