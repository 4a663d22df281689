"""Calls are listed as `GET /call` documents it, and wait for a place in their order."""

from dataclasses import replace
from itertools import pairwise

import pytest

from relay.media.frames import TELEPHONE
from relay.standin.assistant.behaviour import Behaviour
from relay.standin.assistant.call import AssistantCall
from relay.standin.assistant.order import Order
from relay.standin.assistant.record import SocketRecord
from relay.standin.assistant.registry import BadQuery, Registry

TIMES = ("2026-01-01T10:00:00.000Z", "2026-01-01T11:00:00.000Z", "2026-01-01T12:00:00.000Z")


def call(number: int, assistant_id: str = "a", *, blocked: bool = False) -> AssistantCall:
    order = Order(TELEPHONE, {}, assistant_id)
    made = AssistantCall(
        f"call-{number}",
        order,
        Behaviour(concurrency_limit=1),
        SocketRecord(TELEPHONE, 0.0),
        None,
        0.0,
        blocked=blocked,
    )
    made.created_at = made.updated_at = TIMES[number]
    return made


def registry(*calls: AssistantCall) -> Registry:
    made = Registry()
    for one in calls:
        made.keep(one)
    return made


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ({}, [2, 1, 0]),
        ({"limit": "2"}, [2, 1]),
        ({"limit": "0"}, []),
        ({"id": "call-1"}, [1]),
        ({"assistantId": "b"}, [2]),
        ({"phoneNumberId": "p"}, []),
        ({"createdAtGt": TIMES[1]}, [2]),
        ({"createdAtGe": TIMES[1]}, [2, 1]),
        ({"updatedAtLt": TIMES[1]}, [0]),
        ({"updatedAtLe": TIMES[1], "createdAtGe": TIMES[1]}, [1]),
        ({"createdAtGt": "2026-01-01T12:30:00+01:00"}, [2]),
    ],
)
def test_the_list_is_newest_first_and_obeys_the_query(query: dict[str, str], numbers: list[int]) -> None:
    listed = registry(call(0), call(1), call(2, "b")).select(query)

    assert [one.id for one in listed] == [f"call-{number}" for number in numbers]


@pytest.mark.parametrize("query", [{"limit": "many"}, {"limit": "1001"}, {"limit": "nan"}, {"createdAtGt": "noon"}])
def test_a_query_that_means_nothing_is_refused(query: dict[str, str]) -> None:
    with pytest.raises(BadQuery):
        registry(call(0)).select(query)


def test_a_call_whose_record_is_erased_is_not_found_but_holds_its_place() -> None:
    gone = call(0)
    calls = registry(gone)
    gone.erased = True

    assert calls.find("call-0") is None
    assert calls.select({}) == []
    assert calls.active(1.0) == 1


def test_calls_that_wait_get_the_free_places_in_their_order() -> None:
    holder, first, second = call(0), call(1, blocked=True), call(2, blocked=True)
    calls = registry(holder, first, second)
    holder.connect(1.0)
    calls.unblock(100.0)
    assert (first.blocked, first.status, calls.active(100.0)) == (True, "queued", 1)
    holder.finish("customer-ended-call")
    calls.unblock(200.0)

    assert (first.blocked, second.blocked, calls.active(200.0)) == (False, True, 1)
    assert first.times_out_s == 200.0 + Behaviour().unsettled.pick_up_s


def test_a_call_that_waits_for_a_place_waits_as_long_as_it_takes() -> None:
    waiting = call(1, blocked=True)
    waiting.settle(1e9)

    assert waiting.status == "queued"


def test_a_call_whose_socket_is_gone_is_over_when_nobody_has_spoken_for_the_time_ordered() -> None:
    lonely = call(0)
    lonely.behaviour = replace(lonely.behaviour, ends_with_socket=False)
    lonely.connect(1.0)
    lonely.lost_s = 50.0
    states = []
    for now_s in (79.9, 80.0):
        lonely.settle(now_s)
        states.append(lonely.status)

    assert states == ["in-progress", "ended"]
    assert lonely.ended_reason == "silence-timed-out"


def test_times_of_a_call_come_in_their_order() -> None:
    made = call(0)
    made.created_at = "2026-01-01T10:00:00.000Z"
    made.connect(1.0)
    made.finish("customer-ended-call")
    shown = made.as_json()

    assert all(a <= b for a, b in pairwise([shown["createdAt"], shown["startedAt"], shown["endedAt"]]))
    assert shown["updatedAt"] == shown["endedAt"]
