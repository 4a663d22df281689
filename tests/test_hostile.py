"""The judge of `make hostile` sees each broken promise, and the attacks are what they are called."""

from collections import Counter

import h11
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionType
from wsproto.events import Event, Message, Ping

from relay.net.rest import IDLE_CONNECTIONS
from tests.hostile.attacks import BLOCK_BYTES, BY_NAME, Attack
from tests.hostile.plan import FULL, SMALL, Dose
from tests.hostile.rounds import quantile_steps
from tests.hostile.short_calls import After
from tests.hostile.siege import Outcome
from tests.hostile.verdict import growth, problems
from tests.hostile.watched import Held

REST = Outcome("nobody", "no attack", added_ms={"up": 3.0, "down": 4.0}, load_late_ms={"p99": 1.0, "p100": 9.0})
GOOD = msgspec.structs.replace(REST, name="pings", way="at once", added_ms={"up": 22.0, "down": 23.0})

BROKEN = {
    "later than without": ({"added_ms": {"up": 24.0, "down": 4.0}}, "up 21 ms later"),
    "frames": ({"lost_frames": 1}, "1 frames lost"),
    "a hole": ({"holes": 1}, "1 holes"),
    "a call": ({"lost_calls": 1}, "1 sockets of live calls lost"),
    "no answer": ({"answers": False}, "does not answer"),
    "not back": ({"back_s": None}, "not as before"),
    "memory": ({"left_mb": 9.0}, "9 MB left"),
    "descriptors": ({"left_descriptors": 1}, "1 descriptors left"),
    "tasks": ({"left_tasks": 1}, "1 tasks left"),
}


def judge(outcomes: list[Outcome]) -> tuple[list[str], list[str]]:
    return problems(outcomes, FULL.added_max_ms)


def test_an_attack_that_the_calls_do_not_feel_breaks_nothing() -> None:
    assert judge([REST, GOOD]) == ([], [])


@pytest.mark.parametrize(("changed", "said"), BROKEN.values(), ids=BROKEN)
def test_each_broken_promise_is_named(changed: dict[str, object], said: str) -> None:
    broken, unknown = judge([REST, msgspec.structs.replace(GOOD, **changed)])

    assert len(broken) == 1
    assert said in broken[0]
    assert unknown == []


def test_connections_to_the_assistants_api_may_stay_open_after_calls_and_no_more() -> None:
    in_calls = msgspec.structs.replace(GOOD, name="pings in a call", left_descriptors=IDLE_CONNECTIONS)

    assert judge([REST, in_calls]) == ([], [])
    assert judge([REST, msgspec.structs.replace(in_calls, left_descriptors=IDLE_CONNECTIONS + 1)])[0] == [
        f"pings in a call, at once: {IDLE_CONNECTIONS + 1} descriptors left"
    ]


def test_memory_that_a_second_wave_does_not_add_to_is_no_broken_promise() -> None:
    first = msgspec.structs.replace(GOOD, left_mb=30.0, back_s=None, again=True)
    leak = msgspec.structs.replace(GOOD, way="at once, again", left_mb=30.0, back_s=None)

    assert judge([REST, first, msgspec.structs.replace(GOOD, left_mb=1.0)]) == ([], [])
    assert judge([REST, first, leak])[0] == [
        "pings, at once, again: not as before within 10 s",
        "pings, at once, again: 30 MB left",
    ]


BUSY = {
    "late callers": ({"load_late_ms": {"p99": 6.0, "p100": 61.0}}, "the callers were 6 ms late"),
    "others": ({"others_cpu_percent": 11.0}, "others used 11 % of the relay's core"),
}


@pytest.mark.parametrize(("busy", "why"), BUSY.values(), ids=BUSY)
def test_on_a_busy_machine_there_is_no_verdict_on_holes_and_delays_but_on_all_else(
    busy: dict[str, object], why: str
) -> None:
    changed = msgspec.structs.replace(GOOD, holes=1, added_ms={"up": 99.0, "down": 4.0}, lost_frames=1, **busy)
    broken, unknown = judge([REST, changed])

    assert broken == ["pings, at once: 1 frames lost"]
    assert unknown == [
        "pings, at once: 1 holes",
        "pings, at once: up 96 ms later",
        f"pings, at once: not judged, machine busy: {why}",
    ]


def test_a_row_that_could_not_be_judged_is_said_so_however_good_it_looks() -> None:
    busy = msgspec.structs.replace(GOOD, others_cpu_percent=57.0)

    assert judge([REST, busy]) == (
        [],
        ["pings, at once: not judged, machine busy: others used 57 % of the relay's core"],
    )


def test_what_the_calls_had_on_a_busy_machine_excuses_no_attack() -> None:
    busy = msgspec.structs.replace(REST, added_ms={"up": 115.0, "down": 4.0}, others_cpu_percent=57.0)
    broken, _ = judge([busy, msgspec.structs.replace(GOOD, added_ms={"up": 100.0, "down": 4.0})])

    assert broken == ["pings, at once: up 100 ms later"]


def test_a_delay_of_21_ms_is_found_and_that_of_a_buffer_that_grew_at_a_hole_is_no_fault_of_the_attack() -> None:
    late = msgspec.structs.replace(GOOD, added_ms={"up": 24.0, "down": 25.0})
    behind_a_hole = msgspec.structs.replace(late, larger_buffer_ms=40.0)

    assert judge([REST, late]) == ([f"pings, at once: {way} 21 ms later" for way in ("up", "down")], [])
    assert judge([REST, behind_a_hole]) == (
        ["pings, at once: up 21 ms later"],
        [
            "pings, at once: down 21 ms later",
            "pings, at once: down not judged: a playout buffer was 40 ms larger, behind a hole",
        ],
    )


def test_a_row_with_a_larger_buffer_is_named_however_good_it_looks_and_its_hole_is_judged() -> None:
    larger = msgspec.structs.replace(GOOD, larger_buffer_ms=200.0, holes=1)

    assert judge([REST, larger]) == (
        ["pings, at once: 1 holes"],
        ["pings, at once: down not judged: a playout buffer was 200 ms larger, behind a hole"],
    )


def test_what_the_calls_had_with_a_larger_buffer_excuses_no_attack() -> None:
    rest = msgspec.structs.replace(REST, added_ms={"up": 3.0, "down": 204.0}, larger_buffer_ms=200.0)
    broken, _ = judge([rest, msgspec.structs.replace(GOOD, added_ms={"up": 22.0, "down": 100.0})])

    assert broken == ["pings, at once: down 100 ms later"]


def after(calls: int, trimmed_mb: float, **objects: int) -> After:
    return After(calls, Held(trimmed_mb + 10, trimmed_mb, {name.replace("_", "."): n for name, n in objects.items()}))


def test_memory_that_grows_with_short_calls_is_seen() -> None:
    first = after(200, 120.0, builtins_list=3000, relay_call_Calls=1)

    assert growth([first, after(2000, 121.0, builtins_list=3200, relay_call_Calls=1)]) == []
    assert growth([first, after(2000, 127.0)]) == ["after 2,000 short calls: 7.0 MB more"]
    assert growth([first, after(2000, 120.0, builtins_list=4002)]) == ["after 2,000 short calls: 1001 objects more"]
    assert growth([first, after(2000, 120.0, relay_call_calls_FinishedCall=100)]) == []
    assert growth([first, after(2000, 120.0, relay_call_calls_FinishedCall=101)]) == [
        "after 2,000 short calls: not freed: relay.call.calls.FinishedCall"
    ]
    assert growth([first, after(2000, 120.0, relay_call_Call=2)]) == [
        "after 2,000 short calls: not freed: relay.call.Call"
    ]


def received(name: str) -> list[Event]:
    """What a server makes of what this attack sends behind its handshake."""
    server = Connection(ConnectionType.SERVER)
    server.receive_data(BY_NAME[name].first + BY_NAME[name].more)
    return list(server.events())


@pytest.mark.parametrize("attack", BY_NAME.values(), ids=lambda attack: attack.name)
def test_a_flood_fills_a_block_and_what_is_slow_does_not(attack: Attack) -> None:
    assert (len(attack.more) >= 2000) == attack.floods
    assert len(attack.more) <= BLOCK_BYTES + 14


def test_the_frames_of_the_floods_are_valid_and_what_they_are_called() -> None:
    fragments = received("empty fragments")
    assert len(fragments) > 10_000
    assert not any(isinstance(event, Message) and event.message_finished for event in fragments)
    assert not any(isinstance(event, Message) and event.message_finished for event in received("endless message"))
    assert all(isinstance(event, Ping) for event in received("pings"))
    assert {event.data for event in received("empty messages") if isinstance(event, Message)} == {""}
    garbage = received("garbage in a call")
    assert len(garbage) == 200
    assert all(isinstance(event, Message) and event.message_finished for event in garbage)
    assert [len(event.data) for event in received("64 KB messages") if isinstance(event, Message)] == [BLOCK_BYTES]


@pytest.mark.parametrize("dose", [FULL, SMALL])
def test_the_warm_up_has_as_many_connections_as_any_attack(dose: Dose) -> None:
    most = max(spec.at_once for name in BY_NAME for _, spec in dose.attacks(name))

    assert dose.warm_up().at_once == most


def events_of(data: bytes) -> list[h11.Event]:
    """What a server makes of requests behind each other, as far as they are complete."""
    server = h11.Connection(h11.SERVER)
    server.receive_data(data)
    events: list[h11.Event] = []
    while isinstance(event := server.next_event(), h11.Event) or event is h11.PAUSED:
        if isinstance(event, h11.Event):
            events.append(event)
        else:
            server.send(h11.Response(status_code=204, headers=[]))
            server.send(h11.EndOfMessage())
            server.start_next_cycle()
    return events


def test_the_requests_of_the_floods_are_valid_and_what_they_are_called() -> None:
    valid = events_of(BY_NAME["valid requests"].more)
    assert sum(isinstance(event, h11.EndOfMessage) for event in valid) > 500
    assert {event.target for event in valid if isinstance(event, h11.Request)} >= {
        b"/metrics",
        b"/health",
        b"/",
        b"/twilio/voice",
    }
    for n in range(2):
        chunks = events_of(BY_NAME["tiny chunks"].opening(n) + BY_NAME["tiny chunks"].more)
        assert [len(event.data) for event in chunks if isinstance(event, h11.Data)] == [1] * (BLOCK_BYTES // 6)
    body = events_of(BY_NAME["refused bodies"].opening(0) + BY_NAME["refused bodies"].more)
    assert sum(len(event.data) for event in body if isinstance(event, h11.Data)) == BLOCK_BYTES


def test_the_whole_dose_is_the_promised_one_and_the_small_one_fits_a_minute() -> None:
    in_a_row, at_once, spread = [spec for _, spec in FULL.attacks("silent")]
    assert (in_a_row.total, at_once.at_once, spread.at_once) == (10_000, 1000, 1000)
    assert (len(set(at_once.addresses)), len(set(spread.addresses))) == (1, 40)
    assert sum(spec.seconds for name in BY_NAME for _, spec in SMALL.attacks(name)) < 60


@given(st.lists(st.integers(0, 50), min_size=1), st.sampled_from([0, 50, 99, 99.9, 100]))
def test_a_quantile_of_counted_rounds_is_that_of_their_list(rounds: list[int], percent: float) -> None:
    at = min(len(rounds) - 1, int(len(rounds) * percent / 100))

    assert quantile_steps(Counter(rounds), percent) == sorted(rounds)[at]
