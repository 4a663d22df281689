"""What repeats without being about a call is a bounded number of lines, which say how often it did."""

from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from structlog.typing import EventDict

from relay.log_sampler import KINDS_MAX, SAMPLED, WINDOW_S, LogSampler
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


def test_a_thousand_faults_of_a_kind_are_one_line_at_once_and_one_a_minute(
    sampler: LogSampler, clock: Clock, written: Lines
) -> None:
    for _ in range(1000):
        try:
            raise ValueError("a fault")
        except ValueError:
            log.exception("request.failed", path="/calls", method="GET")
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
        log.warning("webhook.forward_failed", error="answered with 500", call_id="c")
        clock.now += WINDOW_S
        sampler.say_counts()

    assert [values.get("repeated") for _, values in written] == [None, None, None]


def test_lines_of_different_kinds_are_told_each(written: Lines) -> None:
    for _ in range(3):
        for error in ("answered with 500", "no answer"):
            log.warning("webhook.forward_failed", error=error)
        for kind in ("%s is slow", "%s is gone"):
            log.warning("library.message", logger="a", kind=kind, message="x")

    assert len(written) == 4
    assert [values for _, values in written if "kind" in values] == []


def test_kinds_without_end_are_one_line_of_their_event(sampler: LogSampler, written: Lines) -> None:
    for number in range(KINDS_MAX + 500):
        log.warning("webhook.forward_failed", error=f"error {number}")
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
        log.error("vad.failed", windows=3)
        log.error("vad.failed", windows=4)
    sampler.say_counts(of_all=True)
    sampler.say_counts(of_all=True)

    assert [values.get("repeated") for _, values in written] == [None, 3]


def test_each_event_that_is_sampled_is_one_of_the_log() -> None:
    assert set(SAMPLED) <= first_cells("Log events")
