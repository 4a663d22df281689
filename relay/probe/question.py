"""Questions are asked one by one, each within its deadline and what is left of the budget."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import trio

from relay.errors import AssistantUnavailable, RelayError
from relay.probe.budget import Budget, BudgetSpent
from relay.probe.finding import Answer, Finding

A = TypeVar("A")
Ask = Callable[[A], Awaitable[Answer]]


class AccountUnusable(RelayError):
    """The account answers in a way that leaves nothing to ask; the text says what to do."""

    code = "ACCOUNT_UNUSABLE"


@dataclass(frozen=True, slots=True)
class Question(Generic[A]):
    """One question.

    ask: measures it; None where it cannot be measured from here, for which `not_measurable` is the reason.
    paid_s: the most seconds of calls that it is charged for.
    deadline_s: how long it may take; on cancellation `ask` ends the calls that it placed.
    """

    text: str
    expected: str
    ask: Ask[A] | None = None
    paid_s: float = 0.0
    deadline_s: float = 60.0
    not_measurable: str = ""


def affordable(questions: Iterable[Question[A]], budget: Budget) -> list[Question[A]]:
    """The questions, in order, whose calls the budget covers together."""
    chosen: list[Question[A]] = []
    paid_s = 0.0
    for question in questions:
        if budget.affords(paid_s + question.paid_s):
            chosen.append(question)
            paid_s += question.paid_s
    return chosen


async def ask_all(
    questions: Sequence[Question[A]], account: A, budget: Budget, tell: Callable[[str], None] = lambda _: None
) -> list[Finding]:
    """Ask every question in turn; `tell` hears which one is being asked.

    One that is above the budget, late or fails is a finding that says so. Once the account is unusable, no other
    question is asked.
    """
    chosen = affordable(questions, budget)
    findings: list[Finding] = []
    unusable = ""
    for question in questions:
        if question.ask is None:
            answer = Answer(found=f"not measurable: {question.not_measurable}", note="none")
        elif question not in chosen:
            answer = Answer(found="not measured: it would cost more than --max-cost allows", note="raise --max-cost")
        elif unusable:
            answer = _failed(unusable)
        else:
            tell(question.text)
            answer, unusable = await _asked(question.ask, account, question.deadline_s)
        findings.append(Finding(question.text, question.expected, answer))
    return findings


async def _asked(ask: Ask[A], account: A, deadline_s: float) -> tuple[Answer, str]:
    """The answer, and why no other question makes sense after it, "" if they do."""
    try:
        with trio.move_on_after(deadline_s):
            return await ask(account), ""
    except AccountUnusable as error:
        return _failed(str(error)), str(error)
    except AssistantUnavailable as error:
        return _failed(str(error)), "" if error.retriable else str(error)
    except BudgetSpent as error:
        return _failed(str(error)), ""
    except RelayError as error:
        return _failed(f"{error.code} {error}"), ""
    return _failed(f"no answer within {deadline_s:g} s"), ""


def _failed(why: str) -> Answer:
    return Answer(found=f"not measured: {why}", note="ask again", failed=True)
