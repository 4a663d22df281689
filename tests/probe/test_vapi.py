"""All the questions to Vapi together, in the order in which they are asked."""

from dataclasses import replace

import pytest
from trio.testing import MockClock

from relay.probe.budget import Budget
from relay.probe.finding import config_that_follows
from relay.probe.question import ask_all
from relay.probe.vapi import QUESTIONS
from relay.standin.assistant import Behaviour
from relay.standin.assistant.behaviour import as_documented
from tests.support.probes import loaded, probed


@pytest.mark.parametrize(
    "behaviour", [Behaviour(), as_documented(Behaviour(downlink_silence=False))], ids=["as recorded", "as documented"]
)
async def test_every_question_has_an_answer_and_the_configuration_is_read(
    clock: MockClock, behaviour: Behaviour
) -> None:
    told: list[str] = []
    async with probed(behaviour) as at:
        findings = await ask_all(QUESTIONS, at.account, Budget(100, 1), told.append)

        assert (at.unended, at.left_running) == ([], [])
        assert at.ordered_s <= sum(question.paid_s for question in QUESTIONS)
    assert [finding.answer.found for finding in findings if finding.answer.failed] == []
    assert told == [question.text for question in QUESTIONS if question.ask is not None]
    config = loaded(config_that_follows(findings, {"vapi.assistant_id": "a"}))
    assert config.assistants[0].send_silence_timeout is (behaviour.properties == "legacy")
    assert config.reconnect.replay_speed == 2.0


async def test_a_key_that_is_refused_is_asked_once(clock: MockClock) -> None:
    async with probed() as at:
        at.assistant.key = "another"
        findings = await ask_all(QUESTIONS, at.account, Budget(100, 1))

        assert at.assistant.counts["unauthorized"] == 1
    asked = [finding.answer for finding, question in zip(findings, QUESTIONS, strict=True) if question.ask is not None]
    assert all(answer.failed for answer in asked)
    assert all("private key" in answer.found for answer in asked)


async def test_a_service_that_fails_leaves_no_question_without_an_answer(clock: MockClock) -> None:
    async with probed(replace(Behaviour(), create_status=500)) as at:
        findings = await ask_all(QUESTIONS, at.account, Budget(100, 1))

    assert [it.answer.failed for it in findings] == [question.ask is not None for question in QUESTIONS]


def test_what_each_question_costs_is_within_the_default_cap() -> None:
    seconds = sum(question.paid_s for question in QUESTIONS)

    assert Budget(2.0, 0.3).affords(seconds)
