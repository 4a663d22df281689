"""The judge of `make soak` sees what grows, and nothing else."""

import msgspec
import pytest

from relay.config import ReconnectConfig
from relay.logic.caller.reattach import Reattach, ReattachRules
from tests.soak.load import AWAY_S, SoakCall
from tests.soak.verdict import Sample, judges_delay, problems

GOOD = Sample(
    at_s=0.0,
    calls=25,
    memory_mb=120.0,
    tasks=500,
    descriptors=60,
    delay_p99_ms=5.0,
    lag_p99_ms=5.0,
    drift_ms=20.0,
    lost=0,
    load_late_p99_ms=1.0,
)


@pytest.mark.parametrize("every_s", [2.9, 9.0, 19.0, 21.0])
def test_a_stream_is_cut_no_more_often_than_a_relay_takes_it_back(every_s: float) -> None:
    config = ReconnectConfig()
    rules = ReattachRules(config.reattach_attempts, config.reattach_window_s, config.reattach_grace_s)
    call, relay = SoakCall(0), Reattach(rules, now=0.0)
    cuts = [every_s * n for n in range(200) if call.may_go_away(every_s * n)]
    assert len(cuts) >= min(200, 2.2 * cuts[-1] / config.reattach_window_s)
    assert all(relay.grant(at + AWAY_S) for at in cuts)


def soaked(growth: dict[str, float]) -> list[Sample]:
    """30 samples, in which these figures rise by so much from the first to the last."""
    return [
        msgspec.structs.replace(GOOD, **{name: getattr(GOOD, name) + by / 29 * step for name, by in growth.items()})
        for step in range(30)
    ]


def test_what_stays_as_it_is_breaks_nothing() -> None:
    assert problems(soaked({})) == []


@pytest.mark.parametrize(
    ("growth", "told"),
    [
        ({"memory_mb": 20.0}, "memory_mb has grown from 123.1 to 136.9"),
        ({"tasks": 10.0}, "tasks has grown"),
        ({"descriptors": 10.0}, "descriptors has grown"),
        ({"delay_p99_ms": 10.0}, "delay_p99_ms has grown"),
        ({"drift_ms": 190.0}, "media and clock have drifted apart by 131 ms"),
        ({"drift_ms": -190.0}, "media and clock have drifted apart by -131 ms"),
        ({"lost": 29}, "29 sockets of live calls were lost"),
    ],
)
def test_each_growth_is_told(growth: dict[str, float], told: str) -> None:
    (problem,) = problems(soaked(growth))

    assert told in problem


def test_a_delay_that_is_long_from_the_beginning_is_told() -> None:
    assert problems([msgspec.structs.replace(GOOD, delay_p99_ms=30.0)] * 9) == ["delay_p99_ms is 30.0"]


def test_delays_under_a_late_load_are_not_judged() -> None:
    late = [msgspec.structs.replace(GOOD, delay_p99_ms=90.0, drift_ms=-5000.0, load_late_p99_ms=40.0)] * 9

    assert problems(late) == problems([*late, *[GOOD] * 3]) == []
    assert not judges_delay(late)
    assert judges_delay([*late, *[GOOD] * 9])


def test_too_few_samples_are_no_good_soak() -> None:
    assert problems([GOOD]) == ["there are 1 samples, too few to judge"]
