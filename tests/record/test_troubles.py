"""What counts as trouble in a call, at its edges."""

from collections.abc import Callable

import pytest

from relay.record.troubles import Troubles

Happens = Callable[[Troubles], None]
WELL = {"frames_stale": 0}


def event(name: str, at_s: float = 1.0, **values: object) -> Happens:
    return lambda troubles: troubles.told(at_s, name, values)


def stopped(at_s: float) -> Happens:
    """The caller stopped to speak, which is known 256 ms later."""
    return event("speech.ended", at_s + 0.256, at_ms=1000, decided_ms=1256)


def sound(at_s: float) -> Happens:
    return lambda troubles: troubles.sound_sent(at_s)


@pytest.mark.parametrize(
    ("happens", "found"),
    [
        ([event("assistant.lost")], ["leg_lost"]),
        ([event("caller.lost")], ["leg_lost"]),
        ([event("client.gone")], ["leg_lost"]),
        ([event("assistant.unavailable")], ["no_assistant"]),
        ([event("assistant.given_up")], ["no_assistant"]),
        ([event("assistant.notes_dropped")], ["notes_lost"]),
        ([event("playout.hole", hole_ms=200.0)], []),
        ([event("playout.hole", hole_ms=200.1)], ["hole"]),
        ([event("bargein.false", by="assistant")], ["false_alarm"]),
        ([event("bargein.false", by="agreement")], []),
        ([event("bargein.settled")], []),
        ([event("call.failed")], ["crash"]),
        ([event("call.ended", **WELL)], []),
        ([event("call.ended", frames_stale=1)], ["stale"]),
        ([stopped(10), sound(14)], []),
        ([stopped(10), sound(14.01)], ["slow_answer"]),
        ([stopped(10), event("speech.started", 12), sound(15)], []),
        ([sound(10.5), stopped(10), sound(15)], []),
        ([stopped(10), sound(11), sound(20)], []),
        ([stopped(10), event("call.ended", 13, **WELL)], []),
        ([stopped(10), event("call.ended", 15, **WELL)], ["slow_answer"]),
        (
            [event("caller.lost"), event("assistant.lost"), event("bargein.false", by="assistant")],
            ["leg_lost", "false_alarm"],
        ),
    ],
)
def test_trouble_is_what_the_operator_is_told_it_is(happens: list[Happens], found: list[str]) -> None:
    troubles = Troubles()
    for happen in happens:
        happen(troubles)

    assert troubles.found == found
