"""How a call stands: what is told when, once each, and nothing after the end."""

from collections.abc import Callable

import pytest

from relay.call.report.events import StateChanged
from relay.call.report.status import CallStatus

LIVE = StateChanged("live", "assistant ready")
LOST = StateChanged("reconnecting", "assistant lost")
STAND_IN = StateChanged("degraded", "assistant stands in")
POLLING = StateChanged("degraded", "polling")
Step = Callable[[CallStatus], None]


def listens(rung: int) -> Step:
    return lambda status: status.assistant_listens(rung)


def lost(status: CallStatus) -> None:
    status.assistant_away("assistant lost")


def polls(status: CallStatus) -> None:
    status.carried_by("polling")


def websocket(status: CallStatus) -> None:
    status.carried_by("websocket")


def idle(status: CallStatus) -> None:
    status.ended("idle")


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        ([listens(0)], [LIVE]),
        ([websocket, listens(0), websocket], [LIVE]),
        ([polls, listens(0)], [POLLING]),
        ([listens(0), polls, websocket], [LIVE, POLLING, LIVE]),
        ([listens(0), lost, lost, listens(0)], [LIVE, LOST, LIVE]),
        ([listens(0), lost, polls, listens(0)], [LIVE, LOST, POLLING]),
        ([listens(0), lost, listens(1)], [LIVE, LOST, STAND_IN]),
        ([listens(1), polls], [STAND_IN, StateChanged("degraded", "assistant stands in, polling")]),
        ([listens(0), idle, lost, listens(0), idle], [LIVE, StateChanged("ended", "idle")]),
        ([idle], [StateChanged("ended", "idle")]),
    ],
)
def test_each_change_is_told_once(steps: list[Step], told: list[StateChanged]) -> None:
    events: list[StateChanged] = []
    status = CallStatus(events.append)
    for step in steps:
        step(status)

    assert events == told
    assert status.current == told[-1]


def test_before_any_assistant_has_answered_or_failed_nothing_is_told() -> None:
    status = CallStatus(lambda _: None)
    polls(status)

    assert status.current is None
