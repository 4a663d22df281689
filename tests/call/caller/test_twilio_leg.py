"""The caller's side without its carrier: what Twilio's messages mean for a call."""

import json
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
import trio

from relay.call.caller.leg import CallerAudio, CallerEvent, CallerGone, Dropped, Heard, KeyPressed
from relay.call.caller.twilio_leg import TwilioLeg
from relay.errors import LegClosed, LegLost, RemoteProtocolError
from relay.logic.playback.fence import Fence, FenceRules
from relay.net.outbox import Outbox
from relay.wire import twilio
from tests.support.sockets import MemoryPeer, memory_socket_pair

STREAM = "MZ1"
REORDER_MS = 80


def leg() -> tuple[TwilioLeg, MemoryPeer]:
    socket, peer = memory_socket_pair()
    outbox = Outbox(socket, capacity=5, fence=Fence(FenceRules()))
    return TwilioLeg(socket, outbox, STREAM, first=2, reorder_ms=REORDER_MS), peer


def message(event: str, number: int = 2, **body: Any) -> str:
    return json.dumps({"event": event, "sequenceNumber": str(number), "streamSid": STREAM, **body})


def media(number: int = 2) -> str:
    body = {"track": "inbound", "chunk": str(number), "timestamp": str(number * 20), "payload": "AAEC"}
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
        event = CallerAudio(event.stamp_ms, event.data, 0.0)

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


async def received(one: TwilioLeg, count: int) -> list[tuple[int | str, int]]:
    """What comes next that means something, and after how many ms: the number of audio, or the kind of another."""
    found: list[tuple[int | str, int]] = []
    began_at = trio.current_time()
    while len(found) < count:
        event = await one.receive()
        after_ms = round((trio.current_time() - began_at) * 1000)
        if isinstance(event, CallerAudio):
            assert event.stamp_ms is not None
            found.append((int(event.stamp_ms) // 20, after_ms))
        elif event is not None:
            found.append((event.cause if isinstance(event, Dropped) else type(event).__name__, after_ms))
    return found


async def test_audio_that_came_too_early_waits_for_what_it_overtook(autojump_clock: object) -> None:
    one, peer = leg()
    for number in (2, 5, 4, 3, 6):
        peer.send(media(number))

    assert await received(one, 5) == [(number, 0) for number in (2, 3, 4, 5, 6)]
    assert one.order().reordered == 2


async def test_what_never_comes_is_waited_for_so_long_and_counted(autojump_clock: object) -> None:
    one, peer = leg()
    for number in (2, 3, 7, 8):
        peer.send(media(number))

    assert await received(one, 4) == [(2, 0), (3, 0), (7, REORDER_MS), (8, REORDER_MS)]
    assert one.order().missing == 3
    peer.send(media(5))
    peer.send(media(8))
    assert await received(one, 2) == [("late", 0), ("duplicate", 0)]


async def test_nothing_but_audio_waits(autojump_clock: object) -> None:
    one, peer = leg()
    peer.send(media(3))
    peer.send(message("mark", 4, mark={"name": "t3:1200"}))
    peer.send(message("stop", 5, stop={"callSid": "CA1", "accountSid": "AC1"}))

    assert await received(one, 3) == [("Heard", 0), ("CallerGone", 0), (3, REORDER_MS)]


async def test_a_mark_has_its_number_in_the_same_run(autojump_clock: object) -> None:
    one, peer = leg()
    peer.send(media(2))
    peer.send(message("mark", 3, mark={"name": "t3:1200"}))
    peer.send(media(4))

    assert await received(one, 3) == [(2, 0), ("Heard", 0), (4, 0)]


@pytest.mark.parametrize(("way", "error"), [("lose", LegLost), ("close", LegClosed)])
async def test_what_waits_when_the_socket_ends_is_not_lost(
    way: str, error: type[Exception], autojump_clock: object
) -> None:
    one, peer = leg()
    peer.send(media(3))
    peer.send(media(4))
    getattr(peer, way)()

    assert await received(one, 2) == [(3, 0), (4, 0)]
    with pytest.raises(error):
        await one.receive()


BAD = "{"


@pytest.mark.parametrize("ending", ["lose", "close"])
@pytest.mark.parametrize(
    "said",
    [
        [2, 3, 4],
        [2, "mark", 3, BAD, 4, "mark"],
        [3, 2, 5, 4],
        [2, 4, "mark", 5, 3],
        [2, 4, 5],
        [4],
        [2, 2, 4, 2, 3],
    ],
)
async def test_each_event_is_taken_as_it_would_be_received(
    said: list[int | str], ending: str, autojump_clock: object
) -> None:
    """What `receive` gives one by one, also behind what waits for its time, before the end, and after an error."""
    seen: list[list[object]] = []
    for one_by_one in (True, False):
        one, peer = leg()
        events: list[object] = []

        async def receive(one: TwilioLeg, events: list[object], *, one_by_one: bool) -> None:
            while True:
                try:
                    if one_by_one:
                        events.append(await one.receive())
                    else:
                        await one.receive_each(events.append)
                except RemoteProtocolError as error:
                    events.append(error.code)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ends_with_loss, partial(receive, one, events, one_by_one=one_by_one))
            for number, what in enumerate(said):
                await trio.sleep(0.02)
                text = media(what) if isinstance(what, int) else what
                peer.send(message("mark", 100 + number, mark={"name": "t3:1200"}) if what == "mark" else text)
                if what == 5:
                    await trio.sleep(2 * REORDER_MS / 1000)
            await trio.sleep(0.01)
            getattr(peer, ending)()
        seen.append([event.stamp_ms if isinstance(event, CallerAudio) else event for event in events if event])

    assert seen[0] == seen[1] != []


async def ends_with_loss(receive: Callable[[], Awaitable[None]]) -> None:
    with pytest.raises((LegLost, LegClosed)):
        await receive()


async def test_nothing_is_taken_behind_the_event_that_was_looked_for(autojump_clock: object) -> None:
    one, peer = leg()
    for number in (3, 4, 2, 5):
        peer.send(media(number))

    def look_for(stamp_ms: int) -> Callable[[CallerEvent], CallerEvent | None]:
        return lambda event: event if isinstance(event, CallerAudio) and event.stamp_ms == stamp_ms else None

    for number in (2, 3, 5):
        found = await one.receive_each(look_for(number * 20))
        assert isinstance(found, CallerAudio)
        assert found.stamp_ms == number * 20


async def test_what_is_written_is_what_twilio_reads() -> None:
    one, _ = leg()

    assert json.loads(one.audio(b"\x00\x01\x02")) == {
        "event": "media",
        "streamSid": STREAM,
        "media": {"payload": "AAEC"},
    }
    assert json.loads(one.clear()) == {"event": "clear", "streamSid": STREAM}
    assert twilio.parse_mark(json.loads(one.mark(4, 250))["mark"]["name"]) == (4, 250)
