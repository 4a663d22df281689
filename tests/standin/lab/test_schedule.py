"""Schedules are the same for the same seed, and come back whole from their file."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.standin.lab.profiles import PROFILES, scheduled
from relay.standin.lab.schedule import LinkConditions, NetworkEvent, Schedule


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_does_the_same_for_the_same_seed_only(name: str) -> None:
    one = scheduled(name, 1)

    assert one == scheduled(name, 1)
    assert not one.events or one.events != scheduled(name, 2).events


@given(st.sampled_from(sorted(PROFILES)), st.integers())
def test_a_schedule_comes_back_from_its_file(name: str, seed: int) -> None:
    schedule = scheduled(name, seed % 2**31, length_s=200)

    assert Schedule.from_json(schedule.to_json()) == schedule


def test_a_mobile_network_drops_every_30_to_90_seconds() -> None:
    drops = [event.at_s for event in scheduled("mobile", 5).events if event.kind == "drop"]
    gaps = [after - before for before, after in zip([0.0, *drops], drops, strict=False)]

    assert len(gaps) > 30
    assert all(30 <= round(gap, 2) <= 90 for gap in gaps)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"version": 2}, "version"),
        ({"link": {"delay_ms": -1}}, "delay_ms"),
        ({"link": {"reorder_share": 2}}, "reorder_share"),
        ({"length_s": 0}, "length_s"),
        ({"events": [{"at_s": 1, "kind": "explode"}]}, "explode"),
        ({"events": [{"at_s": 2, "kind": "drop"}, {"at_s": 1, "kind": "drop"}]}, "order of time"),
        ({"events": [{"at_s": 2000, "kind": "drop"}]}, "before length_s"),
    ],
)
def test_a_wrong_file_is_refused_with_what_is_wrong(change: dict[str, object], told: str) -> None:
    good = {"link": {}, "events": [{"at_s": 1, "kind": "stall", "for_s": 2}], "length_s": 1000}
    assert Schedule.from_json(json.dumps(good)) == Schedule(LinkConditions(), (NetworkEvent(1, "stall", 2),), 1000)
    with pytest.raises(ValueError, match=told):
        Schedule.from_json(json.dumps({**good, **change}))
