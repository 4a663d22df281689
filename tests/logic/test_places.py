"""Places are given up to two bounds, and come back."""

from hypothesis import given
from hypothesis import strategies as st

from relay.logic.places import Places


def test_a_holder_has_so_many_and_all_have_so_many() -> None:
    places = Places(in_all=3, for_each=2)

    assert [places.take(holder) for holder in "aaabbc"] == [
        *("taken", "taken", "holder full", "taken"),
        *("all full", "all full"),
    ]
    places.give_back("a")
    assert (places.take("c"), len(places)) == ("taken", 3)


@given(st.lists(st.tuples(st.booleans(), st.sampled_from("abc")), max_size=60))
def test_the_bounds_hold_and_nothing_is_kept_of_who_has_left(steps: list[tuple[bool, str]]) -> None:
    places = Places(in_all=4, for_each=2)
    held: list[str] = []
    for take, holder in steps:
        if take and places.take(holder) == "taken":
            held.append(holder)
        elif not take and holder in held:
            held.remove(holder)
            places.give_back(holder)
        assert len(places) == len(held) <= 4
        assert max((held.count(each) for each in "abc"), default=0) <= 2
    for holder in held:
        places.give_back(holder)

    assert places._held == {}
    assert [places.take("a") for _ in range(3)] == ["taken", "taken", "holder full"]


def test_fewer_places_take_none_away_and_more_are_there_at_once() -> None:
    places = Places(in_all=2, for_each=2)
    places.take("a")
    places.take("a")
    places.resize(1, 1)
    refused = places.take("b")
    places.give_back("a")
    still_refused = places.take("b")
    places.resize(3, 1)

    assert (refused, still_refused, places.take("b"), places.take("a")) == (
        "all full",
        "all full",
        "taken",
        "holder full",
    )
