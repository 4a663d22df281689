"""The simulated REST interface over a real socket: who is let in, what is known, how calls end."""

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from relay.net.rest import RestClient, open_rest_client
from relay.standin.phone.rest import TwilioNumber, TwilioRest, TwilioState, open_twilio_rest
from relay.wire.twiml import refused_stream
from tests.support.quick import pulse, quick_clock

SID, TOKEN = "AC" + "2" * 32, "token"
HEADERS = {"Authorization": "Basic " + base64.b64encode(f"{SID}:{TOKEN}".encode()).decode()}
ORDER = {"From": "+15005550006", "To": "+15005550009", "Twiml": refused_stream("wss://x/y", 8), "TimeLimit": "60"}


@pytest.fixture
def clock() -> MockClock:
    return quick_clock()


@asynccontextmanager
async def opened(state: TwilioState | None = None) -> AsyncIterator[tuple[TwilioRest, RestClient, str]]:
    async with pulse(), open_twilio_rest(SID, TOKEN, state) as twilio, open_rest_client(5) as client:
        yield twilio, client, f"{twilio.base_url}/2010-04-01/Accounts/{SID}"


async def got(client: RestClient, url: str) -> Any:
    status, body = await client.get(url, HEADERS)
    return status, json.loads(body)


async def test_only_the_account_with_its_token_is_let_in() -> None:
    async with opened() as (_, client, url):
        status, body = await client.get(f"{url}.json", {"Authorization": "Basic wrong"})
        assert (status, json.loads(body)["code"]) == (401, 20003)
        assert (await got(client, f"{url}.json"))[0] == 200
        assert (await got(client, f"{url}/Nothing.json"))[1]["code"] == 20404


async def test_what_the_account_is_like_is_told() -> None:
    state = TwilioState("suspended", "Trial", (TwilioNumber(region="ie1", handler_sid="TK9"),), alerts=("31920",))
    async with opened(state) as (twilio, client, url):
        assert (await got(client, f"{url}.json"))[1] == {"sid": SID, "status": "suspended", "type": "Trial"}
        (number,) = (await got(client, f"{url}/IncomingPhoneNumbers.json"))[1]["incoming_phone_numbers"]
        assert (number["phone_number"], number["trunk_sid"], number["voice_application_sid"]) == (
            "+15005550006",
            "TK9",
            "",
        )
        regions = f"{twilio.base_url}/v2/PhoneNumbers"
        assert (await got(client, f"{regions}/%2B15005550006"))[1] == {"voice_region": "ie1"}
        assert (await got(client, f"{regions}/%2B1"))[0] == 404
        assert (await got(client, f"{twilio.base_url}/v1/Alerts"))[1] == {"alerts": [{"error_code": "31920"}]}


@pytest.mark.parametrize(
    ("state", "status", "duration", "codes"),
    [
        (TwilioState(), "completed", "8", ["31920"]),
        (TwilioState(next_verb=False), "completed", "0", ["31920"]),
        (TwilioState(outcome="busy"), "busy", "0", []),
    ],
)
async def test_a_call_lasts_as_long_as_its_verbs(
    clock: MockClock, state: TwilioState, status: str, duration: str, codes: list[str]
) -> None:
    async with opened(state) as (twilio, client, url):
        placed, body = await client.post_form(f"{url}/Calls.json", ORDER, HEADERS)
        sid = json.loads(body)["sid"]
        assert (placed, list(twilio.calls)) == (201, [sid])
        assert (await got(client, f"{url}/Calls/{sid}.json"))[1]["status"] == "in-progress"
        await trio.sleep(10)
        call = (await got(client, f"{url}/Calls/{sid}.json"))[1]
        notes = (await got(client, f"{url}/Calls/{sid}/Notifications.json"))[1]["notifications"]

    assert (call["status"], call["duration"]) == (status, duration)
    assert [it["error_code"] for it in notes] == codes


async def test_a_call_is_ended_when_that_is_asked_for(clock: MockClock) -> None:
    async with opened() as (_, client, url):
        _, body = await client.post_form(f"{url}/Calls.json", ORDER, HEADERS)
        call = f"{url}/Calls/{json.loads(body)['sid']}.json"
        await client.post_form(call, {"Status": "completed"}, HEADERS)

        assert (await got(client, call))[1]["status"] == "completed"


async def test_an_order_is_refused_with_the_code_that_is_set() -> None:
    async with opened(TwilioState(refused=21219)) as (twilio, client, url):
        status, body = await client.post_form(f"{url}/Calls.json", ORDER, HEADERS)

    assert (status, json.loads(body)["code"], twilio.calls) == (400, 21219, {})
