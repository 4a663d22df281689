"""The assistants of a replay: dials and sockets do what they did, whoever asks first."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from relay.errors import AssistantUnavailable
from relay.media.frames import TELEPHONE
from relay.replay.assistants import RecordedConnections, RecordedPlacer, RecordedSocket
from relay.wire.vapi_call import CallCreated
from tests.replay.test_peers import OpenedByHand


async def test_a_message_to_an_assistant_waits_for_its_time() -> None:
    gate = OpenedByHand()
    socket = RecordedSocket(1, gate)
    assert not socket.send_now(b"x")
    assert not socket.release()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(socket.send, b"x")
        await wait_all_tasks_blocked()
        assert socket.release()
    gate.open = True

    assert socket.send_now(b"y")


async def test_a_message_that_left_at_once_does_not_let_the_one_behind_it_go() -> None:
    gate = OpenedByHand(open_=True)
    socket = RecordedSocket(1, gate)
    assert socket.send_now(b"x")
    gate.open = False
    async with trio.open_nursery() as nursery:
        nursery.start_soon(socket.send, b"y")
        await wait_all_tasks_blocked()
        assert not socket.release()
        await wait_all_tasks_blocked()
        assert nursery.child_tasks
        gate.leaves = 1
        assert socket.release()


async def test_dials_come_to_what_they_came_to_in_their_order() -> None:
    connections = RecordedConnections(OpenedByHand())
    placer = RecordedPlacer(connections)
    created = CallCreated("vapi-2", "2", None, TELEPHONE)
    connections.dialled(2, created)
    connections.dialled(1, AssistantUnavailable("busy", "VAPI_BUSY", retriable=True))

    with pytest.raises(AssistantUnavailable, match="busy"):
        await placer.place(None, None)  # type: ignore[arg-type]
    assert await placer.place(None, None) is created  # type: ignore[arg-type]
