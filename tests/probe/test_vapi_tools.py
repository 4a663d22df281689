"""What an assistant can ask for is read from its tools, wherever they stand."""

from collections.abc import Mapping
from typing import Any

import pytest
from trio.testing import MockClock

from relay.probe.budget import Budget
from relay.probe.question import ask_all
from relay.probe.vapi import QUESTIONS, questions
from relay.probe.vapi_tools import GIVE_IT_ONE, transfer_tool
from relay.standin.assistant import Behaviour
from tests.support.probes import answer_to, probed

OURS = {"type": "function", "function": {"name": "transferCall", "parameters": {}}}
VAPIS = {"type": "transferCall", "destinations": []}
OTHER = {"type": "function", "function": {"name": "weather"}}
WEBHOOKS = '[transfer]\nallow = ["+4930*"]\n'


@pytest.mark.parametrize(
    ("tools", "found", "note", "failed"),
    [
        ([OTHER, OURS], "a function named transferCall", "set vapi.webhooks", False),
        ([OTHER, OURS | {"id": "t1"}], "a function named transferCall", "set vapi.webhooks", False),
        ([VAPIS], "Vapi's own transferCall: that", f"if transfers do not happen, {GIVE_IT_ONE}", False),
        ([VAPIS, OURS], "a function named transferCall", "set vapi.webhooks", False),
        ([OTHER | {"id": "t1"}, {"type": "function", "function": None}], "none", GIVE_IT_ONE, True),
        ([], "none", GIVE_IT_ONE, True),
    ],
)
async def test_the_tool_is_found(
    clock: MockClock, tools: list[Mapping[str, Any]], found: str, note: str, failed: bool
) -> None:
    answer = await answer_to(transfer_tool, Behaviour(tools=tuple(tools)), WEBHOOKS)

    assert answer.found.startswith(found)
    assert (answer.note, answer.failed) == (note, failed)


async def test_a_tool_that_is_gone_is_said(clock: MockClock) -> None:
    async with probed(Behaviour(tools=(OURS | {"id": "../call"},))) as at:
        (finding,) = await ask_all(questions(["+4930*"])[-1:], at.account, Budget(1, 1))

    assert finding.answer.failed
    assert finding.answer.found == "not measured: VAPI_REFUSED GET /tool/... is answered with 404"


def test_it_is_asked_last_costs_nothing_and_only_where_anybody_may_be_dialled() -> None:
    asked, not_asked = questions(["sip:*"]), questions([])

    assert asked[:-1] == not_asked[:-1] == QUESTIONS
    assert (asked[-1].paid_s, asked[-1].ask) == (0, transfer_tool)
    assert not_asked[-1].not_measurable == "transfer.allow is empty"
