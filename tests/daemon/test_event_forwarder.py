"""What the operator's endpoint gets, and what of its answers is taken."""

import json
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

import pytest
import trio

from relay.daemon.event_forwarder import EventForwarder, envelope
from relay.errors import RelayError
from relay.net.poster import Poster
from relay.net.rest import open_rest_client
from relay.standin.http import Response
from relay.state.event_journal import EventDelivery
from relay.wire.vapi_events import parse_event
from tests.support.receivers import EVENTS_SECRET, Receiver, open_receiver

DELIVERY = EventDelivery(1, "delivery-1", "hang", "call-1", "CA1", 0.0, 0, b'{"type":"hang"}')
ASKED = parse_event(b'{"message": {"type": "tool-calls", "toolCallList": [{"id": "t1", "name": "f"}]}}')


@asynccontextmanager
async def open_forwarder(receiver: Receiver) -> AsyncIterator[EventForwarder]:
    poster = Poster(receiver.url, 2.0)
    async with open_rest_client(2.0) as rest, aclosing(poster):
        yield EventForwarder(receiver.url, EVENTS_SECRET, rest, poster)


async def deliver(receiver: Receiver) -> None:
    async with open_forwarder(receiver) as forwarder:
        await forwarder.deliver(DELIVERY)


async def test_an_event_comes_signed_with_the_ids_of_its_call_and_its_delivery() -> None:
    async with open_receiver() as receiver:
        await deliver(receiver)

    assert receiver.bodies == [{"call_id": "call-1", "call_sid": "CA1", "event": {"type": "hang"}}]
    assert receiver.deliveries == {"delivery-1": 1}
    assert receiver.headers[0]["content-type"] == "application/json"


def test_the_ids_of_a_call_that_is_not_ours_are_null() -> None:
    assert json.loads(envelope(b"{}", None, None)) == {"call_id": None, "call_sid": None, "event": {}}


@pytest.mark.parametrize("status", [301, 400, 404, 500])
async def test_any_answer_but_2xx_is_a_failure(status: int) -> None:
    async with open_receiver(lambda _: Response(status)) as receiver:
        with pytest.raises(RelayError, match=str(status)):
            await deliver(receiver)


async def test_an_endpoint_that_is_not_there_is_a_failure() -> None:
    with pytest.raises(RelayError):
        await deliver(Receiver("http://127.0.0.1:1/"))


@pytest.mark.parametrize(
    "answer",
    [Response(204), Response(200, b"no JSON"), Response(200, json.dumps({"results": ["x" * 300_000]}).encode())],
)
async def test_an_answer_that_vapi_could_not_use_is_none(answer: Response) -> None:
    async with open_receiver(lambda _: answer) as receiver, open_forwarder(receiver) as forwarder:
        with trio.fail_after(5), pytest.raises(RelayError):
            await forwarder.ask(ASKED, None, None)
