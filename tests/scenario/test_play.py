"""Scenarios against small relays that behave, and against some that do not, on a quick clock."""

import base64
from pathlib import Path

import pytest
import soundfile
import trio
from trio.testing import MockClock

from relay.media.frames import TELEPHONE
from relay.scenario.play import ScenarioResult
from relay.standin.phrases import spoken
from relay.standin.sound import level_dbfs, samples_to_mulaw, tone
from tests.support.quick import pulse, quick_clock
from tests.support.scenarios import play
from tests.support.small_relay import OPTIONS, STREAM, Handler, MediaLeg, listen, small_relay

SENTENCE = spoken("description", TELEPHONE)
TONE = samples_to_mulaw(tone(440, 0.5, 8000))
RESUME = STREAM.replace("<Connect>", '<Connect action="/resume">')
FRAME = 160
QUIET = base64.b64encode(b"\xff" * FRAME).decode()


@pytest.fixture
def clock() -> MockClock:
    return quick_clock()


async def played(script: str, handler: Handler | None, **more: float | Path) -> ScenarioResult:
    async with pulse(), small_relay(handler) as small:
        return await play(small.url, script, OPTIONS, **more)


def passed(result: ScenarioResult) -> list[bool]:
    return [outcome.passed for outcome in result.outcomes]


async def talk(leg: MediaLeg, audio: bytes = SENTENCE) -> None:
    """A handler that speaks in real time, and never listens to anybody."""
    await leg.started()
    await stream(leg, audio)
    await listen_on(leg)


async def stream(leg: MediaLeg, audio: bytes) -> None:
    began_s = trio.current_time()
    for at in range(0, len(audio), FRAME):
        await trio.sleep_until(began_s + at / 8000)
        await leg.media(audio[at : at + FRAME])


async def listen_on(leg: MediaLeg) -> None:
    while True:
        await leg.receive()


async def stop_when_spoken_to(leg: MediaLeg) -> None:
    """A handler that clears as soon as the caller is loud, and answers by a tone half a second later."""
    await leg.started()
    await leg.media(SENTENCE)
    while True:
        media = (await leg.wait("media"))["media"]
        if media["payload"] != QUIET:
            break
    await leg.send("clear")
    await trio.sleep(2)
    await leg.media(TONE)
    await listen_on(leg)


async def test_a_caller_who_interrupts_hears_silence_and_an_answer(clock: MockClock) -> None:
    script = """
        expect speech for 1 s within 3 s
        interrupt with stop
        expect silence within 100 ms
        expect answer within 1 s instead of description
    """
    result = await played(script, stop_when_spoken_to)

    assert result.ok, result.outcomes
    assert [outcome.line for outcome in result.outcomes] == [0, 2, 3, 4, 5]
    silence, answer = result.outcomes[-2:]
    assert silence.measured_ms == pytest.approx(40, abs=40)
    assert answer.measured_ms == pytest.approx(700, abs=100)
    assert result.call.end == "caller_hangup"


async def test_an_assistant_that_talks_on_fails_both_and_the_script_goes_on(clock: MockClock) -> None:
    script = """
        interrupt with stop
        expect silence within 400 ms
        expect answer within 1 s instead of description
        expect no cut for 1 s in description
    """
    result = await played(script, talk)

    assert passed(result) == [True, True, False, False, True]
    assert not result.ok
    assert "still heard after" in result.outcomes[2].why


async def test_an_interruption_waits_for_somebody_to_interrupt_and_fails_without(clock: MockClock) -> None:
    result = await played("interrupt with stop", listen)

    assert passed(result) == [True, False]
    assert result.outcomes[1].why == "nobody spoke who could be interrupted"


async def test_what_is_waited_for_comes_late_and_is_measured(clock: MockClock) -> None:
    async def later(leg: MediaLeg) -> None:
        await leg.started()
        await trio.sleep(2)
        await leg.media(TONE)
        await listen_on(leg)

    script = "expect answer within 3 s\nexpect silence for 1 s within 3 s\nexpect silence for 500 ms"
    result = await played(script, later)

    assert result.ok, result.outcomes
    assert result.outcomes[1].measured_ms == pytest.approx(2000, abs=60)


async def test_a_call_that_ends_early_fails_what_follows_and_says_why(clock: MockClock) -> None:
    async def leave(leg: MediaLeg) -> None:
        await leg.started()
        await trio.sleep(1)

    script = "wait 3 s\nsay stop\ndrop\npress 5\nexpect silence for 1 s\necho off\nhang up"
    result = await played(script, leave)

    assert passed(result) == [True] + [False] * 7
    assert {outcome.why for outcome in result.outcomes[1:]} == {"the call has ended: twiml_completed"}


async def test_a_call_that_is_refused_fails_the_first_step_with_the_reason(clock: MockClock) -> None:
    result = await played("say stop", None)

    assert passed(result) == [False, False]
    assert "31920: handshake refused 403" in result.outcomes[0].why
    assert not result.ok


async def test_the_end_of_the_call_can_be_expected(clock: MockClock) -> None:
    async def leave(leg: MediaLeg) -> None:
        await leg.started()
        await trio.sleep(1)

    assert (await played("expect end within 2 s", leave)).ok
    broken = await played("expect end within 2 s", listen)
    assert broken.outcomes[1].why == "the call goes on"


async def test_a_key_is_pressed_as_a_telephone_does(clock: MockClock) -> None:
    digits: list[str] = []

    async def note(leg: MediaLeg) -> None:
        await leg.started()
        while True:
            digits.append((await leg.wait("dtmf"))["dtmf"]["digit"])

    assert (await played('press 12\npress "#"', note)).ok
    assert digits == ["1", "2", "#"]


async def test_a_dropped_stream_is_attached_again_and_the_sentence_goes_on(clock: MockClock) -> None:
    legs: list[MediaLeg] = []

    async def go_on(leg: MediaLeg) -> None:
        legs.append(leg)
        await leg.started()
        await stream(leg, SENTENCE[2 * 8000 if len(legs) > 1 else 0 :])
        await listen_on(leg)

    script = """
        expect speech for 2 s within 5 s
        drop
        expect rest of description within 1 s
    """
    async with pulse(), small_relay(go_on, voice=RESUME, resume=[RESUME]) as small:
        result = await play(small.url, script, OPTIONS)

    assert result.ok, result.outcomes
    assert result.call.streams == 2


async def test_a_stream_that_is_not_attached_again_ends_the_call(clock: MockClock) -> None:
    result = await played("drop\nsay stop", listen)

    assert passed(result) == [True, False, False]
    assert "twiml_completed" in result.outcomes[1].why


async def test_an_echo_is_on_the_line_from_one_step_to_the_other(clock: MockClock, tmp_path: Path) -> None:
    script = "wait 1 s\necho loss 10 dB delay 100 ms\nwait 2 s\necho off\nwait 1 s"
    record = tmp_path / "call.wav"
    result = await played(script, talk, record=record)
    said = soundfile.read(record, dtype="int16")[0][:, 0]

    assert result.ok
    levels = [level_dbfs(said[round(a * 8000) : round(b * 8000)]) for a, b in ((0, 0.9), (1.2, 2.9), (3.1, 3.9))]
    assert levels[0] == levels[2] == -100
    assert -50 < levels[1] < -20


async def test_the_call_lasts_no_longer_than_it_may(clock: MockClock) -> None:
    result = await played("wait 60 s\nsay stop", listen, seconds=2.0)

    assert passed(result) == [True, False, False]
    assert result.outcomes[1].why == "the call was to last 2 s at most"
    assert result.call.duration_s == pytest.approx(2, abs=0.5)


async def test_once_its_time_is_over_no_step_passes_that_would_take_no_time(clock: MockClock) -> None:
    result = await played("wait 60 s\necho loss 20 dB delay 100 ms\necho off\nsay stop", listen, seconds=2.0)

    assert passed(result) == [True, False, False, False, False]


async def test_the_result_as_json_has_every_step_and_the_call(clock: MockClock) -> None:
    told = (await played("hang up", listen)).as_json()

    assert told["ok"] is True
    assert [(step["line"], step["step"], step["ok"]) for step in told["steps"]] == [
        (0, "dial", True),
        (1, "hang up", True),
    ]
    assert told["call"]["end"] == "caller_hangup"
