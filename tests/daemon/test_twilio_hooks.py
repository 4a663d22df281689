"""Twilio's webhooks over real HTTP: who is let in, what is answered, and that nothing nasty gets further."""

import base64
import hashlib
import hmac
from typing import Any
from xml.etree import ElementTree as ET

import httpx
import pytest
import trio
from structlog.testing import capture_logs

from relay.config import LimitsConfig, ServerConfig, TwilioConfig
from relay.errors import AssistantUnavailable
from relay.logic.end_reason import REFUTABLE, EndReason
from relay.metrics import Metrics
from relay.state import StateStore
from relay.state.memory import MemoryBackend, MemoryTables
from relay.state.store import inline
from tests.support.callrig import make_late
from tests.support.frontrig import (
    ACCOUNT,
    OTHER_SID,
    PUBLIC,
    SID,
    front_config,
    open_front,
    ringing,
    signature,
)

FORM_TYPE = {"Content-Type": "application/x-www-form-urlencoded"}
WEBHOOKS = ("/twilio/voice", "/twilio/resume", "/twilio/dialed", "/twilio/status")


def verbs(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/xml")
    return [element.tag for element in ET.fromstring(answer.text)]


def is_problem(answer: httpx.Response, status: int, code: str) -> bool:
    body = answer.json()
    return answer.status_code == status and body["code"] == code and set(body) == {"error", "code"} and body["error"]


async def test_a_ringing_phone_is_connected_to_the_media_socket_and_the_assistant_is_dialled_at_once() -> None:
    async with open_front() as rig:
        answer = await rig.post("/twilio/voice", ringing())

        assert verbs(answer) == ["Connect", "Redirect"]
        document = ET.fromstring(answer.text)
        stream = document.find("Connect/Stream")
        assert stream is not None
        assert stream.attrib["url"] == "wss://relay.example.com/twilio/media"
        assert stream.attrib["statusCallback"] == f"{PUBLIC}/twilio/status"
        assert document.findtext("Redirect") == f"{PUBLIC}/twilio/resume"
        assert answer.headers["cache-control"] == "no-store"
        with trio.fail_after(20):
            await rig.inner.connected.wait()


IDENTITY = {"From": "+15005550006", "StirVerstat": "TN-Validation-Passed-A", "SipHeader_X-Plan": "gold"}


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (TwilioConfig(), {}),
        (TwilioConfig(pass_caller_number=True), {"callerNumber": "+15005550006"}),
        (
            TwilioConfig(pass_fields=("StirVerstat", "SipHeader_X-Plan", "Absent")),
            {"StirVerstat": "TN-Validation-Passed-A", "SipHeader_X_Plan": "gold"},
        ),
        (TwilioConfig(pass_fields=("campaign", "From")), {"campaign": "spring sale", "From": "+15005550006"}),
    ],
    ids=["nothing by default", "the number", "what is listed", "the query, which does not hide the form"],
)
async def test_the_assistant_is_told_of_the_caller_what_is_configured(
    settings: TwilioConfig, told: dict[str, str]
) -> None:
    async with open_front(front_config(twilio=settings)) as rig:
        await rig.post("/twilio/voice?campaign=spring%20sale&From=forged", ringing(**IDENTITY))
        with trio.fail_after(20):
            await rig.inner.connected.wait()

        assert rig.inner.told == [told]


async def test_asked_again_for_the_same_call_there_is_one_call_and_another_token() -> None:
    async with open_front() as rig:
        first, second = await rig.token(), await rig.token()

        assert first != second
        assert len(rig.calls) == 1


async def test_a_webhook_that_is_repeated_gets_the_same_answer_and_rings_no_second_assistant() -> None:
    """An account's retry policy sends the same request again; whichever answer arrives, its token opens the socket."""
    answers: list[httpx.Response] = []
    async with open_front() as rig:

        async def ask() -> None:
            answers.append(await rig.post("/twilio/voice", ringing()))

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(ask)
        await ask()
        with trio.fail_after(20):
            await rig.inner.connected.wait()
        tokens = [ET.fromstring(answer.text).find("Connect/Stream/Parameter") for answer in answers]
        values = [token.attrib["value"] for token in tokens if token is not None]

        assert len({answer.text.replace(value, "") for answer, value in zip(answers, values, strict=True)}) == 1
        assert len(rig.calls) == 1
        assert len(rig.inner.asked) == 1
        assert [rig.calls.tokens.claim(value, SID, trio.current_time()) for value in values] == [SID] * 4


async def test_a_ringing_that_is_repeated_after_the_call_is_over_begins_no_other() -> None:
    async with open_front() as rig:
        await rig.token()
        await rig.post("/twilio/status", ringing() | {"CallStatus": "completed"})
        await rig.until_over()

        assert verbs(await rig.post("/twilio/voice", ringing())) == ["Hangup"]
        assert len(rig.calls) == 0
        assert verbs(await rig.post("/twilio/voice", ringing() | {"CallStatus": "in-progress"}))[0] == "Connect"


@pytest.mark.parametrize("signed", ["/twilio/voice", "/twilio/voice?"])
async def test_a_bare_question_mark_behind_the_address_in_the_console_does_no_harm(signed: str) -> None:
    headers = {"X-Twilio-Signature": signature(PUBLIC + signed, ringing())}
    async with open_front() as rig:
        answer = await rig.post("/twilio/voice?", ringing(), sign=False, headers=headers)

        assert verbs(answer) == ["Connect", "Redirect"]


@pytest.mark.parametrize("target", ["/twilio/voice?a=1&b=%2F%20x", "/twilio/voice"])
async def test_the_signature_is_over_the_public_address_with_the_query_as_it_was_sent(target: str) -> None:
    async with open_front() as rig:
        assert verbs(await rig.post(target, ringing(Empty="", Digits="ü +&"))) == ["Connect", "Redirect"]


@pytest.mark.parametrize("path", WEBHOOKS)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Twilio-Signature": ""},
        {"X-Twilio-Signature": "AAAA"},
        {"X-Twilio-Signature": signature("http://127.0.0.1/twilio/voice", ringing())},
        {"X-Twilio-Signature": signature(PUBLIC + "/twilio/voice", ringing(), token="another")},
        {"X-Twilio-Signature": signature(PUBLIC + "/twilio/voice", {})},
        {
            "X-Twilio-Signature": signature(PUBLIC + "/twilio/voice", ringing()),
            "X-Twilio-Webhooks-Signature-Settings": "key=K,algorithm=HMAC_MD5",
        },
    ],
    ids=["none", "empty", "short", "local-address", "other-token", "no-form", "unknown-algorithm"],
)
async def test_without_a_good_signature_nobody_gets_in_and_it_is_counted_and_logged(
    path: str, headers: dict[str, str]
) -> None:
    async with open_front() as rig:
        with capture_logs() as logs:
            answer = await rig.post(path, ringing(), sign=False, headers=headers)

        assert is_problem(answer, 403, "AUTH_REJECTED")
        assert rig.metric("relay_auth_rejected_total", endpoint=path) == 1
        assert [line["endpoint"] for line in logs if line["event"] == "auth.rejected"] == [path]
        assert len(rig.calls) == 0


async def test_a_signature_with_a_shared_key_is_as_good() -> None:
    """Twilio's "Webhook shared keys": HMAC-SHA256, named by a second header."""
    config = front_config({"twilio_shared_keys": {"SK1": "shared-secret"}})
    form = ringing()
    text = f"{PUBLIC}/twilio/voice" + "".join(name + value for name, value in sorted(form.items()))
    digest = base64.b64encode(hmac.new(b"shared-secret", text.encode(), hashlib.sha256).digest()).decode()
    headers = {
        "X-Twilio-Signature": digest,
        "X-Twilio-Webhooks-Signature-Settings": "key=SK1,algorithm=HMAC_SHA256",
    }
    async with open_front(config) as rig:
        assert verbs(await rig.post("/twilio/voice", form, sign=False, headers=headers)) == ["Connect", "Redirect"]


async def test_an_account_that_is_not_listed_gets_nothing() -> None:
    config = front_config(twilio=TwilioConfig(account_sids=("AC" + "f" * 32,)))
    async with open_front(config) as rig:
        assert is_problem(await rig.post("/twilio/voice", ringing()), 403, "AUTH_REJECTED")
        assert len(rig.calls) == 0


NASTY_FORMS: list[tuple[str, list[tuple[str, str]], str]] = [
    ("no CallSid", [("AccountSid", ACCOUNT)], "FIELD_MISSING"),
    ("two CallSids", [("AccountSid", ACCOUNT), ("CallSid", SID), ("CallSid", OTHER_SID)], "FIELD_MISSING"),
    ("empty", [("AccountSid", ACCOUNT), ("CallSid", "")], "CALL_SID_INVALID"),
    ("trailing newline", [("AccountSid", ACCOUNT), ("CallSid", SID + "\n")], "CALL_SID_INVALID"),
    ("markup", [("AccountSid", ACCOUNT), ("CallSid", "CA<script>" + "0" * 24)], "CALL_SID_INVALID"),
    ("NUL", [("AccountSid", ACCOUNT), ("CallSid", "CA\0" + "0" * 31)], "CALL_SID_INVALID"),
    ("other digits", [("AccountSid", ACCOUNT), ("CallSid", "CA" + "٣" * 32)], "CALL_SID_INVALID"),
    ("huge value", [("AccountSid", ACCOUNT), ("CallSid", "CA" + "0" * 50_000)], "CALL_SID_INVALID"),
    ("many fields", [("AccountSid", ACCOUNT), *((f"f{i}", "") for i in range(500))], "FORM_INVALID"),
]


@pytest.mark.parametrize("path", WEBHOOKS)
@pytest.mark.parametrize(("form", "code"), [case[1:] for case in NASTY_FORMS], ids=[case[0] for case in NASTY_FORMS])
async def test_a_signed_form_that_makes_no_sense_is_a_400(path: str, form: list[tuple[str, str]], code: str) -> None:
    async with open_front() as rig:
        assert is_problem(await rig.post(path, form), 400, code)
        assert len(rig.calls) == 0


NASTY_BODIES: list[tuple[str, bytes, dict[str, str], int, str]] = [
    ("json", b'{"CallSid": "x"}', {"Content-Type": "application/json"}, 400, "FORM_EXPECTED"),
    ("multipart", b"--x--", {"Content-Type": "multipart/form-data; boundary=x"}, 400, "FORM_EXPECTED"),
    ("no type", b"CallSid=1", {}, 400, "FORM_EXPECTED"),
    ("not ASCII", b"CallSid=\xff\xfe", FORM_TYPE, 400, "FORM_INVALID"),
    ("not UTF-8 inside", b"CallSid=%ff%fe", FORM_TYPE, 400, "FORM_INVALID"),
    ("nothing", b"", FORM_TYPE, 403, "AUTH_REJECTED"),
    ("separators", b"&&&=&=&;;", FORM_TYPE, 403, "AUTH_REJECTED"),
    ("too long", b"a=" + b"x" * 70_000, FORM_TYPE, 413, "BODY_TOO_LARGE"),
]


@pytest.mark.parametrize("path", WEBHOOKS)
@pytest.mark.parametrize(
    ("body", "headers", "status", "code"), [case[1:] for case in NASTY_BODIES], ids=[case[0] for case in NASTY_BODIES]
)
async def test_a_body_that_is_no_small_form_is_refused(
    path: str, body: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    async with open_front() as rig:
        answer = await rig.http.post(path, content=body, headers={"X-Twilio-Signature": "AAAA", **headers})

        assert is_problem(answer, status, code)
        assert len(rig.calls) == 0


async def test_a_body_that_is_too_long_is_refused_though_its_length_was_not_said() -> None:
    async def chunks() -> Any:
        for _ in range(20):
            yield b"a" * 8192

    async with open_front() as rig:
        answer = await rig.http.post(
            "/twilio/voice", content=chunks(), headers={"X-Twilio-Signature": "A", **FORM_TYPE}
        )

        assert is_problem(answer, 413, "BODY_TOO_LARGE")


async def test_when_all_places_are_taken_the_caller_hears_so_and_a_live_call_still_gets_its_answer() -> None:
    async with open_front(front_config(limits=LimitsConfig(max_calls=1))) as rig:
        await rig.token()

        assert verbs(await rig.post("/twilio/voice", ringing(OTHER_SID))) == ["Say", "Hangup"]
        assert verbs(await rig.post("/twilio/voice", ringing(SID))) == ["Connect", "Redirect"]
        assert rig.metric("relay_calls_total", end_reason="refused") == 1


@pytest.mark.parametrize("late", [False, True])
async def test_a_caller_without_a_place_is_sent_on_three_times_and_then_hears_so(late: bool) -> None:
    """Another relay that is full as well may send the caller back: that ends."""
    elsewhere = "https://spare.example.com/twilio/voice?a=1&b=2"
    limits = LimitsConfig(max_calls="auto" if late else 1, overflow_url=elsewhere)
    async with open_front(front_config(limits=limits)) as rig:
        await rig.token()
        if late:
            make_late(rig.calls)
        with capture_logs() as logs:
            answers = [await rig.post("/twilio/voice", ringing(OTHER_SID)) for _ in range(4)]

        assert [verbs(answer) for answer in answers] == [*[["Redirect"]] * 3, ["Say", "Hangup"]]
        assert {ET.fromstring(answer.text).findtext("Redirect") for answer in answers[:3]} == {elsewhere}
        sent = [line for line in logs if line["event"] == "caller.sent_on"]
        assert [line["call_sid"] for line in sent] == [OTHER_SID] * 3
        assert rig.metric("relay_calls_total", end_reason="refused") == 4
        assert verbs(await rig.post("/twilio/voice", ringing(SID))) == ["Connect", "Redirect"]


async def test_while_the_event_loop_is_late_new_callers_hear_the_same_and_a_live_call_attaches_again() -> None:
    async with open_front() as rig:
        await rig.token()
        make_late(rig.calls)

        assert verbs(await rig.post("/twilio/voice", ringing(OTHER_SID))) == ["Say", "Hangup"]
        assert verbs(await rig.post("/twilio/voice", ringing(SID))) == ["Connect", "Redirect"]
        assert verbs(await rig.post("/twilio/resume", ringing(SID))) == ["Connect", "Redirect"]


async def test_while_draining_a_caller_waits_and_asks_again() -> None:
    async with open_front() as rig:
        await rig.calls.drain(0)
        answer = await rig.post("/twilio/voice", ringing())

        assert verbs(answer) == ["Pause", "Redirect"]
        assert ET.fromstring(answer.text).findtext("Redirect") == f"{PUBLIC}/twilio/voice"


def store(tables: MemoryTables, owner: str) -> StateStore:
    return StateStore(MemoryBackend(owner, tables), Metrics(), executor=inline)


async def test_a_call_of_another_process_is_connected_here_with_another_token() -> None:
    tables = MemoryTables()
    async with open_front(store=store(tables, "old")) as rig:
        old = await rig.token()
        await rig.calls.drain(0)
        sent_on = await rig.post("/twilio/resume", ringing())
    async with open_front(store=store(tables, "new")) as rig:
        answer = await rig.post("/twilio/resume", ringing())
        stranger = await rig.post("/twilio/resume", ringing(OTHER_SID))
        parameter = ET.fromstring(answer.text).find("Connect/Stream/Parameter")

        assert verbs(sent_on) == ["Pause", "Redirect"]
        assert ET.fromstring(sent_on.text).findtext("Redirect") == f"{PUBLIC}/twilio/resume"
        assert verbs(answer) == ["Connect", "Redirect"]
        assert parameter is not None
        assert parameter.attrib["value"] != old
        assert verbs(stranger) == ["Hangup"]


async def test_while_draining_a_call_that_lives_here_is_connected_here() -> None:
    async with open_front(store=store(MemoryTables(), "only")) as rig:
        await rig.token()
        rig.calls.draining = True

        assert verbs(await rig.post("/twilio/resume", ringing())) == ["Connect", "Redirect"]
        assert verbs(await rig.post("/twilio/resume", ringing(OTHER_SID))) == ["Pause", "Redirect"]


async def test_without_a_store_a_call_ends_with_its_process() -> None:
    async with open_front() as rig:
        await rig.token()
        await rig.calls.drain(0)

        assert verbs(await rig.post("/twilio/resume", ringing())) == ["Hangup"]


async def test_a_stream_that_broke_off_is_connected_again_three_times_in_a_minute() -> None:
    async with open_front() as rig:
        first = await rig.token()
        tokens = {first}
        for _ in range(3):
            answer = await rig.post("/twilio/resume", ringing())
            assert verbs(answer) == ["Connect", "Redirect"]
            parameter = ET.fromstring(answer.text).find("Connect/Stream/Parameter")
            assert parameter is not None
            tokens.add(parameter.attrib["value"])
        assert len(tokens) == 4
        with capture_logs() as logs:
            assert verbs(await rig.post("/twilio/resume", ringing())) == ["Hangup"]
            await rig.until_over()

        assert [line["reason"] for line in logs if line["event"] == "call.ended"] == ["caller_lost"]
        assert rig.metric("relay_reconnects_total", leg="caller", result="failed") == 1


async def test_resume_of_a_call_that_was_hung_up_is_a_hangup() -> None:
    async with open_front() as rig:
        await rig.token()
        call = rig.calls.find(SID)
        assert call is not None
        call.finish(EndReason.ADMIN)

        assert verbs(await rig.post("/twilio/resume", ringing())) == ["Hangup"]


@pytest.mark.parametrize("reason", EndReason)
@pytest.mark.parametrize("status", ["in-progress", "completed", ""])
@pytest.mark.parametrize("complete", [True, False], ids=["over", "ending"])
@pytest.mark.parametrize("stored", [True, False], ids=["with a store", "without"])
async def test_only_a_hang_up_that_twilio_refutes_goes_on(
    reason: EndReason, status: str, *, complete: bool, stored: bool
) -> None:
    """Whatever the relay itself decided stays decided."""
    refuted = reason in REFUTABLE and status == "in-progress"
    async with open_front(store=store(MemoryTables(), "only") if stored else None) as rig:
        await rig.token()
        call = rig.calls.find(SID)
        assert call is not None
        call.finish(reason)
        if complete:
            await rig.until_over()
        answer = await rig.post("/twilio/resume", ringing() | {"CallStatus": status})
        again = rig.calls.find(SID)

        assert verbs(answer) == (["Connect", "Redirect"] if refuted else ["Hangup"])
        assert (again is not None and again.id == call.id and again is not call) == refuted


async def test_a_call_that_goes_on_after_a_stop_is_still_bounded_in_attempts() -> None:
    async with open_front(store=store(MemoryTables(), "only")) as rig:
        await rig.token()
        got = []
        for _ in range(4):
            call = rig.calls.find(SID)
            assert call is not None
            call.finish(EndReason.CALLER_HANGUP)
            got.append(verbs(await rig.post("/twilio/resume", ringing() | {"CallStatus": "in-progress"}))[0])

        assert got == ["Connect", "Connect", "Connect", "Hangup"]


async def test_a_call_whose_stop_another_process_heard_goes_on_here_and_the_other_knows_it() -> None:
    tables, in_progress = MemoryTables(), ringing() | {"CallStatus": "in-progress"}
    async with open_front(store=store(tables, "first")) as first, open_front(store=store(tables, "second")) as second:
        await first.token()
        call = first.calls.find(SID)
        assert call is not None
        call.finish(EndReason.CALLER_HANGUP)
        await first.until_over()
        await first.calls.checkpoints.stored(SID)

        assert verbs(await second.post("/twilio/resume", ringing())) == ["Hangup"]
        assert verbs(await second.post("/twilio/resume", in_progress)) == ["Connect", "Redirect"]
        assert [one.id for one in second.calls.live()] == [call.id]
        assert verbs(await first.post("/twilio/resume", in_progress)) == ["Pause", "Redirect"]


async def test_while_draining_a_call_that_goes_on_after_a_stop_waits_for_the_next_process() -> None:
    async with open_front(store=store(MemoryTables(), "only")) as rig:
        await rig.token()
        call = rig.calls.find(SID)
        assert call is not None
        call.finish(EndReason.CALLER_HANGUP)
        await rig.until_over()
        rig.calls.draining = True

        assert verbs(await rig.post("/twilio/resume", ringing() | {"CallStatus": "in-progress"})) == [
            "Pause",
            "Redirect",
        ]
        assert verbs(await rig.post("/twilio/resume", ringing())) == ["Hangup"]


async def test_a_call_without_an_assistant_goes_to_the_transfer_number() -> None:
    config = front_config(twilio=TwilioConfig(transfer_number="+15005550006"))
    async with open_front(config) as rig:
        rig.inner.failure = AssistantUnavailable("no", "VAPI_UNAUTHORIZED", retriable=False)
        await rig.token()
        await rig.until_over()
        answer = await rig.post("/twilio/resume", ringing())
        assert verbs(answer) == ["Dial"]
        assert ET.fromstring(answer.text).findtext("Dial") == "+15005550006"
        rig.inner.failure = None
        await rig.token(OTHER_SID)
        call = rig.calls.find(OTHER_SID)
        assert call is not None
        call.finish(EndReason.ADMIN)
        assert verbs(await rig.post("/twilio/resume", ringing(OTHER_SID))) == ["Hangup"]


async def test_resume_of_an_unknown_call_is_a_hangup() -> None:
    async with open_front() as rig:
        assert verbs(await rig.post("/twilio/resume", ringing(OTHER_SID))) == ["Hangup"]


async def test_a_stream_status_is_logged_bounded_and_printable() -> None:
    async with open_front() as rig:
        error = "31920 line\r\n\x1b[31m" + "x" * 1000
        form = ringing(StreamSid="MZ1", StreamEvent="stream-error", StreamError=error)
        with capture_logs() as logs:
            answer = await rig.post("/twilio/status", form)

        assert (answer.status_code, answer.content) == (204, b"")
        (line,) = [line for line in logs if line["event"] == "stream.status"]
        assert line["stream_event"] == "stream-error"
        assert line["stream_error"].startswith("31920 line???[31mxxx")
        assert len(line["stream_error"]) == 200


@pytest.mark.parametrize(("status", "over"), [("completed", True), ("no-answer", True), ("in-progress", False)])
async def test_a_call_status_that_says_so_ends_the_call(status: str, over: bool) -> None:
    async with open_front() as rig:
        await rig.token()
        call = rig.calls.find(SID)
        assert (await rig.post("/twilio/status", ringing(CallStatus=status))).status_code == 204
        await trio.sleep(0.1)

        assert (rig.calls.find(SID) is not call) == over


async def test_without_twilio_there_are_no_webhooks() -> None:
    async with open_front(front_config(twilio=TwilioConfig(enabled=False))) as rig:
        for path in WEBHOOKS:
            assert is_problem(await rig.post(path, ringing()), 404, "NOT_FOUND")


async def test_signatures_are_not_asked_for_when_the_configuration_says_so() -> None:
    config = front_config({"twilio_auth_tokens": ()}, twilio=TwilioConfig(validate_signatures=False))
    async with open_front(config) as rig:
        assert verbs(await rig.post("/twilio/voice", ringing(), sign=False)) == ["Connect", "Redirect"]


async def test_a_stream_is_always_dialled_with_tls_also_when_the_public_address_is_this_machine() -> None:
    config = front_config(server=ServerConfig(public_url="http://localhost:1"))
    async with open_front(config) as rig:
        signed = {"X-Twilio-Signature": signature("http://localhost:1/twilio/voice", ringing())}
        answer = await rig.post("/twilio/voice", ringing(), sign=False, headers=signed)

        assert 'url="wss://localhost:1/twilio/media"' in answer.text
