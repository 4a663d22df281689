"""Each question about the life of a call, with each answer that the assistant can give, over real sockets."""

from typing import Any

import pytest
from trio.testing import MockClock

from relay.probe import vapi_lifetime as lifetime
from relay.standin.assistant import Behaviour
from relay.standin.assistant.unsettled import OnDelete, Unsettled
from tests.support.probes import answer_to, probed


@pytest.mark.parametrize(("properties", "found"), [("legacy", "accepted"), ("schema", "refused")])
async def test_the_silence_timeout_is_sent_where_it_is_accepted(clock: MockClock, properties: Any, found: str) -> None:
    answer = await answer_to(lifetime.silence_timeout, Behaviour(properties=properties))

    assert answer.found == found
    assert answer.keys == {"vapi.send_silence_timeout": found == "accepted"}


@pytest.mark.parametrize(
    ("pick_up_s", "found", "keys"),
    [
        (2.0, "not after 5 s (HTTP 404)", {"vapi.connect_timeout_s": 2.5}),
        (10.0, "good after 5 s, not after 15 s (HTTP 404)", {}),
        (20.0, "good after 15 s, not after 30 s (HTTP 404)", {}),
        (99.0, "good after 30 s", {}),
    ],
)
async def test_the_age_of_an_address_is_the_last_at_which_it_was_good(
    clock: MockClock, pick_up_s: float, found: str, keys: dict[str, float]
) -> None:
    answer = await answer_to(lifetime.address_age, Behaviour(unsettled=Unsettled(pick_up_s=pick_up_s)))

    assert (answer.found, dict(answer.keys)) == (found, keys)


async def test_a_time_to_connect_that_is_short_already_is_left_alone(clock: MockClock) -> None:
    behaviour = Behaviour(unsettled=Unsettled(pick_up_s=2.0))
    answer = await answer_to(lifetime.address_age, behaviour, "connect_timeout_s = 2.0\n")

    assert (answer.found, dict(answer.keys)) == ("not after 5 s (HTTP 404)", {})


@pytest.mark.parametrize(
    ("redial_s", "found"),
    [
        (0.0, "refused each time (HTTP 404)"),
        (0.6, "taken after 0.2 s"),
        (3.0, "taken after 0.2 s, 1 s"),
        (9.0, "taken after 0.2 s, 1 s, 5 s"),
    ],
)
async def test_a_redial_is_told_with_the_delays_after_which_it_was_taken(
    clock: MockClock, redial_s: float, found: str
) -> None:
    behaviour = Behaviour(ends_with_socket=False, unsettled=Unsettled(redial_s=redial_s))

    assert (await answer_to(lifetime.redial, behaviour)).found == found


async def test_a_close_that_ends_the_call_is_told_with_its_time(clock: MockClock) -> None:
    found = (await answer_to(lifetime.close_ends, Behaviour())).found

    assert found.startswith("over ")
    assert float(found.split()[1]) < 2


async def test_a_close_that_does_not_end_the_call_is_told(clock: MockClock) -> None:
    found = (await answer_to(lifetime.close_ends, Behaviour(ends_with_socket=False))).found

    assert found == "still going on 15 s after the close"


@pytest.mark.parametrize(
    ("farewell", "code", "found"),
    [
        ("reason", 1000, "status-update ended (customer-ended-call), then closed with 1000"),
        ("no reason", 1000, "status-update ended (no reason), then closed with 1000"),
        (
            "report",
            1001,
            "status-update ended (customer-ended-call) and end-of-call-report, then closed with 1001",
        ),
        ("nothing", 1011, "nothing, then closed with 1011"),
    ],
)
async def test_what_is_told_before_the_close_is_found(clock: MockClock, farewell: Any, code: int, found: str) -> None:
    behaviour = Behaviour(unsettled=Unsettled(farewell=farewell, close_code=code))

    assert (await answer_to(lifetime.farewell, behaviour)).found == found


@pytest.mark.parametrize(("does", "found"), [("close", "closed with 1005"), ("ignore", "ignored")])
async def test_what_an_unknown_message_does_is_found(clock: MockClock, does: Any, found: str) -> None:
    behaviour = Behaviour(unsettled=Unsettled(unknown_message=does))

    assert (await answer_to(lifetime.unknown_message, behaviour)).found == found


@pytest.mark.parametrize(
    ("uplink_gap_s", "found"),
    [
        (5.0, "closed with 1005 after 5 s"),
        (20.0, "closed with 1005 after 20 s"),
        (99.0, "open after 27 s without audio"),
    ],
)
async def test_the_gap_that_is_closed_is_found(clock: MockClock, uplink_gap_s: float, found: str) -> None:
    behaviour = Behaviour(script="tone", unsettled=Unsettled(uplink_gap_s=uplink_gap_s))

    assert (await answer_to(lifetime.uplink_gap, behaviour)).found == found


async def test_a_silence_timeout_is_not_taken_for_the_limit_of_a_gap(
    clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifetime, "GAP_WATCH_S", 40.0)
    answer = await answer_to(lifetime.uplink_gap, Behaviour(unsettled=Unsettled(uplink_gap_s=99.0)))

    assert answer.found == "open for 29 s, until the assistant's own silence timeout"


@pytest.mark.parametrize(
    ("on_delete", "found"),
    [
        ("erase", "answered 200; the call goes on; its record is gone"),
        ("end", "answered 200; the call is closed with 1000; its record is still there"),
        ("erase and end", "answered 200; the call is closed with 1000; its record is gone"),
        ("nothing", "answered 200; the call goes on; its record is still there"),
    ],
)
async def test_what_a_delete_does_is_found(clock: MockClock, on_delete: OnDelete, found: str) -> None:
    behaviour = Behaviour(unsettled=Unsettled(on_delete=on_delete))

    assert (await answer_to(lifetime.delete, behaviour)).found == found


async def test_the_codes_of_all_closes_are_told_with_what_came_before_them(clock: MockClock) -> None:
    async with probed(Behaviour(unsettled=Unsettled(close_code=1001))) as at:
        assert (await lifetime.close_codes(at.account)).failed
        await lifetime.farewell(at.account)
        await lifetime.unknown_message(at.account)
        answer = await lifetime.close_codes(at.account)

    assert answer.found == "end-call: closed with 1001; an unknown message: closed with 1005"
