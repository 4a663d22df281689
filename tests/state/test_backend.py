"""The contract of every place that keeps records: in memory, in a file, in a real Redis."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from relay.state.backend import LETTERS_MAX, Backend, Claim
from relay.state.memory import MemoryBackend, MemoryTables
from relay.state.redis import RedisBackend
from relay.state.sqlite import SqliteBackend

Open = Callable[..., Backend]
LONG_S = 600.0
"""A lease that does not end within a test."""


@pytest.fixture(params=["memory", "sqlite", "redis"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    """Opens the same place for one more owner."""
    backends: list[Backend] = []
    make: Callable[..., Backend]
    if request.param == "memory":
        tables = MemoryTables()

        def make(owner: str, **options: Any) -> Backend:
            return MemoryBackend(owner, tables, **options)

    elif request.param == "sqlite":

        def make(owner: str, **options: Any) -> Backend:
            return SqliteBackend(owner, tmp_path / "relay.db", **options)

    else:
        server = request.getfixturevalue("redis_server")

        def make(owner: str, **options: Any) -> Backend:
            return RedisBackend(owner, server.url, timeout_s=10, **options)

    def opened(owner: str, *, lease_s: float = LONG_S) -> Backend:
        backends.append(make(owner, lease_s=lease_s))
        return backends[-1]

    yield opened
    for backend in backends:
        backend.close()


def later() -> float:
    return time.time() + 600


def test_a_record_that_was_saved_is_there_for_everybody(opened: Open) -> None:
    one, two = opened("one"), opened("two")

    assert one.load("CA1") is None
    assert one.save("CA1", b"first", later())
    assert one.save("CA2", b"other \xff\x00", later())
    assert one.save("CA1", b"second", later())

    assert two.load("CA1") == b"second"
    assert two.load("CA2") == b"other \xff\x00"


def test_a_record_that_expired_is_there_for_nobody(opened: Open) -> None:
    one, two = opened("one"), opened("two")
    one.save("CA1", b"old", time.time() - 1)
    one.retire()

    assert one.load("CA1") is None
    assert two.take("CA1") is None


def test_a_record_expires_while_it_is_kept(opened: Open) -> None:
    one = opened("one")
    one.save("CA1", b"short", time.time() + 0.1)
    one.save("CA2", b"long", later())
    deadline = time.monotonic() + 20
    while one.load("CA1") is not None and time.monotonic() < deadline:
        time.sleep(0.02)
    one.beat()

    assert one.load("CA1") is None
    assert one.load("CA2") == b"long"


def test_a_record_of_an_owner_that_lives_is_not_to_be_had(opened: Open) -> None:
    one, two = opened("one"), opened("two")
    one.save("CA1", b"mine", later())

    assert two.take("CA1") == Claim(b"mine", taken=False)
    assert not two.save("CA1", b"not yours", later())
    two.delete("CA1")
    assert one.load("CA1") == b"mine"
    assert one.save("CA1", b"still mine", later())


def test_a_beat_alone_keeps_an_owner_alive(opened: Open) -> None:
    one, two = opened("one", lease_s=0.01), opened("two")
    one.save("CA1", b"mine", later())
    opened("one").beat()

    assert two.take("CA1") == Claim(b"mine", taken=False)


def test_an_owner_that_was_not_heard_of_loses_its_records(opened: Open) -> None:
    one, two = opened("one", lease_s=0.01), opened("two")
    one.save("CA1", b"left", later())
    time.sleep(0.05)

    assert two.take("CA1") == Claim(b"left", taken=True)
    assert not one.save("CA1", b"too late", later())
    one.delete("CA1")
    assert two.load("CA1") == b"left"
    assert two.save("CA1", b"going on", later())


def test_an_owner_that_retires_gives_its_records_away_at_once(opened: Open) -> None:
    one, two, three = opened("one"), opened("two"), opened("three")
    one.save("CA1", b"given", later())
    one.retire()

    assert two.take("CA1") == Claim(b"given", taken=True)
    assert three.take("CA1") == Claim(b"given", taken=False)


def test_taking_twice_is_no_error(opened: Open) -> None:
    one, two = opened("one"), opened("two")
    one.save("CA1", b"given", later())
    one.retire()

    assert two.take("CA1") == two.take("CA1") == Claim(b"given", taken=True)
    assert one.take("CA1") == Claim(b"given", taken=False)


def test_what_is_not_there_cannot_be_taken(opened: Open) -> None:
    assert opened("one").take("CA1") is None


def test_a_call_may_begin_anew_where_a_dead_owner_left_a_record(opened: Open) -> None:
    one, two = opened("one"), opened("two")
    one.save("CA1", b"left", later())
    one.retire()

    assert two.save("CA1", b"new", later())
    assert not one.save("CA1", b"too late", later())


def test_a_record_that_was_deleted_is_gone(opened: Open) -> None:
    one = opened("one")
    one.save("CA1", b"mine", later())
    one.delete("CA1")
    one.delete("CA1")

    assert one.load("CA1") is None


def test_of_many_that_ask_at_once_exactly_one_gets_the_record(opened: Open) -> None:
    one = opened("one")
    sids = [f"CA{number}" for number in range(10)]
    for sid in sids:
        one.save(sid, b"left", later())
    one.retire()
    askers = [opened(f"asker {number}") for number in range(6)]
    together = Barrier(len(askers))

    def ask(backend: Backend) -> list[bool]:
        together.wait(timeout=20)
        return [held.taken for sid in sids if (held := backend.take(sid))]

    with ThreadPoolExecutor(len(askers)) as threads:
        answers = list(threads.map(ask, askers))

    assert [sum(of_one) for of_one in zip(*answers, strict=True)] == [1] * len(sids)


def test_by_force_a_record_is_taken_from_an_owner_that_lives(opened: Open) -> None:
    one, two = opened("one"), opened("two")
    one.save("CA1", b"mine", later())

    assert two.take("CA1", by_force=True) == Claim(b"mine", taken=True)
    assert two.take("CA9", by_force=True) is None
    assert not one.save("CA1", b"too late", later())
    assert one.take("CA1") == Claim(b"mine", taken=False)


def test_a_record_that_is_still_what_was_seen_is_swapped_whoever_owns_it(opened: Open) -> None:
    one, two, three = opened("one"), opened("two"), opened("three")
    one.save("CA1", b"seen", later())

    assert not two.swap("CA1", b"other", b"new")
    assert not two.swap("CA9", b"seen", b"new")
    assert two.swap("CA1", b"seen", b"new \xff\x00")
    assert not three.swap("CA1", b"seen", b"mine")
    assert not one.save("CA1", b"too late", later())
    assert one.load("CA1") == b"new \xff\x00"
    assert two.save("CA1", b"going on", later())


def test_a_record_that_expired_is_not_swapped(opened: Open) -> None:
    one = opened("one")
    one.save("CA1", b"old", time.time() - 1)

    assert not one.swap("CA1", b"old", b"new")


def test_an_owner_can_ask_which_calls_are_still_its_own(opened: Open) -> None:
    one, two = opened("one"), opened("two")
    for sid in ("CA1", "CA2", "CA3"):
        one.save(sid, b"mine", later())
    two.take("CA2", by_force=True)
    two.swap("CA3", b"mine", b"theirs")

    assert one.owns(["CA1", "CA2", "CA3", "CA9"]) == [True, False, False, None]
    assert two.owns(["CA2", "CA3"]) == [True, True]
    assert one.owns([]) == []


def test_of_many_that_swap_at_once_exactly_one_succeeds(opened: Open) -> None:
    one = opened("one")
    sids = [f"CA{number}" for number in range(10)]
    for sid in sids:
        one.save(sid, b"seen", later())
    askers = [(f"asker {number}", opened(f"asker {number}")) for number in range(6)]
    together = Barrier(len(askers))

    def ask(asker: tuple[str, Backend]) -> list[bool]:
        together.wait(timeout=20)
        return [asker[1].swap(sid, b"seen", asker[0].encode()) for sid in sids]

    with ThreadPoolExecutor(len(askers)) as threads:
        answers = list(threads.map(ask, askers))

    assert [sum(of_one) for of_one in zip(*answers, strict=True)] == [1] * len(sids)


def test_whose_an_assistant_s_call_is_is_known_to_everybody_until_it_expires(opened: Open) -> None:
    one, two = opened("one"), opened("two")
    one.note("v1", "CA1", b"ours", 600.0)
    one.note("v2", "CA2", b"short", 0.001)
    time.sleep(0.01)

    assert [two.whose(name) for name in ("v1", "v2", "v3")] == [b"ours", None, None]


def test_a_letter_is_for_who_has_the_call_and_for_nobody_else(opened: Open) -> None:
    one, two, three = opened("one"), opened("two"), opened("three")
    for backend in (one, two, three):
        backend.beat()
    one.note("v1", "CA1", b"ours", 600.0)
    two.post([("v1", b"a"), ("v2", b"nobody's"), ("v1", b"b")])
    one.post([("v1", b"its own")])

    assert (one.letters(), two.letters(), three.letters()) == ([b"a", b"b"], [], [])
    assert one.letters() == []


def test_a_letter_follows_its_call_to_the_process_that_took_it_over(opened: Open) -> None:
    one, two, three = opened("one"), opened("two"), opened("three")
    for backend in (one, two, three):
        backend.beat()
    one.note("v1", "CA1", b"ours", 600.0)
    one.save("CA1", b"record", later())
    two.take("CA1", by_force=True)
    three.post([("v1", b"a")])

    assert (one.letters(), two.letters()) == ([], [b"a"])


def test_a_letter_for_a_process_that_is_gone_is_not_kept(opened: Open) -> None:
    one, two = opened("one"), opened("two")
    one.beat()
    one.note("v1", "CA1", b"ours", 600.0)
    one.retire()
    two.post([("v1", b"a")])

    assert one.letters() == []


def test_only_so_many_letters_wait_for_one(opened: Open) -> None:
    one, two = opened("one"), opened("two")
    one.beat()
    one.note("v1", "CA1", b"ours", 600.0)
    assert two.post([("v1", b"%d" % number) for number in range(LETTERS_MAX)]) == 0
    assert two.post([("v1", b"%d" % number) for number in range(LETTERS_MAX, LETTERS_MAX + 3)]) == 3

    letters = one.letters()
    assert (len(letters), letters[0], letters[-1]) == (LETTERS_MAX, b"3", b"%d" % (LETTERS_MAX + 2))


def test_a_question_is_claimed_once_until_the_claim_ends(opened: Open) -> None:
    one, two = opened("one"), opened("two")

    assert one.claim_question("q1", 600.0)
    assert not two.claim_question("q1", 600.0)
    assert one.claim_question("q1", 600.0)  # as when the first answer to it was lost
    assert two.claim_question("q2", 0.001)
    time.sleep(0.01)
    assert one.claim_question("q2", 600.0)


def test_an_answer_is_for_everybody_and_nobody_asks_again_while_it_is_kept(opened: Open) -> None:
    one, two = opened("one"), opened("two")
    one.claim_question("q1", 0.001)

    assert [two.answer_to(question) for question in ("q1", "q9")] == [None, None]
    one.keep_answer("q1", b"yes \xff\x00", 600.0)
    two.keep_answer("q2", b"unasked", 0.001)
    time.sleep(0.01)
    one.beat()
    assert [two.answer_to(question) for question in ("q1", "q2")] == [b"yes \xff\x00", None]
    assert [backend.claim_question("q1", 600.0) for backend in (one, two)] == [False, False]


def test_of_many_that_claim_at_once_exactly_one_succeeds(opened: Open) -> None:
    questions = [f"q{number}" for number in range(10)]
    askers = [opened(f"asker {number}") for number in range(6)]
    together = Barrier(len(askers))

    def ask(backend: Backend) -> list[bool]:
        together.wait(timeout=20)
        return [backend.claim_question(question, 600.0) for question in questions]

    with ThreadPoolExecutor(len(askers)) as threads:
        answers = list(threads.map(ask, askers))

    assert [sum(of_one) for of_one in zip(*answers, strict=True)] == [1] * len(questions)
