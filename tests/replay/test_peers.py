"""The stand-ins of a replay: what they are given comes out in order, and what the call writes leaves when it did."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from relay.call.caller.leg import CallerEvent, CallerGone
from relay.errors import LegLost
from relay.media.frames import TELEPHONE
from relay.net.outbox import Entry
from relay.replay.peers import RecordedLeg, RecordedOutbox


class OpenedByHand:
    """A gate that the test opens."""

    def __init__(self, *, in_hand: int = 0, open_: bool = False) -> None:
        self.open = open_
        self.left: list[str | bytes] = []
        self.leaves = 0
        """The number of the message to an assistant that leaves."""
        self._in_hand = in_hand

    def caller_takes_at_once(self) -> bool:
        return self.open

    def caller_took(self, message: str | bytes) -> None:
        self.left.append(message)

    def in_hand(self) -> int:
        return self._in_hand

    def assistant_takes_at_once(self, connection: int, number: int) -> bool:
        return self.open

    def assistant_takes(self, connection: int, number: int) -> bool:
        return number == self.leaves


async def test_what_is_put_for_the_caller_leaves_when_the_driver_says_so() -> None:
    gate, sent = OpenedByHand(), list[float]()
    outbox = RecordedOutbox(2, gate)
    assert outbox.put_now(Entry("a", turn=1, on_sent=sent.append))
    assert outbox.put_now(Entry("b", turn=1))
    assert not outbox.put_now(Entry("c", turn=1))
    assert (gate.left, sent) == ([], [])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outbox.put, Entry("c", turn=1))
        await wait_all_tasks_blocked()
        outbox.release()

    assert gate.left == ["a"]
    assert len(sent) == 1
    assert outbox.room == 0


@pytest.mark.parametrize(("in_hand", "left"), [(0, ["clear", "control"]), (1, ["a", "clear", "control"])])
async def test_a_clear_takes_back_all_but_what_the_writer_had_in_hand(in_hand: int, left: list[str]) -> None:
    gate = OpenedByHand(in_hand=in_hand)
    outbox = RecordedOutbox(9, gate)
    for entry in (Entry("a", turn=1), Entry("control"), Entry("b", turn=1)):
        outbox.put_now(entry)
    gate.open = True
    outbox.flush_and_put([Entry("clear")])

    assert gate.left == left


async def test_an_outbox_that_is_broken_takes_nothing() -> None:
    outbox = RecordedOutbox(2, OpenedByHand())
    outbox.close()

    with pytest.raises(LegLost):
        outbox.put_now(Entry("a"))


async def test_what_the_caller_did_comes_in_order_errors_too() -> None:
    leg = RecordedLeg(TELEPHONE, OpenedByHand(), joins_frames=True, browser=False)
    leg.give(CallerGone())
    leg.give(LegLost("gone"))

    events: list[CallerEvent] = []
    with pytest.raises(LegLost, match="gone"):
        await leg.receive_each(events.append)
    assert events == [CallerGone()]
