"""Whole calls under random and hostile conditions: the promises hold whatever comes in whatever order."""

import gc
import random
import weakref
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from relay.call.call import Call
from relay.config import ReconnectConfig
from tests.support.callrig import GONE, MURMUR, TONE, Rig, open_rig
from tests.support.numbered import heard_pairs, numbered

NEVER_MUTE_S = 2.75
"""The longest that sound of the assistant may be kept back: the fence's deadline, then the buffer fills."""
PAUSE_S = 1.2

STEPS = st.one_of(
    st.tuples(st.just("speak"), st.integers(3, 40)),
    st.tuples(st.just("cough"), st.integers(3, 15)),
    st.tuples(st.just("user-interrupted"), st.just(0)),
    st.tuples(st.just("user-speech"), st.integers(0, 1)),
    st.tuples(st.just("assistant-stopped"), st.just(0)),
    st.tuples(st.just("transcript"), st.integers(1, 4)),
    st.tuples(st.just("stick"), st.integers(50, 900)),
    st.tuples(st.just("burst"), st.integers(5, 60)),
    st.tuples(st.just("stall"), st.integers(50, 400)),
)
STORY = st.lists(st.tuples(STEPS, st.integers(10, 1500)), min_size=3, max_size=9)


class Story:
    """One call in which things happen; the assistant speaks frames with rising numbers, in turns."""

    def __init__(self, rig: Rig, seed: int) -> None:
        self.rig = rig
        self.random = random.Random(seed)
        self.next_frame = 0
        self.turn_ends: list[int] = []

    async def tell(self, steps: list[tuple[tuple[str, int], int]]) -> None:
        rig = self.rig
        rig.phone.mark_delay_s = lambda: self.random.uniform(0, 0.3)
        self.talk(120)
        for (kind, size), wait_ms in steps:
            await self.step(kind, size)
            if not rig.assistant.saying:
                self.talk(self.random.randint(30, 200))
            await trio.sleep(wait_ms / 1000)

    def talk(self, frames: int) -> None:
        frames = min(frames, 4000 - self.next_frame)
        self.rig.assistant.say(numbered(self.next_frame, frames))
        self.next_frame += frames

    async def step(self, kind: str, size: int) -> None:
        rig = self.rig
        match kind:
            case "speak":
                rig.phone.say(TONE * size)
            case "cough":
                rig.phone.say(MURMUR * size)
            case "user-interrupted":
                rig.assistant.interrupted()
            case "user-speech":
                rig.assistant.speech(("started", "stopped")[size], "user")
            case "assistant-stopped":
                rig.assistant.speech("stopped")
            case "transcript":
                rig.assistant.transcript("word " * size)
            case "stick":
                rig.phone.peer.stop_reading()
                await trio.sleep(size / 1000)
                rig.phone.peer.read_again()
            case "burst":
                for frame in rig.assistant.saying[:size]:
                    rig.assistant.send(frame)
                del rig.assistant.saying[:size]
            case "stall":
                saying, rig.assistant.saying = rig.assistant.saying, []
                await trio.sleep(size / 1000)
                rig.assistant.saying = saying


def check(rig: Rig, sent: int) -> None:
    player = rig.phone.player
    rig.phone.heard()
    assert player.warnings == []
    assert rig.metric("relay_frames_stale_total") == 0
    assert rig.events("call.failed") == []
    frames = [heard_pairs(line.audio) for line in player.log if line.kind == "media"]
    assert all(len(set(frame)) <= 1 for frame in frames), "two voices in one frame"
    assert all(number < sent for frame in frames for number in frame)
    in_order_but_for_resumptions(rig)


def in_order_but_for_resumptions(rig: Rig) -> None:
    """Audio goes back only after a `clear`, and then not to before what was heard of it: one voice, no repetition."""
    last, cleared = -1, False
    for line in rig.phone.player.log:
        if line.kind == "clear":
            cleared = True
        elif line.kind == "media" and (pairs := heard_pairs(line.audio)):
            assert cleared or pairs[0] > last, f"{pairs[0]} after {last} without a clear"
            last, cleared = pairs[0], False


@given(STORY, st.integers(0, 2**16))
@settings(max_examples=8)
def test_no_story_breaks_the_fence_or_leaves_the_assistant_mute(
    steps: list[tuple[tuple[str, int], int]], seed: int
) -> None:
    async def run() -> None:
        async with open_rig() as rig:
            await rig.begin()
            story = Story(rig, seed)
            await story.tell(steps)
            await trio.sleep(NEVER_MUTE_S)
            rig.assistant.stop()
            await trio.sleep(NEVER_MUTE_S + PAUSE_S)
            story.talk(200)
            first = story.next_frame - 200
            await trio.sleep(NEVER_MUTE_S)
            after = heard_pairs(rig.phone.heard())
            await trio.sleep(4)
            whole = heard_pairs(rig.phone.heard())

            check(rig, story.next_frame)
            assert any(number >= first for number in after), "mute past the deadline"
            assert set(range(first, first + 200)) <= set(whole), "a turn that nobody interrupted is heard whole"
            rig.phone.stop()
            await rig.ended("caller_hangup")

    trio.run(run, clock=MockClock(autojump_threshold=0))


@given(st.integers(1, 40), st.integers(0, 19), st.integers(0, 300), st.integers(0, 2**16))
@settings(max_examples=6)
def test_nothing_of_a_resumed_turn_is_lost(frames: int, phase_ms: int, mark_delay_ms: int, seed: int) -> None:
    """The caller makes a noise of any length; the assistant goes on as if nothing had been."""

    async def run() -> None:
        async with open_rig() as rig:
            source = random.Random(seed)
            await rig.begin(phase_s=phase_ms / 1000)
            rig.phone.mark_delay_s = lambda: source.uniform(0, mark_delay_ms / 1000)
            rig.assistant.say(numbered(0, 400))
            await trio.sleep(2 + phase_ms / 100)
            rig.phone.say(source.choice([TONE, MURMUR]) * frames)
            await trio.sleep(12)

            check(rig, 400)
            assert set(heard_pairs(rig.phone.heard())) == set(range(400))

    trio.run(run, clock=MockClock(autojump_threshold=0))


NASTY: list[str | bytes] = [
    "",
    "{",
    "[]",
    "null",
    b"\x00\xff",
    '{"event": "media"}',
    '{"event": "nonsense", "sequenceNumber": "1"}',
    '{"event": "media", "sequenceNumber": "-1", "media": {"track": "inbound", "timestamp": "0", "payload": "AAAA"}}',
    '{"event": "media", "sequenceNumber": "1", "media": {"track": "outbound", "timestamp": "0", "payload": "AAAA"}}',
    '{"event": "media", "sequenceNumber": "1", "media": {"track": "inbound", "timestamp": "0", "payload": "!"}}',
    '{"event": "media", "sequenceNumber": "1", "media": {"track": "inbound", "timestamp": "9e9", "payload": "AAAA"}}',
    '{"event": "media", "sequenceNumber": "9007199254740992", "media": {"track": "inbound", "timestamp": "0"}}',
    '{"event":"media","sequenceNumber":"3","media":{"track":"inbound","timestamp":"9007199254740992","payload":"AA=="}}',
    '{"event": "mark", "sequenceNumber": "5", "mark": {"name": "t1:999999999"}}',
    '{"event": "mark", "sequenceNumber": "5", "mark": {"name": "t999999999:0"}}',
    '{"event": "dtmf", "sequenceNumber": "5", "dtmf": {"digit": "99"}}',
    '{"event": "start", "sequenceNumber": "1"}',
    '{"event": "connected", "protocol": "Call", "version": "1.0.0"}',
    "[" * 50_000,
    '{"event": "' + "x" * 60_000 + '"}',
]


@pytest.mark.parametrize("message", NASTY, ids=range(len(NASTY)))
async def test_a_nasty_message_of_the_caller_does_not_end_the_call(
    message: str | bytes, autojump_clock: MockClock
) -> None:
    async with open_rig() as rig:
        await rig.begin()
        rig.assistant.say(numbered(0, 50))
        await trio.sleep(0.5)
        for _ in range(3):
            rig.phone.peer.send(message)
        await trio.sleep(3)

        assert set(heard_pairs(rig.phone.heard())) == set(range(50))
        assert len(rig.events("caller.bad_message")) <= 1
        rig.phone.stop()
        await rig.ended("caller_hangup")


async def test_a_hundred_hostile_calls_leave_nothing_behind(autojump_clock: MockClock) -> None:
    async with open_rig(reconnect=ReconnectConfig(reattach_grace_s=2)) as rig:
        tasks = trio.lowlevel.current_statistics().tasks_living
        source = random.Random(1)
        dead = [await hostile_call(rig, source) for _ in range(100)]
        await trio.sleep(10)
        gc.collect()

        assert sum(ref() is not None for ref in dead) == 0
        assert trio.lowlevel.current_statistics().tasks_living == tasks
        assert len(rig.calls) == 0
        assert rig.metric("relay_calls_active") == 0
        assert rig.events("call.failed") == []
        assert rig.metric("relay_frames_stale_total") == 0


async def hostile_call(rig: Rig, source: random.Random) -> "weakref.ref[Call]":
    async with trio.open_nursery() as nursery:
        own = Rig(rig.calls, rig.takeover, rig.dialer, rig.metrics, nursery, rig.logged)
        rig.dialer.connected = trio.Event()
        await own.begin()
        own.assistant.say(numbered(0, 60))
        for _ in range(12):
            await trio.sleep(source.uniform(0, 0.1))
            throw(own, source)
        own.phone.stop()
        await own.until_over(20)
        nursery.cancel_scope.cancel()
    return weakref.ref(own.call)


def throw(own: Rig, source: random.Random) -> None:
    message: Any = source.choice([*NASTY, source.randbytes(50), "{}", '{"type": "user-interrupted"}'])
    peer = source.choice([own.phone.peer, own.assistant.peer])
    try:
        match source.randrange(12):
            case 0:
                own.phone.peer.lose()
            case 1:
                own.assistant.peer.close(source.choice([1000, 1006, 4000]))
            case 2:
                own.phone.say(TONE * 10)
            case _:
                peer.send(message)
    except GONE:
        return


@given(st.lists(st.one_of(st.text(max_size=200), st.binary(max_size=200)), max_size=20))
@settings(max_examples=15)
def test_any_messages_on_both_sockets_leave_a_call_that_can_be_ended(messages: list[str | bytes]) -> None:
    async def run() -> None:
        async with open_rig() as rig:
            await rig.begin()
            for message in messages:
                rig.phone.peer.send(message)
                rig.assistant.peer.send(message)
                await trio.sleep(0.02)
            rig.phone.stop()
            await rig.ended("caller_hangup")

    trio.run(run, clock=MockClock(autojump_threshold=0))
