"""Each question to Twilio, with each answer that an account can give, over real sockets."""

from dataclasses import replace
from functools import partial

import pytest
from trio.testing import MockClock

from relay.probe import twilio
from relay.probe.budget import Budget
from relay.probe.finding import config_that_follows
from relay.probe.question import Ask, ask_all
from relay.probe.twilio_account import TwilioAccount
from relay.standin.phone.rest import TwilioNumber, TwilioState
from tests.support.daemons import AUTH_TOKEN, PUBLIC
from tests.support.probes import loaded
from tests.support.twilio_probes import SID, probed_twilio, relay_that

NUMBER = TwilioNumber()
OTHER = "https://user:pass@other.example.com/voice?key=secret"
CALL_TO = "+15005550009"


async def found(ask: Ask[TwilioAccount], state: TwilioState) -> tuple[str, bool]:
    """What the question finds, and whether that keeps calls from working; no call is left."""
    async with probed_twilio(state) as at:
        answer = await ask(at.account)
        assert (at.unended, at.left_running) == ([], [])
    return answer.found, answer.failed


@pytest.mark.parametrize(
    ("status", "kind", "says", "failed"),
    [
        ("active", "Full", "active, Full", False),
        (
            "active",
            "Trial",
            "active, Trial: a notice comes first, and only verified numbers can be called",
            False,
        ),
        ("suspended", "Full", "suspended", True),
        ("closed", "Full", "closed", True),
    ],
)
async def test_the_state_of_the_account_is_found(
    clock: MockClock, status: str, kind: str, says: str, failed: bool
) -> None:
    assert await found(twilio.account_state, TwilioState(status=status, type=kind)) == (says, failed)


@pytest.mark.parametrize(
    ("number", "says", "failed"),
    [
        (NUMBER, f"POST {PUBLIC}/twilio/voice", False),
        (replace(NUMBER, voice_method="GET"), f"GET {PUBLIC}/twilio/voice", True),
        (replace(NUMBER, voice_url=f"{PUBLIC}/voice"), f"POST {PUBLIC}/voice", True),
        (replace(NUMBER, voice_url=OTHER), "POST https://other.example.com/voice", True),
        (replace(NUMBER, voice_url=""), "nobody", True),
        (replace(NUMBER, handler_sid="AP1"), "a TwiML application (AP1), not a webhook", True),
        (replace(NUMBER, handler_sid="TK1"), "a SIP trunk (TK1), not a webhook", True),
    ],
)
async def test_whom_twilio_asks_is_found(clock: MockClock, number: TwilioNumber, says: str, failed: bool) -> None:
    assert await found(twilio.voice_webhook, TwilioState(numbers=(number,))) == (says, failed)


@pytest.mark.parametrize(
    ("number", "says", "failed"),
    [
        (NUMBER, f"POST {PUBLIC}/twilio/status", False),
        (replace(NUMBER, status_callback=""), "nobody", False),
        (replace(NUMBER, status_callback=OTHER), "POST https://other.example.com/voice", True),
        (replace(NUMBER, status_method="GET"), f"GET {PUBLIC}/twilio/status", True),
    ],
)
async def test_whom_twilio_tells_is_found(clock: MockClock, number: TwilioNumber, says: str, failed: bool) -> None:
    assert await found(twilio.status_callback, TwilioState(numbers=(number,))) == (says, failed)


@pytest.mark.parametrize(
    ("url", "says"), [("https://handler.example.com/bin?key=secret", "https://handler.example.com/bin"), ("", "nobody")]
)
async def test_who_answers_without_the_relay_is_found(clock: MockClock, url: str, says: str) -> None:
    state = TwilioState(numbers=(replace(NUMBER, fallback_url=url),))

    assert await found(twilio.fallback, state) == (says, False)


@pytest.mark.parametrize(("region", "setting"), [("us1", "none"), ("", "none"), ("ie1", "TWILIO_AUTH_TOKEN")])
async def test_the_region_of_the_number_is_found(clock: MockClock, region: str, setting: str) -> None:
    async with probed_twilio(TwilioState(numbers=(replace(NUMBER, region=region),))) as at:
        answer = await twilio.region(at.account)

    assert answer.found == (region or "not told")
    assert answer.note.startswith(setting)


@pytest.mark.parametrize(
    ("signed", "unsigned", "says", "failed"),
    [
        (204, 403, "204 signed, 403 not", False),
        (204, 204, "204 signed, 204 not", True),
        (404, 404, "404 signed, 404 not", True),
        (403, 403, "403 signed, 403 not", True),
    ],
)
async def test_what_the_relay_makes_of_signatures_is_found(
    clock: MockClock, signed: int, unsigned: int, says: str, failed: bool
) -> None:
    async with relay_that(signed, unsigned) as url, probed_twilio(public_url=url) as at:
        answer = await twilio.signature(at.account)

    assert (answer.found, answer.failed) == (says, failed)


@pytest.mark.parametrize("wrong", [{"token": "another"}, {"public_url": "https://elsewhere.example.com"}])
async def test_a_relay_with_another_token_or_address_is_found(clock: MockClock, wrong: dict[str, str]) -> None:
    async with relay_that(**wrong) as url, probed_twilio(public_url=url) as at:  # type: ignore[arg-type]
        answer = await twilio.signature(at.account)

    assert answer.found == "403 signed, 403 not"
    assert answer.note == "the relay that runs has another TWILIO_AUTH_TOKEN or server.public_url"


async def test_a_relay_that_does_not_run_is_found(clock: MockClock) -> None:
    async with probed_twilio(public_url="http://127.0.0.1:9") as at:
        answer = await twilio.signature(at.account)

    assert answer.found == "no answer: CONNECT_FAILED 127.0.0.1"
    assert "relay serve must run" in answer.note


@pytest.mark.parametrize(
    ("codes", "says"),
    [
        ((), "nothing"),
        (("31920", "11200", "31920"), "11200 (1), 31920 (2)"),
        (("99999",), "99999 (1)"),
    ],
)
async def test_what_twilio_complained_of_is_counted(clock: MockClock, codes: tuple[str, ...], says: str) -> None:
    assert await found(twilio.alerts, TwilioState(alerts=codes)) == (says, False)


@pytest.mark.parametrize(
    ("state", "says", "failed"),
    [
        (TwilioState(), "it is done, the call lasted 8 s; Twilio noted 31920", False),
        (TwilioState(next_verb=False), "it is not done, the call ended after 0 s; Twilio noted 31920", False),
        (TwilioState(outcome="busy"), "not measured: busy", True),
        (TwilioState(outcome="no-answer"), "not measured: no-answer", True),
    ],
)
async def test_the_next_verb_is_known_by_how_long_the_call_lasts(
    clock: MockClock, state: TwilioState, says: str, failed: bool
) -> None:
    assert await found(partial(twilio.next_verb, call_to=CALL_TO), state) == (says, failed)


async def test_without_tls_no_call_is_placed(clock: MockClock) -> None:
    async with probed_twilio(public_url="http://127.0.0.1:9") as at:
        answer = await twilio.next_verb(at.account, CALL_TO)

        assert answer.failed
        assert at.rest.calls == {}


@pytest.mark.parametrize("call_to", ["", CALL_TO])
async def test_every_question_has_an_answer_and_the_configuration_is_read(clock: MockClock, call_to: str) -> None:
    asked = twilio.questions(call_to)
    async with probed_twilio() as at:
        findings = await ask_all(asked, at.account, Budget(100, 1))

        assert len(at.rest.calls) == bool(call_to)
        assert (at.unended, at.left_running) == ([], [])
    failed = [it.question for it in findings if it.answer.failed]
    assert failed == ["Does the relay take Twilio's signature, and no request without?"]  # there is none
    config = loaded(config_that_follows(findings, {"server.public_url": PUBLIC}), VAPI_ASSISTANT_ID="a")
    assert config.twilio.account_sids == (SID,)
    assert config.server.public_url == PUBLIC


async def test_a_wrong_token_ends_the_questions(clock: MockClock) -> None:
    asked = twilio.questions("")
    async with probed_twilio(token="wrong") as at:
        findings = await ask_all(asked, at.account, Budget(100, 1))

    first = findings[0].answer.found
    assert first == "not measured: Twilio answers 401: the account and TWILIO_AUTH_TOKEN do not belong together"
    assert {it.answer.found for it, question in zip(findings, asked, strict=True) if question.ask} == {first}


def test_no_question_costs_anything_without_a_number_to_call() -> None:
    assert sum(question.paid_s for question in twilio.questions("")) == 0
    assert sum(question.paid_s for question in twilio.questions(CALL_TO)) == 60
    assert AUTH_TOKEN not in repr(twilio.questions(CALL_TO))


EVERYWHERE = TwilioState()
HERE = TwilioState(may_dial=frozenset({"US", "LV"}))


@pytest.mark.parametrize(
    ("state", "numbers", "says", "failed"),
    [
        (EVERYWHERE, ["+4930123456"], "yes", False),
        (EVERYWHERE, ["+4930*", "+1*", "+37167000000"], "yes, all 3", False),
        (HERE, ["+37167000000"], "yes", False),
        (HERE, ["+4930*", "+371*"], "no: +4930* (Germany)", True),
        (HERE, ["+1*"], "no: +1* (Canada)", True),
        (TwilioState(may_dial=frozenset()), ["+1*"], "no: +1* (United States or Canada)", True),
        (EVERYWHERE, ["+1*", "+4*", "+*", "+999123"], "not told for +4*, +*, +999123", False),
        (HERE, ["+4*", "+491"], "no: +491 (Germany)", True),
    ],
)
async def test_whether_the_account_may_dial_those_to_whom_callers_are_connected(
    clock: MockClock, state: TwilioState, numbers: list[str], says: str, failed: bool
) -> None:
    assert await found(partial(twilio.dialling, numbers=numbers), state) == (says, failed)


@pytest.mark.parametrize("allowed", [[], ["sip:desk@pbx.example.com", "sip:*"]])
def test_where_no_number_may_be_dialled_nothing_is_asked_about_it(allowed: list[str]) -> None:
    (question,) = [it for it in twilio.questions("", allowed) if "connected" in it.text]

    assert (question.ask, "transfer.allow" in question.not_measurable) == (None, True)
