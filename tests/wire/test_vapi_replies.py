"""The answers to webhooks that ask: what the operator's endpoint may say, and what is said without it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.wire.vapi_events import VapiEvent, parse_event
from relay.wire.vapi_replies import answer_of, refusal

TOOLS = [{"id": "t1", "name": "f"}, {"id": "t2", "name": "g"}]


def asking(kind: str) -> VapiEvent:
    return parse_event(json.dumps({"message": {"type": kind, "toolCallList": TOOLS}}).encode())


def answered(kind: str, told: object) -> Any:
    answer = answer_of(asking(kind), json.dumps(told).encode())
    return None if answer is None else json.loads(answer)


def test_a_refusal_says_why_for_each_tool_call() -> None:
    assert json.loads(refusal(asking("tool-calls"), "nobody answers")) == {
        "results": [
            {"toolCallId": "t1", "name": "f", "error": "nobody answers"},
            {"toolCallId": "t2", "name": "g", "error": "nobody answers"},
        ]
    }


@pytest.mark.parametrize("kind", ["transfer-destination-request", "handoff-destination-request"])
def test_a_refused_destination_is_an_error(kind: str) -> None:
    assert json.loads(refusal(asking(kind), "nobody answers")) == {"error": "nobody answers"}


def test_results_come_in_the_order_of_the_calls_each_with_its_name_on_one_line() -> None:
    told = {
        "results": [{"toolCallId": "t2", "result": {"a": 1}}, {"toolCallId": "t1", "result": "two\nlines"}, 5],
        "more": 1,
    }

    assert answered("tool-calls", told) == {
        "results": [
            {"toolCallId": "t1", "name": "f", "result": "two lines"},
            {"toolCallId": "t2", "name": "g", "result": '{"a":1}'},
        ]
    }


def test_a_call_without_a_result_has_an_error() -> None:
    told = {"results": [{"toolCallId": "t1", "error": "no such table"}]}

    assert answered("tool-calls", told) == {
        "results": [
            {"toolCallId": "t1", "name": "f", "error": "no such table"},
            {"toolCallId": "t2", "name": "g", "error": "no result"},
        ]
    }


@pytest.mark.parametrize("told", [{"destination": {"type": "number", "number": "+15005550006"}}, {"error": "closed"}])
def test_a_destination_is_passed_on(told: dict[str, Any]) -> None:
    assert answered("transfer-destination-request", {**told, "more": 1}) == told


@pytest.mark.parametrize("told", [{}, [], 5, None, {"results": 5}, {"destination": "+1"}, {"error": 5}])
@pytest.mark.parametrize("kind", ["tool-calls", "transfer-destination-request"])
def test_what_answers_nothing_is_no_answer(kind: str, told: object) -> None:
    assert answered(kind, told) is None


@given(st.sampled_from(["tool-calls", "handoff-destination-request"]), st.binary(max_size=200))
def test_any_bytes_are_an_answer_or_none(kind: str, body: bytes) -> None:
    answer = answer_of(asking(kind), body)

    assert answer is None or json.loads(answer)
