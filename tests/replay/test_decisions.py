"""The comparison of two runs: what is the same, and what is a difference."""

import pytest
from msgspec.structs import replace

from relay.record.entries import ClearSent, FromCaller, MarkSent, TextToAssistant, Timed, ToAssistant, ToCaller, Told
from relay.replay.decisions import BOUND_S, HELD_UP_S, Difference, changes, count, differences

CALL: list[Timed] = [
    FromCaller(0.0, 0.0, 0, b"x"),
    ToAssistant(0.1, 1, 7, 1),
    TextToAssistant(0.2, "dtmf", 1),
    ToCaller(0.3, 1, 20, audible=True, queued_ms=0, data=b"a"),
    MarkSent(0.3, 1, 20),
    Told(1.0, "bargein.flushed", {"turn": 1, "heard_ms": 100.0}),
    ClearSent(1.0),
    Told(2.0, "call.ended", {"reason": "idle", "duration_s": 2.0, "frames_dropped": {"stale": 2}}),
]


def changed(index: int, **values: object) -> list[Timed]:
    return [replace(entry, **values) if number == index else entry for number, entry in enumerate(CALL)]


def test_inputs_are_no_decisions() -> None:
    assert count(CALL) == len(CALL) - 1
    assert differences(CALL, CALL[1:], browser=False) == []


@pytest.mark.parametrize(
    "run",
    [
        changed(3, at_s=0.3 + BOUND_S / 2),
        changed(3, at_s=0.3 - HELD_UP_S / 2),
        changed(3, queued_ms=500),
        changed(5, values={"turn": 1, "heard_ms": 110.0}),
        changed(7, values={"reason": "idle", "duration_s": 9.0, "frames_dropped": {"stale": 2}}),
        changed(7, at_s=2.9),
        [CALL[3], *CALL[:3], *CALL[4:]],
    ],
)
def test_what_the_clock_of_a_busy_machine_adds_is_no_difference(run: list[Timed]) -> None:
    assert differences(CALL, run, browser=False) == []


@pytest.mark.parametrize(
    "run",
    [
        changed(1, crc32=8),
        changed(1, connection=2),
        changed(2, kind="say"),
        changed(3, data=b"b"),
        changed(3, turn=2),
        changed(3, at_s=0.3 + 2 * BOUND_S),
        changed(5, at_s=1.0 - 2 * HELD_UP_S),
        changed(4, position_ms=40),
        changed(5, values={"turn": 2, "heard_ms": 100.0}),
        changed(5, values={"turn": 1, "heard_ms": 200.0}),
        changed(7, values={"reason": "idle", "duration_s": 2.0, "frames_dropped": {"stale": 3}}),
        [*CALL[:6], *CALL[7:]],
        [*CALL[:4], CALL[6], *CALL[4:6], CALL[7]],
    ],
)
def test_anything_else_is(run: list[Timed]) -> None:
    assert differences(CALL, run, browser=False)


def test_a_difference_says_what_was_and_what_is() -> None:
    gone, event = [*CALL[:5], *CALL[6:]], "bargein.flushed turn=1 heard_ms=100"

    assert differences(CALL, gone, browser=False) == [Difference(1.0, event, None, "bargein.flushed")]
    assert differences(gone, CALL, browser=False) == [Difference(1.0, None, event, "bargein.flushed")]
    (moved,) = differences(CALL, changed(5, at_s=1.5), browser=False)
    assert moved.as_json() == {
        "at_s": 1.0,
        "was": "bargein.flushed turn=1 heard_ms=100",
        "is": "bargein.flushed turn=1 heard_ms=100 at 1.500",
    }


def test_what_becomes_of_a_browsers_connections_is_not_compared() -> None:
    with_it = [*CALL, Told(0.5, "caller.lost", {"transport": "websocket"})]

    assert differences(CALL, with_it, browser=True) == []
    assert differences(CALL, with_it, browser=False)


@pytest.mark.parametrize(
    ("run", "kind"),
    [
        (changed(5, at_s=0.8), "earlier"),
        (changed(5, at_s=1.2), "later"),
        (changed(5, values={"turn": 2, "heard_ms": 100.0}), "other"),
        ([*CALL[:5], *CALL[6:]], "gone"),
        ([*CALL, Told(1.5, "playout.hole", {"hole_ms": 100.0})], "new"),
    ],
)
def test_of_another_setting_it_is_said_how_an_event_changes(run: list[Timed], kind: str) -> None:
    assert [it.kind for it in changes(CALL, run)] == [kind]


def test_what_was_written_and_what_only_came_is_no_change_of_another_setting() -> None:
    without = [CALL[5], replace(CALL[7], values={"reason": "idle"}), Told(0.1, "transcript.final", {"text": "x"})]

    assert [it.name for it in changes([*CALL[:7], Told(2.0, "call.ended", {"reason": "idle"})], without)] == []
