"""What repeats without being about a call is a bounded number of lines, which say how often it did."""

import ast
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import structlog
from structlog.typing import EventDict

import relay
from relay.log_sampler import EVENTS_MAX, KINDS_MAX, REPEATS, WINDOW_S, LogSampler
from tests.support.reference import first_cells

Lines = list[tuple[str, dict[str, Any]]]


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sampler(clock: Clock) -> LogSampler:
    return LogSampler(clock)


@pytest.fixture
def written(sampler: LogSampler) -> Iterator[Lines]:
    """What comes out behind the sampler, each line with its level."""
    lines: Lines = []

    def keep(_logger: object, level: str, values: EventDict) -> EventDict:
        lines.append((level, dict(values)))
        raise structlog.DropEvent

    former = structlog.get_config()
    structlog.configure(processors=[sampler, keep], wrapper_class=structlog.make_filtering_bound_logger(0))
    yield lines
    structlog.configure(**former)


log = structlog.get_logger()

LEVELS = {"debug", "info", "warning", "error", "exception", "critical", "log"}
EVENT = re.compile(r"[a-z]+\.[a-z_]+")
OF_A_CALL = {"call_id", "call_sid", "assistant_call_id"}
"""A line with one of these is about a call, of which there are so many."""
ONCE_A_CALL = "once or twice in a call, whose id every line has there"
IN_THE_LIFE_OF_A_PROCESS = "once for a process"
ASKED_FOR = "an operator has asked for it"
WHEN_IT_CHANGES = "when it changes, not while it stays"
AT_DEBUG = "at debug only"
BOUNDED: Mapping[str, str] = {
    **dict.fromkeys(("assistant.hand_off_lost", "assistant.hedge_over", "assistant.hedged"), ONCE_A_CALL),
    **dict.fromkeys(("assistant.placing_failed", "assistant.unanswered", "call.failed", "media.refused"), ONCE_A_CALL),
    **dict.fromkeys(("transcript.final", "transcript.text"), "as fast as people speak"),
    **dict.fromkeys(("daemon.not_started", "daemon.ready", "daemon.draining"), IN_THE_LIFE_OF_A_PROCESS),
    **dict.fromkeys(("daemon.stopped", "daemon.failed", "daemon.few_descriptors"), IN_THE_LIFE_OF_A_PROCESS),
    **dict.fromkeys(("assistant.property_refused", "calls.handed_over"), IN_THE_LIFE_OF_A_PROCESS),
    **dict.fromkeys(("config.rejected", "config.reloaded"), ASKED_FOR),
    **dict.fromkeys(("calls.paused", "calls.resumed", "state.unavailable", "state.recovered"), WHEN_IT_CHANGES),
    **dict.fromkeys(("tls.rejected", "tls.renewed", "record.not_removed", "state.set_aside"), WHEN_IT_CHANGES),
    **dict.fromkeys(("client.lost", "request.lost", "state.close_failed"), AT_DEBUG),
    **dict.fromkeys(("record.clock_jumped", "record.removed", "classifier.missed"), "once a minute"),
    "daemon.stood_still": "it takes a stall each time",
    "events.listener_failed": "a listener that fails is removed",
    "tls.expires_soon": "once a day",
    "accept.paused": "it comes as a `library.message`, which is marked",
}
"""Events that are not about a call, with what keeps them from repeating without end."""


class Line(NamedTuple):
    """A place of the program that logs: the event, and the names of the values beside it."""

    event: str
    values: frozenset[str]


@cache
def lines_of_the_program() -> tuple[Line, ...]:
    """Those that name their event where they stand; events of a call, and refusals, come to the log otherwise."""
    found = []
    for path in Path(relay.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(ast.Attribute(logger, method)) if (
                    method in LEVELS and "log" in ast.unparse(logger).lower()
                ):
                    words = [it for argument in node.args[:2] for it in ast.walk(argument)]
                    events = [
                        it.value for it in words if isinstance(it, ast.Constant) and EVENT.fullmatch(str(it.value))
                    ]
                    found += [Line(str(event), frozenset(str(it.arg) for it in node.keywords)) for event in events]
    return tuple(found)


def test_a_thousand_faults_of_a_kind_are_one_line_at_once_and_one_a_minute(
    sampler: LogSampler, clock: Clock, written: Lines
) -> None:
    for _ in range(1000):
        try:
            raise ValueError("a fault")
        except ValueError:
            log.exception("request.failed", path="/calls", method="GET", repeats=("/calls", "GET"))
    sampler.say_counts()
    clock.now += WINDOW_S
    sampler.say_counts()

    (level, first), count = written
    assert (level, first["path"], first["exc_info"]) == ("error", "/calls", True)
    assert count == ("error", {"event": "request.failed", "path": "/calls", "method": "GET", "repeated": 999})


def test_what_has_stopped_is_forgotten_and_told_at_once_when_it_comes_back(
    sampler: LogSampler, clock: Clock, written: Lines
) -> None:
    for _ in range(3):
        log.warning("webhook.forward_failed", error="answered with 500", call_id="c", repeats=("500",))
        clock.now += WINDOW_S
        sampler.say_counts()

    assert [values.get("repeated") for _, values in written] == [None, None, None]


def test_lines_of_different_kinds_are_told_each(written: Lines) -> None:
    for _ in range(3):
        for error in ("answered with 500", "no answer"):
            log.warning("webhook.forward_failed", error=error, repeats=(error,))
        for kind in ("%s is slow", "%s is gone"):
            log.warning("library.message", logger="a", message="x", repeats=("a", kind))

    assert len(written) == 4
    assert [values for _, values in written if REPEATS in values] == []


def test_kinds_without_end_are_one_line_of_their_event(sampler: LogSampler, written: Lines) -> None:
    for number in range(KINDS_MAX + 500):
        log.warning("webhook.forward_failed", error=f"error {number}", repeats=(number,))
    sampler.say_counts(of_all=True)

    assert len(written) == KINDS_MAX + 2
    assert written[-1][1]["repeated"] == 499


@pytest.mark.parametrize("event", ["call.started", "config.reloaded", "calls.resumed", "state.unavailable"])
def test_what_is_about_a_call_or_says_how_things_stand_is_never_left_out(event: str, written: Lines) -> None:
    for _ in range(5):
        log.info(event)

    assert len(written) == 5


def test_a_count_is_said_at_the_end_and_is_no_line_that_is_sampled(sampler: LogSampler, written: Lines) -> None:
    for _ in range(2):
        log.error("vad.failed", windows=3, repeats=())
        log.error("vad.failed", windows=4, repeats=())
    sampler.say_counts(of_all=True)
    sampler.say_counts(of_all=True)

    assert [values.get("repeated") for _, values in written] == [None, 3]


def test_the_program_has_no_more_events_that_repeat_than_the_sampler_has_room_for() -> None:
    marked = {line.event for line in lines_of_the_program() if REPEATS in line.values}

    assert 5 < len(marked) <= EVENTS_MAX
    assert marked == first_cells("Lines that repeat")


def test_what_is_not_about_a_call_is_sampled_or_cannot_repeat_without_end() -> None:
    """A new event that is neither marked, nor about a call, nor in the table here, is one nobody has thought of."""
    unmarked = {line.event for line in lines_of_the_program() if not {REPEATS, *OF_A_CALL} & line.values}

    assert unmarked == set(BOUNDED)


def test_what_is_sampled_is_marked_wherever_it_is_written() -> None:
    lines = lines_of_the_program()
    marked = {line.event for line in lines if REPEATS in line.values}

    assert [line for line in lines if line.event in marked and REPEATS not in line.values] == []
