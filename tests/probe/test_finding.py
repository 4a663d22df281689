"""Findings as JSON, and the configuration that follows from them."""

import pytest

from relay.probe.finding import Answer, Finding, Value, config_that_follows
from tests.support.probes import loaded


def finding(**keys: Value) -> Finding:
    answer = Answer(found="so", note="nothing", keys={key.replace("__", "."): value for key, value in keys.items()})
    return Finding("Is it so?", "not so", answer)


@pytest.mark.parametrize(
    ("keys", "setting"),
    [
        ({}, "nothing"),
        ({"vapi__send_silence_timeout": True}, "vapi.send_silence_timeout = true"),
        ({"jitter__target_ms": 240, "vapi__name": "a"}, 'jitter.target_ms = 240, vapi.name = "a"'),
    ],
)
def test_the_setting_is_the_keys_or_else_the_note(keys: dict[str, Value], setting: str) -> None:
    assert finding(**keys).as_json() == {
        "question": "Is it so?",
        "expected": "not so",
        "found": "so",
        "setting": setting,
    }


def test_the_configuration_that_follows_is_read_as_it_was_meant() -> None:
    findings = [
        finding(vapi__send_silence_timeout=True, vapi__connect_timeout_s=2.5),
        finding(barge_in__old_turn_ms=2700, barge_in__false_alarm_ms=3000),
        finding(),
        finding(twilio__account_sids=("AC" + "0" * 32,)),
    ]
    config = loaded(config_that_follows(findings, {"vapi.assistant_id": 'a "quoted" one'}))

    assert config.assistants[0].assistant_id == 'a "quoted" one'
    assert (config.assistants[0].send_silence_timeout, config.assistants[0].connect_timeout_s) == (True, 2.5)
    assert (config.barge_in.old_turn_ms, config.barge_in.false_alarm_ms) == (2700, 3000)
    assert config.twilio.account_sids == ("AC" + "0" * 32,)


def test_an_entry_of_a_list_of_assistants_stays_one() -> None:
    text = config_that_follows(
        [finding(vapi__send_silence_timeout=True, jitter__target_ms=300)],
        {"vapi.assistant_id": "a", "vapi.name": "main"},
        ladder_entry=True,
    )
    config = loaded(text)

    assert [(it.name, it.send_silence_timeout) for it in config.assistants] == [("main", True)]
    assert config.jitter.target_ms == 300


def test_without_findings_only_what_is_given_follows() -> None:
    assert config_that_follows([finding()], {"vapi.assistant_id": "a"}) == '[vapi]\nassistant_id = "a"'
