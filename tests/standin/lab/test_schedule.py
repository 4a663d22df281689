"""A schedule comes back whole from its file, and a file that is none says why."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.standin.lab.profiles import PROFILES, scheduled
from relay.standin.lab.schedule import LinkConditions, NetworkEvent, Schedule


@given(st.sampled_from(sorted(PROFILES)), st.integers())
def test_a_schedule_comes_back_from_its_file(name: str, seed: int) -> None:
    schedule = scheduled(name, seed % 2**31, length_s=200)

    assert Schedule.from_json(schedule.to_json()) == schedule


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
