"""The networks by name do the same for the same seed, and what their numbers say."""

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.standin.lab.profiles import PROFILES, scheduled
from relay.standin.lab.schedule import EventKind


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_does_the_same_for_the_same_seed_only(name: str) -> None:
    one = scheduled(name, 1)

    assert one == scheduled(name, 1)
    assert not one.events or one.events != scheduled(name, 2).events


def test_a_mobile_network_drops_every_30_to_90_seconds() -> None:
    drops = [event.at_s for event in scheduled("mobile", 5).events if event.kind == "drop"]
    gaps = [after - before for before, after in zip([0.0, *drops], drops, strict=False)]

    assert len(gaps) > 30
    assert all(30 <= round(gap, 2) <= 90 for gap in gaps)


@given(st.sampled_from(sorted(PROFILES)), st.integers(0, 1000), st.floats(1, 500))
def test_the_events_of_a_profile_come_in_order_before_the_end_and_as_often_as_it_says(
    name: str, seed: int, length_s: float
) -> None:
    schedule = scheduled(name, seed, length_s=length_s)
    times = [event.at_s for event in schedule.events]

    assert times == sorted(times)
    assert all(at_s < length_s for at_s in times)
    assert schedule.link == PROFILES[name].link
    for recurring in PROFILES[name].events:
        of_kind = [event for event in schedule.events if event.kind == recurring.kind]
        assert length_s // recurring.every_s[1] <= len(of_kind) <= length_s // recurring.every_s[0]
        assert all(recurring.for_s[0] <= event.for_s <= recurring.for_s[1] for event in of_kind)
        assert all(event.kbit_s == recurring.kbit_s for event in of_kind)


def test_the_clean_network_and_the_one_that_only_reorders_have_no_events() -> None:
    assert {name for name in PROFILES if not scheduled(name, 1).events} == {"clean", "home", "tangled"}


def test_the_train_goes_through_everything_that_a_cut_can_be() -> None:
    kinds = {event.kind for event in scheduled("train", 1).events}

    assert kinds == {"stall", "slow", "drop", "half_open"} <= set(get_args(EventKind))


def test_an_unknown_network_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        scheduled("moon", 1)
