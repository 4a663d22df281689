"""The writer of an assistant's socket: what it writes in each state, and how it leaves."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from relay.call.assistant.incoming import Incoming
from relay.call.assistant.pump import LAST_WORDS_S, READY_S, SEND_DEADLINE_S, SENDS_PER_TURN, Opening, Pump
from relay.errors import LegLost
from relay.media.frames import TELEPHONE
from relay.wire import vapi_controls
from tests.support.assistant_parts import Parts, assistant_parts
from tests.support.callrig import AssistantSocket
from tests.support.numbered import numbered
from tests.support.sockets import memory_socket_pair

SILENCE = TELEPHONE.silent_frame
GOODBYE = vapi_controls.end_call()
FRAME = numbered(1, 1)


class Rig:
    def __init__(self, parts: Parts, opening: Opening) -> None:
        self.parts = parts
        self.incoming = Incoming(TELEPHONE, parts.playback, parts.dialogue, parts.report)
        self.pump = Pump(parts.outgoing, self.incoming, opening, TELEPHONE, parts.report)
        _, self.peer = memory_socket_pair()
        self.socket = AssistantSocket(self.peer)
        self.done = trio.Event()
        self.failed: LegLost | None = None

    async def run(self) -> None:
        try:
            await self.pump.run(self.socket)
        except LegLost as lost:
            self.failed = lost
        self.done.set()

    def speak(self, frame: bytes = FRAME) -> None:
        """The caller says this."""
        self.parts.replay.append(frame)
        self.parts.outgoing.audio_logged(trio.current_time())

    @property
    def written(self) -> list[str | bytes]:
        return self.peer.seen

    def totals(self) -> dict[str, Any]:
        return self.parts.report.counts.totals()


@asynccontextmanager
async def pumping(opening: Opening | None = None) -> AsyncIterator[Rig]:
    rig = Rig(assistant_parts(), opening or Opening())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rig.run)
        yield rig
        nursery.cancel_scope.cancel()


def with_context(*messages: str, opened: list[int] | None = None) -> Opening:
    """The opening of a call that goes on with a conversation; `opened` counts."""
    return Opening(messages=lambda: messages, opened=lambda: None if opened is None else opened.append(1))


async def test_the_first_call_of_a_conversation_gets_audio_and_text_once_it_has_the_floor(
    autojump_clock: MockClock,
) -> None:
    async with pumping() as rig:
        rig.parts.outgoing.send_note("a key")
        await trio.sleep(5)
        assert (rig.written, rig.pump.has_floor) == ([], False)

        rig.pump.take_floor()
        rig.speak()
        await trio.sleep(1)
        assert (rig.written, rig.pump.has_floor) == (["a key", FRAME], True)


async def test_a_new_call_stands_by_with_silence_and_begins_with_the_context_and_then_the_audio(
    autojump_clock: MockClock,
) -> None:
    opened: list[int] = []
    async with pumping(with_context("one", "two", opened=opened)) as rig:
        rig.speak()
        rig.incoming.began.set()
        await trio.sleep(0.41)
        assert rig.pump.stands_by
        assert (rig.written, opened) == ([SILENCE] * 21, [])

        rig.pump.take_floor()
        await trio.sleep(0.41)
        assert (rig.written[21:], opened) == (["one", "two", FRAME], [1])
        assert rig.totals()["frames_invented"] == {"keepalive": 21}


async def test_silence_keeps_real_time_though_writes_take_time(autojump_clock: MockClock) -> None:
    async with pumping(with_context()) as rig:
        rig.peer.slow_down(0.015)
        rig.incoming.began.set()
        await trio.sleep(1.0)

    assert len(rig.written) == pytest.approx(50, abs=1)


async def test_a_new_call_gets_its_context_in_any_case_a_second_later(autojump_clock: MockClock) -> None:
    async with pumping(with_context("context")) as rig:
        rig.pump.take_floor()
        await trio.sleep(READY_S - 0.1)
        assert (rig.written, rig.pump.stands_by) == ([], False)
        await trio.sleep(0.2)
        assert rig.written == ["context"]


async def test_the_context_is_that_of_the_moment_in_which_the_floor_is_taken(autojump_clock: MockClock) -> None:
    said = ["before"]

    def messages() -> Iterable[str]:
        return list(said)

    async with pumping(Opening(messages=messages)) as rig:
        rig.incoming.began.set()
        await trio.sleep(1)
        said.append("while it stood by")
        rig.pump.take_floor()
        await trio.sleep(1)

    assert [message for message in rig.written if isinstance(message, str)] == said


async def test_nothing_of_a_conversation_that_was_moved_is_written(autojump_clock: MockClock) -> None:
    async with pumping() as rig:
        rig.pump.take_floor()
        rig.pump.leave_floor()
        rig.parts.outgoing.send_note("for the next")
        await trio.sleep(5)

        assert (rig.written, rig.pump.has_floor) == ([], False)
        assert rig.parts.outgoing.take() == "for the next"


async def test_the_goodbye_is_written_before_all_that_waits_and_answered(autojump_clock: MockClock) -> None:
    async with pumping() as rig:
        await trio.testing.wait_all_tasks_blocked()
        rig.pump.take_floor()
        rig.parts.outgoing.send_note("a key")
        rig.pump.say_goodbye()
        with trio.fail_after(1):
            await rig.done.wait()

    assert (rig.written, rig.pump.hung_up, rig.failed) == ([GOODBYE], True, None)
    assert rig.socket._socket.closed_with is not None


@pytest.mark.parametrize("after_s", [0.5, READY_S + 0.5], ids=["opening", "standing by"])
async def test_a_call_that_never_had_the_floor_gets_no_context_with_its_goodbye(
    after_s: float, autojump_clock: MockClock
) -> None:
    opened: list[int] = []
    async with pumping(with_context("context", opened=opened)) as rig:
        await trio.sleep(after_s)
        rig.pump.say_goodbye()
        with trio.fail_after(0.1):
            await rig.done.wait()

    texts = [message for message in rig.written if isinstance(message, str)]
    assert (texts, opened, rig.pump.hung_up) == ([GOODBYE], [], True)


async def test_what_is_left_of_the_context_is_not_written_before_the_goodbye(autojump_clock: MockClock) -> None:
    async with pumping(with_context("one", "two", "three")) as rig:
        rig.incoming.began.set()
        rig.pump.take_floor()
        rig.peer.slow_down(0.1)
        await trio.sleep(0.05)
        rig.pump.say_goodbye()
        with trio.fail_after(1):
            await rig.done.wait()

    assert rig.written == ["one", GOODBYE]


async def test_a_goodbye_without_an_answer_is_none(autojump_clock: MockClock) -> None:
    async with pumping() as rig:
        rig.socket.frozen = True
        rig.pump.say_goodbye()
        await trio.sleep(60)

        assert rig.written == [GOODBYE]
        assert not rig.pump.hung_up
        assert not rig.done.is_set()


async def test_a_write_that_takes_too_long_is_a_loss(autojump_clock: MockClock) -> None:
    async with pumping() as rig:
        rig.peer.stop_reading()
        rig.pump.take_floor()
        rig.speak()
        began_at = trio.current_time()
        await rig.done.wait()

    assert trio.current_time() - began_at == pytest.approx(SEND_DEADLINE_S)
    assert "longer than 5 s" in str(rig.failed)


async def test_each_write_has_the_time_for_itself_and_none_is_running_between_two(autojump_clock: MockClock) -> None:
    async with pumping() as rig:
        rig.peer.slow_down(SEND_DEADLINE_S - 0.1)
        rig.pump.take_floor()
        for _ in range(3):
            rig.speak()
            await trio.sleep(3 * SEND_DEADLINE_S)
        for _ in range(3):
            rig.speak()
        await trio.sleep(4 * SEND_DEADLINE_S)

        assert rig.written == [FRAME] * 6
        assert rig.failed is None


async def test_what_the_socket_takes_at_once_is_not_waited_for_and_the_rest_comes_behind_it(
    autojump_clock: MockClock,
) -> None:
    waited_for: list[str | bytes] = []

    async def send(message: str | bytes) -> None:
        waited_for.append(message)
        await rig.peer.take(message)

    async with pumping() as rig:
        rig.socket.send = send
        rig.pump.take_floor()
        rig.parts.outgoing.send_note("at once")
        await trio.sleep(1)
        rig.peer.stop_reading()
        rig.parts.outgoing.send_note("waits")
        rig.parts.outgoing.send_note("and this behind it")
        await trio.sleep(1)
        rig.peer.read_again()
        await trio.sleep(1)

        assert rig.written == ["at once", "waits", "and this behind it"]
        assert waited_for == ["waits"]
        assert rig.failed is None


async def test_a_frame_that_comes_while_nothing_waits_is_written_in_that_instant(autojump_clock: MockClock) -> None:
    async with pumping() as rig:
        rig.pump.take_floor()
        await trio.testing.wait_all_tasks_blocked()
        rig.speak()
        at_once = list(rig.written)
        rig.parts.outgoing.send_note("a key")
        rig.speak(numbered(1, 2))
        await trio.sleep(1)
        rig.speak(numbered(1, 3))

        assert at_once == [FRAME]
        assert rig.written == [FRAME, "a key", numbered(1, 2), numbered(1, 3)]
        assert rig.totals()["frames_assistant_up"] == 3


async def test_a_frame_that_the_socket_does_not_take_at_once_is_the_first_of_those_that_wait(
    autojump_clock: MockClock,
) -> None:
    frames = [numbered(1, number) for number in range(4)]
    async with pumping() as rig:
        rig.pump.take_floor()
        await trio.testing.wait_all_tasks_blocked()
        rig.peer.stop_reading()
        for frame in frames:
            rig.speak(frame)
        await trio.sleep(1)
        rig.peer.read_again()
        await trio.sleep(1)

        assert rig.written == frames
        assert rig.totals()["frames_assistant_up"] == 4


@pytest.mark.parametrize("refused_before", [False, True])
async def test_a_frame_that_comes_once_we_leave_is_not_written(
    autojump_clock: MockClock, *, refused_before: bool
) -> None:
    async with pumping() as rig:
        rig.pump.take_floor()
        await trio.testing.wait_all_tasks_blocked()
        if refused_before:
            rig.peer.stop_reading()
            rig.speak()
            rig.peer.read_again()
        rig.pump.say_goodbye()
        rig.speak()
        await trio.sleep(1)

        assert rig.written == [GOODBYE]
        assert rig.pump.hung_up


async def test_of_many_messages_that_are_taken_at_once_others_have_their_turn_within_a_few() -> None:
    async with pumping(with_context(*("context",) * 10 * SENDS_PER_TURN)) as rig:
        rig.incoming.began.set()
        rig.pump.take_floor()
        seen = [0]
        while seen[-1] < 10 * SENDS_PER_TURN:
            await trio.lowlevel.checkpoint()
            seen.append(len(rig.written))

    two_rounds = 2 * SENDS_PER_TURN  # trio runs the tasks of one round in any order
    assert max(after - before for before, after in pairwise(seen)) <= two_rounds


@pytest.mark.parametrize(("leaving", "after_s"), [(False, LAST_WORDS_S), (True, 0.0)])
async def test_a_failed_write_leaves_time_to_read_the_last_words_unless_we_leave(
    after_s: float, autojump_clock: MockClock, *, leaving: bool
) -> None:
    async with pumping() as rig:
        await trio.testing.wait_all_tasks_blocked()
        rig.peer.gone = True
        rig.pump.take_floor()
        if leaving:
            rig.pump.say_goodbye()
        began_at = trio.current_time()
        rig.speak()
        await rig.done.wait()

    assert trio.current_time() - began_at == pytest.approx(after_s)
    assert rig.failed is not None
    assert not rig.pump.hung_up


async def test_each_frame_is_counted_and_its_delay_measured_from_its_arrival(autojump_clock: MockClock) -> None:
    async with pumping() as rig:
        rig.pump.take_floor()
        rig.peer.slow_down(0.25)
        rig.speak()
        await trio.sleep(1)
        rig.parts.outgoing.send_note("text is no frame")
        await trio.sleep(1)

        assert rig.totals()["frames_assistant_up"] == 1
        samples = rig.parts.metrics.registry
        assert samples.get_sample_value("relay_frame_delay_seconds_sum", {"direction": "up"}) == pytest.approx(0.25)
        assert samples.get_sample_value("relay_frame_delay_seconds_count", {"direction": "up"}) == 1
