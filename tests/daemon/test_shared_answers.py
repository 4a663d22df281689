"""A question that comes to several processes is asked once, and each of them has an answer in time, or says so."""

from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock

from relay.daemon.shared_answers import CLAIM_WAIT_S, KEPT_S, LOOK_EVERY_S, SharedAnswers
from relay.metrics import Metrics
from relay.state import StateStore
from relay.state.memory import MemoryBackend, MemoryTables
from relay.state.redis import RedisBackend
from relay.state.store import Executor, T, inline, one_worker
from tests.support.redis_server import RedisServer

ANSWER_S = 5.0


class Backend(MemoryBackend):
    """Can be down."""

    down = False

    def answer_to(self, question: str) -> bytes | None:
        if self.down:
            raise ConnectionError
        return super().answer_to(question)

    def claim_question(self, question: str, hold_s: float) -> bool:
        if self.down:
            raise ConnectionError
        return super().claim_question(question, hold_s)


def shared(tables: MemoryTables, name: str = "one", executor: Executor = inline) -> tuple[SharedAnswers, Backend]:
    backend = Backend(name, tables, wall=trio.current_time)
    return SharedAnswers(StateStore(backend, Metrics(), executor=executor), ANSWER_S), backend


class Operator:
    """The endpoint that is asked; it takes its time."""

    def __init__(self, takes_s: float = 1.0) -> None:
        self.asked = 0
        self._takes_s = takes_s

    async def answer(self) -> bytes:
        self.asked += 1
        number = self.asked
        await trio.sleep(self._takes_s)
        return b"answer %d" % number


async def at_once(*asks: Callable[[], Awaitable[bytes | None]]) -> list[bytes | None]:
    answers = list[bytes | None]()

    async def note(ask: Callable[[], Awaitable[bytes | None]]) -> None:
        answers.append(await ask())

    async with trio.open_nursery() as nursery:
        for ask in asks:
            nursery.start_soon(note, ask)
    return answers


async def test_of_two_processes_one_asks_and_both_have_its_answer(autojump_clock: MockClock) -> None:
    tables, operator = MemoryTables(), Operator()
    (one, _), (two, _) = shared(tables), shared(tables, "two")

    answers = await at_once(lambda: one.once("q", operator.answer), lambda: two.once("q", operator.answer))

    assert (answers, operator.asked) == ([b"answer 1"] * 2, 1)
    assert trio.current_time() <= 1.0 + LOOK_EVERY_S + 0.01
    assert await two.once("q", operator.answer) == b"answer 1"
    assert await two.once("another", operator.answer) == b"answer 2"
    await trio.sleep(KEPT_S)
    assert await two.once("q", operator.answer) == b"answer 3"


async def test_where_the_first_dies_the_other_waits_so_long_and_no_longer(autojump_clock: MockClock) -> None:
    tables, operator = MemoryTables(), Operator()
    (one, _), (two, _) = shared(tables), shared(tables, "two")
    with trio.move_on_after(0.5):
        await one.once("q", operator.answer)
    began_s = trio.current_time()

    assert await two.once("q", operator.answer) is None
    assert trio.current_time() - began_s == pytest.approx(ANSWER_S, abs=0.01)
    assert await two.once("q", operator.answer) == b"answer 2"


async def test_a_store_that_is_away_costs_no_answer_and_hardly_any_time(autojump_clock: MockClock) -> None:
    tables, operator = MemoryTables(), Operator(0.0)
    one, backend = shared(tables)
    backend.down = True
    began_s = trio.current_time()

    assert await one.once("q", operator.answer) == b"answer 1"
    assert await one.once("q", operator.answer) == b"answer 2"
    assert trio.current_time() - began_s < 0.1


async def test_a_store_that_hangs_is_not_waited_for(autojump_clock: MockClock) -> None:
    async def hang(function: Callable[[], T]) -> T:
        await trio.sleep_forever()
        raise AssertionError(function)

    operator = Operator(0.0)
    one, _ = shared(MemoryTables(), executor=hang)

    assert await one.once("q", operator.answer) == b"answer 1"
    assert trio.current_time() <= 2 * CLAIM_WAIT_S + 0.01


async def test_a_store_that_goes_away_while_another_process_asks_has_the_question_asked_here(
    autojump_clock: MockClock,
) -> None:
    tables, operator = MemoryTables(), Operator(3.0)
    (one, _), (two, backend) = shared(tables), shared(tables, "two")

    async def ask_two() -> bytes | None:
        await trio.sleep(0.5)  # when one has begun to ask
        return await two.once("q", operator.answer)

    async def goes_away() -> None:
        await trio.sleep(1)
        backend.down = True

    async with trio.open_nursery() as nursery:
        nursery.start_soon(goes_away)
        answers = await at_once(lambda: one.once("q", operator.answer), ask_two)

    assert sorted(answer or b"" for answer in answers) == [b"answer 1", b"answer 2"]


async def test_without_a_store_each_question_is_asked(autojump_clock: MockClock) -> None:
    operator, alone = Operator(), SharedAnswers(None, ANSWER_S)

    assert [await alone.once("q", operator.answer) for _ in range(2)] == [b"answer 1", b"answer 2"]
    assert await alone.wait("q", ANSWER_S) is None


async def test_two_processes_with_a_real_redis_ask_once(redis_server: RedisServer) -> None:
    operator = Operator(0.2)
    stores = [StateStore(RedisBackend(name, redis_server.url), Metrics(), executor=one_worker()) for name in "ab"]
    one, two = (SharedAnswers(store, ANSWER_S) for store in stores)

    answers = await at_once(lambda: one.once("q", operator.answer), lambda: two.once("q", operator.answer))

    assert (answers, operator.asked) == ([b"answer 1"] * 2, 1)
    for store in stores:
        await store.aclose()
