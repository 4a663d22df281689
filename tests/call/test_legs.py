"""The caller's side without its carrier: what Twilio's messages mean for a call."""

import json
from typing import Any

import pytest
import trio

from relay.call.legs import CallerAudio, CallerEvent, CallerGone, Heard, KeyPressed, TwilioLeg
from relay.errors import LegClosed, LegLost, RemoteProtocolError
from relay.net.outbox import Outbox
from relay.wire import twilio
from tests.support.sockets import MemoryPeer, memory_socket_pair

STREAM = "MZ1"


def leg() -> tuple[TwilioLeg, MemoryPeer]:
    socket, peer = memory_socket_pair()
    return TwilioLeg(socket, Outbox(socket, capacity=5, is_stale=lambda _: False), STREAM), peer


def message(event: str, number: int = 2, **body: Any) -> str:
    return json.dumps({"event": event, "sequenceNumber": str(number), "streamSid": STREAM, **body})


def media(number: int = 2) -> str:
    body = {"track": "inbound", "chunk": "1", "timestamp": "40", "payload": "AAEC"}
    return message("media", number, media=body)


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        (media(), CallerAudio(40, b"\x00\x01\x02", 0.0)),
        (message("mark", mark={"name": "t3:1200"}), Heard(3, 1200)),
        (message("mark", mark={"name": "of somebody else"}), None),
        (message("dtmf", dtmf={"digit": "#", "track": "inbound_track"}), KeyPressed("#")),
        (message("stop", stop={"callSid": "CA1", "accountSid": "AC1"}), CallerGone()),
        ('{"event": "connected", "protocol": "Call", "version": "1.0.0"}', None),
    ],
)
async def test_what_a_message_means(text: str, meaning: CallerEvent | None, autojump_clock: object) -> None:
    one, peer = leg()
    peer.send(text)
    event = await one.receive()
    if isinstance(event, CallerAudio):
        assert event.arrived_at == trio.current_time()
        event = CallerAudio(event.timestamp_ms, event.data, 0.0)

    assert event == meaning


async def test_a_bad_message_is_said_and_the_next_one_is_read() -> None:
    one, peer = leg()
    for text in ("{", b"\x00", media()):
        peer.send(text)
    for _ in range(2):
        with pytest.raises(RemoteProtocolError):
            await one.receive()

    assert isinstance(await one.receive(), CallerAudio)


@pytest.mark.parametrize(("way", "error"), [("lose", LegLost), ("close", LegClosed)])
async def test_the_end_of_the_socket_is_the_end_of_the_leg(way: str, error: type[Exception]) -> None:
    one, peer = leg()
    getattr(peer, way)()
    with pytest.raises(error):
        await one.receive()


async def test_messages_that_never_came_are_counted() -> None:
    one, peer = leg()
    for number in (2, 3, 7, 8):
        peer.send(media(number))
        await one.receive()

    assert one.messages_missing == 3


async def test_what_is_written_is_what_twilio_reads() -> None:
    one, _ = leg()

    assert json.loads(one.audio(b"\x00\x01\x02")) == {
        "event": "media",
        "streamSid": STREAM,
        "media": {"payload": "AAEC"},
    }
    assert json.loads(one.clear()) == {"event": "clear", "streamSid": STREAM}
    assert twilio.parse_mark(json.loads(one.mark(4, 250))["mark"]["name"]) == (4, 250)
