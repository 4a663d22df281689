"""The journal of events: known again, in order for a call, taken once, given up at its limits, there after a crash."""

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.state import event_journal
from relay.state.event_journal import (
    KEPT_S,
    SEEN_S,
    Acceptance,
    Arrival,
    AssistantCallNote,
    DeliveryOutcome,
    EventAnswer,
    EventJournal,
    ever_accepted,
)

NOW = 1_800_000_000.0
LEASE_S = 10.0
Open = Callable[..., EventJournal]


@pytest.fixture
def journals(tmp_path: Path) -> Iterator[Open]:
    """Opens the same file, as one process after or beside the other does."""
    made: list[EventJournal] = []

    def another(**limits: int) -> EventJournal:
        made.append(EventJournal(tmp_path / "events.db", lease_s=LEASE_S, **limits))
        return made[-1]

    yield another
    for journal in made:
        journal.close()


def arrival(delivery_id: str, call: str | None = "v1", message: bytes | None = b"{}") -> Arrival:
    return Arrival(delivery_id=delivery_id, type="hang", assistant_call_id=call, relay_call_id="ours", message=message)


def taken(journal: EventJournal, now: float = NOW, room: int = 100) -> list[str]:
    return [it.delivery_id for it in journal.exchange(now, room=room).deliveries]


def test_an_event_is_new_once_also_for_another_process(journals: Open) -> None:
    first = journals().exchange(NOW, arrivals=[arrival("a"), arrival("a")])
    second = journals().exchange(NOW + SEEN_S - 1, arrivals=[arrival("a")])

    assert [it.new for it in (*first.acceptances, *second.acceptances)] == [True, False, False]


def test_an_id_is_forgotten_in_the_end(journals: Open) -> None:
    journal = journals()
    journal.exchange(NOW, arrivals=[arrival("a", message=None)])
    journal.exchange(NOW + SEEN_S + 1)

    assert journal.exchange(NOW + SEEN_S + 1, arrivals=[arrival("a", message=None)]).acceptances[0].new


def test_an_event_is_joined_to_its_call_whichever_process_has_that(journals: Open) -> None:
    journals().exchange(NOW, notes=[AssistantCallNote("v1", "call-1", "CA1")])
    found = journals().exchange(NOW, arrivals=[arrival("a"), arrival("b", "v2")], room=2)

    assert found.acceptances == [Acceptance(True, "call-1", "CA1"), Acceptance(True, "ours", None)]
    assert [(it.call_id, it.call_sid) for it in found.deliveries] == [("call-1", "CA1"), ("ours", None)]


def test_an_answer_is_known_to_the_next_process_as_long_as_its_question(journals: Open) -> None:
    asked = arrival("a", message=None)
    first = journals()
    first.exchange(NOW, arrivals=[asked])
    unanswered = first.exchange(NOW + 1, arrivals=[asked])
    first.exchange(NOW + 2, answers=[EventAnswer("a", b"four")])
    answered = journals().exchange(NOW + SEEN_S - 1, arrivals=[asked])
    first.exchange(NOW + 2 * SEEN_S)
    forgotten = first.exchange(NOW + 2 * SEEN_S, arrivals=[asked])

    found = [it.acceptances[0] for it in (unanswered, answered, forgotten)]
    assert [(it.new, it.answer) for it in found] == [(False, None), (False, b"four"), (True, None)]


def test_of_answers_that_are_too_many_the_newest_are_known(journals: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_journal, "ANSWERS_MAX_BYTES", 250)
    journal, asked = journals(), [arrival(name, message=None) for name in "abcd"]
    journal.exchange(NOW, arrivals=asked)
    for name in "abcd":
        journal.exchange(NOW, answers=[EventAnswer(name, bytes(100))])

    known = journal.exchange(NOW, arrivals=asked).acceptances
    assert [it.answer is not None for it in known] == [False, False, True, True]


def test_nothing_of_an_answer_that_is_forgotten_stays_in_the_files(journals: Open, tmp_path: Path) -> None:
    journal = journals()
    journal.exchange(NOW, answers=[EventAnswer("a", b"kittiwake" * 1000)])
    kept = [it.name for it in tmp_path.iterdir() if b"kittiwake" in it.read_bytes()]
    journal.exchange(NOW + SEEN_S + 60)

    assert kept != []
    assert [it.name for it in tmp_path.iterdir() if b"kittiwake" in it.read_bytes()] == []


def test_events_of_a_call_come_in_order_and_those_of_others_do_not_wait(journals: Open) -> None:
    journal = journals()
    found = journal.exchange(NOW, arrivals=[arrival("a1", "a"), arrival("a2", "a"), arrival("b1", "b")], room=9)
    first = {it.delivery_id: it.number for it in found.deliveries}
    retried = journal.exchange(NOW, outcomes=[DeliveryOutcome(first["a1"], 5.0), DeliveryOutcome(first["b1"], None)])

    assert sorted(first) == ["a1", "b1"]
    assert (retried.waiting, taken(journal, NOW + 4)) == (2, [])
    again = journal.exchange(NOW + 5, room=9).deliveries
    assert [(it.delivery_id, it.tries) for it in again] == [("a1", 1)]
    journal.exchange(NOW + 5, outcomes=[DeliveryOutcome(again[0].number, None)])
    assert taken(journal, NOW + 5) == ["a2"]


def test_what_one_process_has_taken_another_gets_only_after_its_lease(journals: Open) -> None:
    one, other = journals(), journals()
    one.exchange(NOW, arrivals=[arrival("a")])

    assert taken(one) == ["a"]
    assert taken(other, NOW + LEASE_S - 1) == []
    assert taken(other, NOW + LEASE_S) == ["a"]


def test_a_clock_that_was_set_back_holds_nothing_up(journals: Open) -> None:
    journal = journals()
    journal.exchange(NOW + 1e6, arrivals=[arrival("a")])

    assert taken(journal, NOW) == ["a"]


def test_the_oldest_is_given_up_for_its_age_and_the_next_of_its_call_follows(journals: Open) -> None:
    journal = journals()
    journal.exchange(NOW, arrivals=[arrival("a1")])
    journal.exchange(NOW + 10, arrivals=[arrival("a2")])
    found = journal.exchange(NOW + KEPT_S + 1, room=9)

    assert [(it.delivery_id, it.cause) for it in found.given_up] == [("a1", "age")]
    assert [it.delivery_id for it in found.deliveries] == ["a2"]


def test_a_full_file_gives_up_the_oldest(journals: Open) -> None:
    journal = journals(max_bytes=400_000)
    given_up: list[str] = []
    for number in range(20):
        found = journal.exchange(NOW, arrivals=[arrival(str(number), str(number), bytes(50_000))])
        assert {it.cause for it in found.given_up} <= {"full"}
        given_up += [it.delivery_id for it in found.given_up]

    assert given_up == [str(number) for number in range(len(given_up))]
    assert 12 <= len(given_up) < 20
    assert sorted(taken(journal), key=int) == [str(number) for number in range(len(given_up), 20)]


def test_how_many_were_ever_accepted_is_known_to_the_next_process(journals: Open) -> None:
    before = journals().accepted()
    journals().exchange(NOW, arrivals=[arrival("a"), arrival("a"), arrival("b")])

    assert (before, journals().accepted()) == ((0, None), (2, NOW))


def test_that_is_read_without_a_trace_also_beside_a_process_that_writes(journals: Open, tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    before = (ever_accepted(path), path.exists())
    journals().exchange(NOW, arrivals=[arrival("a")])

    assert (before, ever_accepted(path)) == ((0, False), 1)


def test_nothing_of_a_delivered_event_stays_in_the_files(journals: Open, tmp_path: Path) -> None:
    journal = journals()
    (delivery,) = journal.exchange(NOW, arrivals=[arrival("a", message=b"kittiwake" * 1000)], room=1).deliveries
    journal.exchange(NOW, outcomes=[DeliveryOutcome(delivery.number, None)])

    assert [it.name for it in tmp_path.iterdir() if b"kittiwake" in it.read_bytes()] == []


_KILLED = """
import os, signal, sys
from pathlib import Path
from relay.state.event_journal import Arrival, EventJournal
journal = EventJournal(Path(sys.argv[1]), lease_s=10.0)
for number in range(20):
    id = str(number)
    one = Arrival(delivery_id=id, type="hang", assistant_call_id=id, relay_call_id=None, message=b"{}")
    journal.exchange(1_800_000_000.0, arrivals=[one])
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_was_accepted_survives_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    process = subprocess.run([sys.executable, "-c", _KILLED, str(path)], env=dict(os.environ), check=False)
    with closing(EventJournal(path, lease_s=LEASE_S)) as journal:
        assert process.returncode == -signal.SIGKILL
        assert sorted(taken(journal), key=int) == [str(number) for number in range(20)]


def test_a_file_that_cannot_be_used_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "events.db").mkdir()
    with (
        closing(EventJournal(tmp_path / "events.db", lease_s=LEASE_S)) as journal,
        pytest.raises((OSError, sqlite3.Error)),
    ):
        journal.exchange(NOW)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=25))
def test_whatever_fails_each_call_s_events_are_delivered_in_order_and_once(steps: list[tuple[str, bool]]) -> None:
    with TemporaryDirectory() as folder, closing(EventJournal(Path(folder, "x.db"), lease_s=LEASE_S)) as journal:
        arrivals = [arrival(f"{call}{number}", call) for number, (call, _) in enumerate(steps)]
        fails = {it.delivery_id: fail for it, (_, fail) in zip(arrivals, steps, strict=True)}
        done: list[str] = []
        found, now = journal.exchange(NOW, arrivals=arrivals, room=4), NOW
        while found.waiting:
            now += 1
            outcomes = []
            for it in found.deliveries:
                failed = fails[it.delivery_id] and it.tries == 0
                outcomes.append(DeliveryOutcome(it.number, 3.0 if failed else None))
                done += [] if failed else [it.delivery_id]
            found = journal.exchange(now, outcomes=outcomes, room=4)

    for call in "abc":
        assert [it for it in done if it[0] == call] == [it.delivery_id for it in arrivals if it.delivery_id[0] == call]
