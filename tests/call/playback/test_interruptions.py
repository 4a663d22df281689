"""Each interruption is told with its times, from the onset of the caller's speech to the silence that is proven."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from relay.call.playback.interruptions import Interruption, Interruptions
from relay.call.report.events import CallEvent
from relay.call.report.interruption_events import (
    CallerSilenced,
    FalseAlarm,
    Interrupted,
    InterruptionSettled,
    LingeringCleared,
    PauseTakenBack,
)
from relay.call.report.report import Report
from relay.logic.playback.ruling import Verdict
from relay.metrics import Metrics

MARK = (4, 1200)


@dataclass
class Rig:
    metrics: Metrics = field(default_factory=Metrics)
    told: list[CallEvent] = field(default_factory=list)
    interruptions: Interruptions = field(init=False)

    def __post_init__(self) -> None:
        self.report = Report("the-call", self.metrics)
        self.interruptions = Interruptions(self.report)

    @property
    def measured_s(self) -> float:
        """The sum of what was measured from onsets to clears."""
        return self.metrics.registry.get_sample_value("relay_bargein_seconds_sum") or 0.0


@contextmanager
def open_rig() -> Iterator[Rig]:
    rig = Rig()
    with rig.report.listeners.listening(rig.told.append):
        yield rig


def interruption(*, turn: int = 3, onset_at: float | None = 9.9, agreed: bool = False) -> Interruption:
    return Interruption(turn, onset_at, 10.0, heard_ms=640.04, flushed_ms=810.06, agreed=agreed, mark=MARK)


def test_it_is_told_once_its_clear_is_on_the_wire_with_the_time_since_onset_and_decision() -> None:
    with open_rig() as rig:
        rig.interruptions.began(interruption())
        assert rig.told == []
        rig.interruptions.cleared(interruption(), 10.02)

        assert rig.told == [
            Interrupted(
                turn=3, by="caller", onset_to_clear_ms=120.0, decide_to_clear_ms=20.0, flushed_ms=810.1, heard_ms=640.0
            )
        ]
        assert rig.measured_s == pytest.approx(0.12)


def test_without_an_onset_times_count_from_the_decision_and_nothing_is_measured() -> None:
    """Our detector noticed nothing, so nobody knows when the caller began."""
    with open_rig() as rig:
        rig.interruptions.cleared(interruption(onset_at=None, agreed=True), 10.02)
        rig.interruptions.mark_returned(*MARK, 10.1)

        interrupted, silenced = rig.told
        assert isinstance(interrupted, Interrupted)
        assert (interrupted.by, interrupted.onset_to_clear_ms) == ("assistant", 20.0)
        assert silenced == CallerSilenced(3, onset_to_silent_ms=100.0, clear_to_silent_ms=80.0)
        assert rig.measured_s == 0


def test_the_mark_behind_its_clear_proves_the_silence_once() -> None:
    with open_rig() as rig:
        rig.interruptions.cleared(interruption(), 10.02)
        rig.told.clear()
        before = [rig.interruptions.mark_returned(*other, 10.03) for other in ((3, 1200), (4, 1000))]
        answers = [rig.interruptions.mark_returned(*MARK, 10.05) for _ in range(2)]

        assert (before, answers) == ([False, False], [True, False])
        assert rig.told == [CallerSilenced(3, onset_to_silent_ms=150.0, clear_to_silent_ms=30.0)]


def test_before_a_clear_is_on_the_wire_no_mark_can_be_behind_it() -> None:
    with open_rig() as rig:
        rig.interruptions.began(interruption())

        assert not rig.interruptions.mark_returned(*MARK, 10.05)


@pytest.mark.parametrize(
    ("verdict", "told"),
    [
        (Verdict.FALSE_ALARM, FalseAlarm(3, by="assistant")),
        (Verdict.AGREEMENT, FalseAlarm(3, by="agreement")),
        (Verdict.NEW_TURN, InterruptionSettled(3, by="new_turn", flushed_ms=810.06)),
        (Verdict.EXPIRED, InterruptionSettled(3, by="expired", flushed_ms=810.06)),
        (None, InterruptionSettled(3, by="end", flushed_ms=810.06)),
    ],
)
def test_what_became_of_it_is_told_once(verdict: Verdict | None, told: CallEvent) -> None:
    with open_rig() as rig:
        rig.interruptions.began(interruption())
        rig.interruptions.settled(verdict)
        rig.interruptions.settled(None)

        assert rig.told == [told]


def test_where_nothing_was_interrupted_nothing_is_settled() -> None:
    with open_rig() as rig:
        rig.interruptions.settled(None)

        assert rig.told == []


def test_a_pause_taken_back_and_a_lingering_sound_are_no_interruptions() -> None:
    with open_rig() as rig:
        rig.interruptions.resumed(0.2596)
        rig.interruptions.lingering_cleared(2, 10.0, 10.0123)
        rig.interruptions.settled(None)

        assert rig.told == [PauseTakenBack(260), LingeringCleared(2, decide_to_clear_ms=12.3)]
