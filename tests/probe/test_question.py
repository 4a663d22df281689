"""Questions are asked one by one: the cap, deadlines, and what a failure of one means for the others."""

from collections.abc import Awaitable, Callable

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from relay.errors import AssistantUnavailable, LegLost
from relay.probe.budget import Budget, BudgetSpent
from relay.probe.finding import Answer
from relay.probe.question import AccountUnusable, Question, affordable, ask_all

PLENTY = Budget(100, 1)
Ask = Callable[[str], Awaitable[Answer]]


async def yes(account: str) -> Answer:
    await trio.lowlevel.checkpoint()
    return Answer(found=f"yes, {account}")


def raising(error: Exception) -> Ask:
    async def ask(account: str) -> Answer:
        await trio.lowlevel.checkpoint()
        raise error

    return ask


def question(ask: Ask | None, text: str = "?", **more: float) -> Question[str]:
    return Question(text, "yes", ask, **more)  # type: ignore[arg-type]


async def found(*asks: Ask | None) -> list[str]:
    findings = await ask_all([question(ask) for ask in asks], "account", PLENTY)
    return [finding.answer.found for finding in findings]


async def test_each_question_is_told_and_asked_in_its_turn() -> None:
    told: list[str] = []
    questions = [question(yes, "first?"), question(None, "never?"), question(yes, "last?")]
    findings = await ask_all(questions, "account", PLENTY, told.append)

    assert told == ["first?", "last?"]
    assert [finding.question for finding in findings] == ["first?", "never?", "last?"]
    assert [finding.answer.failed for finding in findings] == [False, False, False]


async def test_what_cannot_be_measured_says_why() -> None:
    asked: Question[str] = Question("Is it so?", "yes", not_measurable="nobody tells")
    (finding,) = await ask_all([asked], "account", PLENTY)

    assert finding.answer == Answer(found="not measurable: nobody tells", note="none")


@pytest.mark.parametrize(
    ("error", "says", "goes_on"),
    [
        (LegLost("TIMEOUT host"), "LEG_LOST TIMEOUT host", True),
        (BudgetSpent("a call of 9 s would cost more"), "a call of 9 s would cost more", True),
        (AssistantUnavailable("no answer", "VAPI_UNREACHABLE", retriable=True), "no answer", True),
        (AssistantUnavailable("wrong key", "VAPI_UNAUTHORIZED", retriable=False), "wrong key", False),
        (AccountUnusable("suspended"), "suspended", False),
    ],
)
async def test_a_failure_is_a_finding_and_the_account_s_own_ends_the_questions(
    error: Exception, says: str, goes_on: bool
) -> None:
    first, second = await found(raising(error), yes)

    assert first == f"not measured: {says}"
    assert second == ("yes, account" if goes_on else f"not measured: {says}")


async def test_a_bug_is_no_finding() -> None:
    with pytest.raises(ZeroDivisionError):
        await found(raising(ZeroDivisionError()))


async def test_a_question_that_takes_too_long_is_a_failure(autojump_clock: MockClock) -> None:
    async def never(account: str) -> Answer:
        await trio.sleep_forever()
        raise AssertionError

    (finding,) = await ask_all([question(never, deadline_s=30)], "account", PLENTY)

    assert trio.current_time() == 30
    assert finding.answer == Answer(found="not measured: no answer within 30 s", note="ask again", failed=True)


@given(st.lists(st.floats(0, 100), max_size=20), st.floats(0, 500))
def test_the_questions_chosen_cost_no_more_than_the_cap_together(paid_s: list[float], max_s: float) -> None:
    questions = [question(yes, str(index), paid_s=each_s) for index, each_s in enumerate(paid_s)]
    chosen = affordable(questions, Budget(max_s / 60, 1))

    assert sum(it.paid_s for it in chosen) <= max_s * (1 + 1e-9)
    assert [it for it in questions if it.paid_s == 0 and it not in chosen] == []


async def test_a_question_above_the_cap_is_left_out_and_says_so() -> None:
    questions = [question(yes, "cheap", paid_s=10), question(yes, "dear", paid_s=1000), question(yes, "free")]
    findings = await ask_all(questions, "account", Budget(1, 1))

    assert [it.answer.found.partition(":")[0] for it in findings] == ["yes, account", "not measured", "yes, account"]
    assert findings[1].setting == "raise --max-cost"
