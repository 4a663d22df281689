"""The caller's socket drops: what is heard again, what the assistant gets, and when the caller is given up."""

import random

import pytest
import trio
from trio.testing import MockClock

from relay.config import ReconnectConfig
from tests.support.callrig import SILENCE, TONE, Phone, Rig, open_rig
from tests.support.numbered import heard_pairs, numbered

PAIRS = 80
TWICE_MAX_S = 0.25


def counts(*phones: Phone) -> dict[int, int]:
    """How often each byte pair of the assistant's numbered frames was heard, by all phones together."""
    found: dict[int, int] = {}
    for phone in phones:
        for number in heard_pairs(phone.heard()):
            found[number] = found.get(number, 0) + 1
    return found


async def drop(rig: Rig, gap_s: float) -> Phone:
    """The caller's socket is lost, what Twilio still had to play with it; a new stream comes after `gap_s`."""
    rig.phone.heard()
    rig.phone.peer.lose()
    await trio.sleep(gap_s)
    return await rig.attach(rig.call)


@pytest.mark.parametrize("seed", range(12))
async def test_nothing_unheard_is_skipped_and_little_is_heard_twice(seed: int, autojump_clock: MockClock) -> None:
    """Frozen at the moment of the cut: a phone whose socket is gone plays nothing more."""
    dice = random.Random(seed)
    async with open_rig() as rig:
        await rig.begin()
        rig.phone.mark_delay_s = lambda: dice.uniform(0.0, 0.04)
        rig.assistant.say(numbered(0, 400))
        await trio.sleep(dice.uniform(0.5, 6.0))
        before = heard_pairs(rig.phone.heard())
        phone = await drop(rig, dice.uniform(0.1, 5.0))
        await trio.sleep(9)
        after = heard_pairs(phone.heard())
        line = rig.event("caller.reattached")

        assert set(before) | set(after) == set(range(400))
        assert sorted(after) == after
        assert sum(map(set(before[:-PAIRS]).__contains__, after)) <= TWICE_MAX_S * 4000 + PAIRS
        assert line["gap_ms"] < 5100
        assert rig.metric("relay_reconnects_total", leg="caller", result="ok") == 1
        assert rig.call.summary()["frames_stale"] == 0


async def test_the_assistant_keeps_its_call_and_gets_silence_meanwhile(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        await rig.begin()
        await trio.sleep(1)
        before = len(rig.assistant.heard)
        phone = await drop(rig, 4.0)
        during = rig.assistant.heard[before:]
        phone.say(TONE * 50)
        await trio.sleep(2)

        assert len(during) == pytest.approx(4.0 * 8000, abs=2000)
        assert set(during) == set(SILENCE)
        assert rig.assistant.heard.count(TONE * 50) == 1
        assert len(rig.dialer.peers) == 1


async def test_a_new_stream_takes_over_from_one_that_still_stands(autojump_clock: MockClock) -> None:
    """Its words reach nobody, and it hears nobody, from then on."""
    async with open_rig() as rig:
        await rig.begin()
        await trio.sleep(1)
        old, rig.phone = rig.phone, await rig.attach(rig.call)
        sent = len(rig.dialer.peers[0].seen)
        rig.assistant.say(numbered(0, 50))
        old.say(TONE * 50)
        await trio.sleep(3)

        assert old.hung_up.is_set()
        assert heard_pairs(old.heard()) == []
        assert set(counts(rig.phone)) == set(range(50))
        assert TONE not in rig.dialer.peers[0].seen[sent + 5 :]


async def test_words_that_came_during_the_gap_are_heard_after_it(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        await rig.begin()
        await trio.sleep(1)
        rig.phone.peer.lose()
        await trio.sleep(0.5)
        rig.assistant.say(numbered(0, 100))
        await trio.sleep(3)
        phone = await rig.attach(rig.call)
        await trio.sleep(4)

        assert set(counts(phone)) == set(range(100))
        phone.say(TONE * 20)
        await trio.sleep(1)
        phone.stop()
        ended = await rig.ended("caller_hangup")
        assert ended["reconnects"] == {"caller": 1}


async def test_a_caller_who_is_back_can_interrupt(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        await rig.begin()
        rig.assistant.say(numbered(0, 600))
        await trio.sleep(2)
        phone = await drop(rig, 2.0)
        await trio.sleep(2)
        phone.say(TONE * 40)
        await trio.sleep(1)

        assert len(phone.player.clears) == 1
        assert rig.event("bargein.flushed")["turn"] == 1


async def test_nobody_comes_back(autojump_clock: MockClock) -> None:
    async with open_rig(reconnect=ReconnectConfig(reattach_grace_s=7)) as rig:
        await rig.begin()
        rig.phone.peer.lose()
        await trio.sleep(6.9)
        alive = len(rig.calls)
        await rig.ended("caller_lost", within_s=1)

        assert alive == 1
        assert rig.metric("relay_reconnects_total", leg="caller", result="failed") == 1


async def test_a_grant_gives_the_caller_the_whole_time_again(autojump_clock: MockClock) -> None:
    async with open_rig(reconnect=ReconnectConfig(reattach_grace_s=7)) as rig:
        await rig.begin()
        rig.phone.peer.lose()
        await trio.sleep(5)
        assert rig.call.grant_reattach()
        await trio.sleep(5)
        await rig.attach(rig.call)
        await trio.sleep(10)

        assert len(rig.calls) == 1


async def test_both_sockets_drop_at_once(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        await rig.begin()
        rig.assistant.say(numbered(0, 100))
        await trio.sleep(1)
        rig.dialer.connected = trio.Event()
        rig.dialer.peers[0].lose()
        phone = await drop(rig, 1.0)
        assistant = await rig.meet_assistant()
        await trio.sleep(2)
        assistant.say(numbered(200, 50))
        await trio.sleep(3)

        assert set(range(200, 250)) <= set(counts(phone))
        assert rig.call.summary()["reconnects"] == {"assistant": 1, "caller": 1}


async def test_it_happens_again_and_again(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        await rig.begin()
        rig.assistant.say(numbered(0, 1000))
        phones = [rig.phone]
        for gap_s in (0.1, 2.0, 0.5, 1.0):
            await trio.sleep(3)
            rig.phone = await drop(rig, gap_s)
            phones.append(rig.phone)
        await trio.sleep(15)

        assert set(counts(*phones)) == set(range(1000))
        assert rig.call.summary()["reconnects"] == {"caller": 4}
