"""One connected call: what goes up, what is kept of what comes, and how its end is told."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from relay.errors import LegLost
from relay.probe.vapi_line import VapiLine, open_line
from relay.standin.assistant import AssistantCall, Behaviour
from relay.standin.phrases import spoken
from relay.wire import vapi
from tests.support.probes import ProbedAssistant, probed


def arrivals_ms(at: ProbedAssistant) -> list[float]:
    """The time between the messages of audio that the assistant got."""
    (call,) = at.assistant.calls.values()
    return [(after - before) * 1000 for (before, _), (after, _) in pairwise(call.received.arrivals)]


@asynccontextmanager
async def talking(behaviour: Behaviour | None = None, **order: Any) -> AsyncIterator[tuple[VapiLine, AssistantCall]]:
    """A line to an assistant, by default to one that says nothing, and the call at its end."""
    async with (
        probed(behaviour or Behaviour(script="silent")) as at,
        at.account.call(20, **order) as created,
        at.account.talk(created) as line,
    ):
        yield line, at.assistant.calls[created.call_id]


async def test_silence_goes_up_in_real_time(clock: MockClock) -> None:
    async with probed(Behaviour(script="silent")) as at, at.account.call(20) as created, at.account.talk(created):
        await trio.sleep(2)
    (call,) = at.assistant.calls.values()

    assert set(call.received.audio) == {0}
    assert len(call.received.audio) / 32 == pytest.approx(2000, abs=60)
    assert sum(arrivals_ms(at)) / len(arrivals_ms(at)) == pytest.approx(20, abs=1)


async def test_a_phrase_goes_up_at_its_speed_and_whole(clock: MockClock) -> None:
    async with probed(Behaviour(script="silent")) as at, at.account.call(20) as created:
        sound = spoken("stop", at.account.format)
        async with at.account.talk(created) as line:
            line.say(sound, speed=4)
            await trio.sleep(0.5)
    (call,) = at.assistant.calls.values()

    assert bytes(call.received.audio[: len(sound)]) == sound
    took_s = call.received.arrivals[len(sound) // 640][0] - call.received.arrivals[0][0]
    assert took_s == pytest.approx(len(sound) / 32000 / 4, abs=0.1)


async def test_a_line_that_falls_silent_sends_no_audio(clock: MockClock) -> None:
    async with talking() as (line, call):
        line.fall_silent()
        await trio.sleep(3)

    assert len(call.received.audio) <= 1280


async def test_what_comes_is_kept_with_its_times(clock: MockClock) -> None:
    async with talking(Behaviour(), waits=False) as (line, _):
        assert await line.wait_for(lambda: line.told(vapi.Transcript), 10)

    assert line.told(vapi.StatusUpdate)[0] == vapi.StatusUpdate("in-progress")
    assert sum(it.ms for it in line.audio) == pytest.approx((line.audio[-1].at_s - line.audio[0].at_s) * 1000, abs=100)
    assert any(it.audible for it in line.audio)
    assert line.texts >= len(line.events) > 0
    assert line.largest_text_bytes > 20
    assert line.told(vapi.StatusUpdate, since_s=line.events[-1][0] + 1) == []


async def test_waiting_ends_with_its_time_or_the_socket(clock: MockClock) -> None:
    async with talking() as (line, call):
        began_s = trio.current_time()
        assert not await line.wait_for(lambda: False, 3)
        assert trio.current_time() - began_s == pytest.approx(3, abs=0.5)
        call.drop()
        assert not await line.wait_for(lambda: False, 60)
        assert trio.current_time() - began_s < 10
        assert line.how_closed == "broken off without a goodbye"


async def test_a_message_to_a_socket_that_is_gone_is_lost(clock: MockClock) -> None:
    async with talking() as (line, call):
        call.drop()
        await line.closed.wait()
        await line.send('{"type":"end-call"}')


async def test_no_connection_is_told_without_the_address() -> None:
    secret = "ws://127.0.0.1:9/0123456789abcdef/transport"
    async with probed() as at:
        with pytest.raises(LegLost) as lost:
            async with open_line(secret, at.account.format, 5):
                raise AssertionError

    assert "0123456789abcdef" not in str(lost.value)


async def test_what_the_body_raises_passes_unchanged(clock: MockClock) -> None:
    async with probed(Behaviour(script="silent")) as at, at.account.call(20) as created:
        with pytest.raises(LegLost, match="as it was"):
            async with at.account.talk(created):
                raise LegLost("as it was")


async def test_a_line_that_breaks_off_says_no_goodbye(clock: MockClock) -> None:
    async with probed(Behaviour(script="silent", ends_with_socket=False)) as at, at.account.call(20) as created:
        async with at.account.talk(created) as line:
            await line.wait_begun()
            await line.break_off()
            await line.closed.wait()
        assert at.assistant.calls[created.call_id].status == "in-progress"
