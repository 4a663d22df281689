"""The assistants in their order, and what one call learns about them, which all others then know."""

import pytest

from relay.call.assistant.placer import CallPlacer
from relay.call.assistant.pool import AssistantPool
from relay.logic.assistant.breaker import BreakerRules
from relay.logic.assistant.ladder import Dial, Wait
from relay.media.frames import WIDEBAND
from relay.metrics import Metrics
from tests.support.callrig import MULAW, FakeDialer

RULES = BreakerRules(failures=2, open_s=10.0)


@pytest.fixture
async def pool() -> AssistantPool:
    return AssistantPool([FakeDialer(MULAW, "main"), FakeDialer(WIDEBAND, "spare")], CallPlacer(Metrics()), RULES)


async def test_calls_begin_with_the_first(pool: AssistantPool) -> None:
    assert len(pool) == 2
    assert (pool.first.name, pool.first.format) == ("main", MULAW)
    assert pool.ladder(1).next(0.0) == Dial(0)


async def test_an_assistant_is_found_by_its_name_while_it_is_configured(pool: AssistantPool) -> None:
    assert pool.find("spare") is pool.dialers[1]
    assert pool.find("gone") is None


async def test_each_call_has_its_own_tries(pool: AssistantPool) -> None:
    one, another = pool.ladder(1), pool.ladder(1)

    assert [one.next(0.0), one.next(0.0), one.next(0.0)] == [Dial(0), Dial(1), None]
    assert another.next(0.0) == Dial(0)


async def test_what_fails_for_one_call_is_left_out_by_the_others(pool: AssistantPool) -> None:
    one = pool.ladder(3)
    for _ in range(RULES.failures):
        assert one.next(0.0) == Dial(0)
        one.failed(0, 0.0, retriable=True)

    assert pool.ladder(3).next(1.0) == Dial(1)
    for _ in range(RULES.failures):
        pool.breakers[1].failed(1.0)
    assert pool.ladder(3).next(2.0) == Wait(RULES.open_s)
    assert pool.ladder(3).next(RULES.open_s) == Dial(0)


def test_what_is_known_of_an_assistant_stays_known_in_the_next_pool() -> None:
    placer = CallPlacer(Metrics())
    stays, goes, comes = FakeDialer(MULAW, "stays"), FakeDialer(MULAW, "goes"), FakeDialer(MULAW, "comes")
    pool = AssistantPool([goes, stays], placer)
    renewed = pool.renewed([stays, comes])

    assert (renewed.dialers, renewed.placer) == ((stays, comes), placer)
    assert renewed.breakers[0] is pool.breakers[1]
    assert renewed.breakers[1] not in pool.breakers
