"""Whole calls with an echo on the line: the assistant's own voice never interrupts it, and the caller still does."""

import numpy as np
import pytest
import trio
from trio.testing import MockClock

from relay.config import AudioConfig
from relay.media import g711
from relay.media.frames import TELEPHONE
from relay.standin.echo import EchoPath
from relay.standin.phrases import spoken
from tests.support.callrig import Rig
from tests.support.echoing import EchoingLine, call_with

WORDS = spoken("description", TELEPHONE)[: 15 * 8000]
QUESTION = spoken("question", TELEPHONE)[: 113 * 160]
WORDS_S = len(WORDS) / 8000


def stops(rig: Rig) -> int:
    """How often the assistant was cut or paused."""
    counts = rig.call.summary()
    return len(rig.events("bargein.flushed")) + int(str(counts["interruptions_resumed"]))


def line_echo(loss_db: float, delay_ms: float, drive: float = 0.0) -> EchoPath:
    return EchoPath(8000, delay_ms=delay_ms, loss_db=loss_db, drive=drive)


@pytest.mark.parametrize(("loss_db", "delay_ms"), [(10, 50), (10, 700), (25, 300), (40, 50), (40, 700)])
async def test_the_assistants_own_voice_never_interrupts_it(
    loss_db: int, delay_ms: int, autojump_clock: MockClock
) -> None:
    async with call_with(line_echo(loss_db, delay_ms)) as (rig, _):
        rig.assistant.say(WORDS)
        await trio.sleep(WORDS_S + 2)

        assert stops(rig) == 0
        assert rig.event("echo.found")["delay_ms"] >= delay_ms
        assert rig.event("echo.found")["loss_db"] == pytest.approx(loss_db, abs=7)
        assert rig.call.summary()["echoes_found"] == 1
        assert WORDS[:-160] in rig.phone.heard()


async def test_with_echo_off_it_does(autojump_clock: MockClock) -> None:
    """Guards the tests above: on this line there is something to take out."""
    async with call_with(line_echo(15, 180), AudioConfig(echo="off")) as (rig, _):
        rig.assistant.say(WORDS)
        await trio.sleep(WORDS_S + 2)

        assert stops(rig) > 0
        assert rig.events("echo.found") == []


@pytest.mark.parametrize("at_s", [3.0, 9.0])
async def test_a_caller_interrupts_over_an_echo(at_s: float, autojump_clock: MockClock) -> None:
    async with call_with(line_echo(15, 180)) as (rig, _):
        rig.assistant.say(WORDS)
        await trio.sleep(at_s)
        rig.phone.say(QUESTION)
        await trio.sleep(1.5)

        assert rig.event("bargein.flushed")["onset_to_clear_ms"] < 500
        assert rig.metric("relay_frames_stale_total") == 0


async def test_the_assistant_hears_no_echo_once_it_is_found(autojump_clock: MockClock) -> None:
    async with call_with(line_echo(15, 180)) as (rig, line):
        rig.assistant.say(WORDS)
        await trio.sleep(10)
        heard, sent = (
            power_db(audio) for audio in (rig.assistant.heard[-8000 * 5 :], b"".join(line.sent)[-8000 * 5 :])
        )

        assert heard < sent - 15


async def test_on_a_line_without_an_echo_the_assistant_gets_every_byte(autojump_clock: MockClock) -> None:
    """Both speak at once, the caller from the first second on."""
    async with call_with(line_echo(200, 50)) as (rig, line):
        rig.assistant.say(WORDS)
        rig.phone.say(QUESTION * 10)
        await trio.sleep(WORDS_S)

        assert b"".join(line.sent[:-2]) in rig.assistant.heard
        assert rig.events("echo.found") == []


@pytest.mark.parametrize("trouble", ["loss", "drive", "drift"])
async def test_troubles_of_a_line_do_not_bring_the_echo_back(trouble: str, autojump_clock: MockClock) -> None:
    path = line_echo(20, 180, drive=0.7 if trouble == "drive" else 0.0)
    async with call_with(path, drift_ppm=500 if trouble == "drift" else 0) as (rig, line):
        if trouble == "loss":
            line.lost = lambda n: n % 100 == 50
        rig.assistant.say(WORDS)
        await trio.sleep(WORDS_S + 2)

        assert stops(rig) == 0


async def test_a_jump_of_the_delay_cuts_nothing(autojump_clock: MockClock) -> None:
    """It may pause the assistant once: for some 150 ms the echo is where nobody looks for it."""
    async with call_with(line_echo(20, 180)) as (rig, line):
        rig.assistant.say(WORDS)
        await trio.sleep(WORDS_S / 2)
        line.path = line_echo(20, 260)
        await trio.sleep(WORDS_S / 2 + 2)

        assert rig.events("bargein.flushed") == []
        assert stops(rig) <= 1


@pytest.mark.parametrize("at_s", [8.0, 9.3, 11.0])
async def test_an_echo_that_begins_in_mid_call_is_found_once_it_is_heard_as_speech(
    at_s: float, autojump_clock: MockClock
) -> None:
    """The caller turns the loudspeaker on, on a line that was hardly looked at any more. It may cut the assistant once:
    then nothing comes back until it speaks again."""
    async with call_with(line_echo(200, 50)) as (rig, line):
        rig.assistant.say(WORDS * 2)
        await trio.sleep(at_s)
        line.path = line_echo(15, 180)
        await trio.sleep(4)

        assert rig.event("echo.found")["delay_ms"] == pytest.approx(180, abs=60)


async def test_an_echo_is_found_again_after_the_caller_attached_again(autojump_clock: MockClock) -> None:
    async with call_with(line_echo(15, 180)) as (rig, _):
        rig.assistant.say(WORDS)
        await trio.sleep(6)
        rig.phone.peer.lose()
        await trio.sleep(1)
        rig.phone = await rig.attach(rig.call, speaking=False)
        rig.nursery.start_soon(EchoingLine(rig, line_echo(15, 400)).run)
        await trio.sleep(8)

        first, second = rig.events("echo.found")
        assert second["delay_ms"] - first["delay_ms"] == pytest.approx(220, abs=60)
        assert stops(rig) == 0


def power_db(audio: bytes) -> float:
    return float(10 * np.log10(np.mean(g711.decode(audio).astype(np.float64) ** 2)))
