"""Each question about audio, with each answer that the assistant can give, over real sockets."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from relay.config import BargeInConfig
from relay.probe import vapi_sound as sound
from relay.probe.finding import Answer
from relay.probe.vapi_line import SoundMessage
from relay.standin.assistant import Behaviour
from relay.standin.assistant.unsettled import FastUplink, Unsettled
from tests.support.probes import answer_to, probed

LATE_MS = st.lists(st.floats(0, 400), min_size=1, max_size=100)


def messages(late_ms: list[float], ms: float = 20.0) -> list[SoundMessage]:
    """Audible messages, one each `ms`, that come so late."""
    return [SoundMessage((index * ms + late) / 1000, ms, -20.0) for index, late in enumerate(late_ms)]


@given(LATE_MS)
def test_a_buffer_of_the_lateness_plays_the_messages_without_a_hole(late_ms: list[float]) -> None:
    """All of them, where they are so few that 99 % is all."""
    buffer_ms = sound.lateness_of(messages(late_ms))

    assert buffer_ms == pytest.approx(max(late_ms) - late_ms[0], abs=0.01)


def test_one_straggler_in_200_does_not_decide_on_the_buffer() -> None:
    assert sound.lateness_of(messages([5.0] * 100 + [900.0] + [5.0] * 99)) == pytest.approx(0)


@given(LATE_MS)
def test_what_comes_in_its_time_or_late_is_not_ahead(late_ms: list[float]) -> None:
    assert sound.ahead_of(messages([0.0, *late_ms])) < 0.01


def test_a_burst_is_ahead_by_its_length() -> None:
    assert sound.ahead_of([SoundMessage(0.0, 20.0, -20.0) for _ in range(101)]) == 2000


def test_a_pause_parts_the_audio() -> None:
    first, second = messages([0.0] * 3), [SoundMessage(5.0, 20.0, -20.0)]

    assert list(sound.runs_of([*first, *second])) == [first, second]
    assert list(sound.runs_of([])) == []


@pytest.mark.parametrize(("silence", "told"), [(True, "silence is sent"), (False, "nothing is sent in pauses")])
async def test_an_even_stream_is_told_as_one_with_its_silence(clock: MockClock, silence: bool, told: str) -> None:
    answer = await answer_to(sound.pace, Behaviour(downlink_silence=silence))

    assert answer.found.startswith("in real time, 99 % of it at most ")
    assert answer.found.endswith(told)
    assert answer.keys == {}


async def test_a_stream_that_is_later_than_the_buffer_asks_for_a_larger_one(clock: MockClock) -> None:
    answer = await answer_to(sound.pace, Behaviour(chunking="irregular"), "[jitter]\ntarget_ms = 20\n")

    assert set(answer.keys) == {"jitter.target_ms"}
    assert 20 < int(str(answer.keys["jitter.target_ms"])) <= 200


async def test_bursts_ask_for_a_longer_queue(clock: MockClock) -> None:
    answer = await answer_to(sound.pace, Behaviour(burst=True))

    assert "ahead of real time" in answer.found
    assert answer.keys == {"jitter.max_queue_ms": 120000}


async def test_bursts_leave_a_queue_that_is_long_enough(clock: MockClock) -> None:
    answer = await answer_to(sound.pace, Behaviour(burst=True), "[jitter]\nmax_queue_ms = 200000\n")

    assert answer.keys == {}


@pytest.mark.parametrize("ask", [sound.pace, sound.interruption])
async def test_an_assistant_that_says_nothing_cannot_be_measured(clock: MockClock, ask: Any) -> None:
    answer = await answer_to(ask, Behaviour(script="silent"))

    assert answer == Answer(found="not measured: the assistant did not speak", note="give it a voice", failed=True)


@pytest.mark.parametrize(("stop_lag_ms", "asks"), [(0.0, False), (1200.0, False), (2600.0, True)])
async def test_old_audio_is_measured_and_gets_the_time_it_needs(
    clock: MockClock, stop_lag_ms: float, asks: bool
) -> None:
    behaviour = Behaviour(script="tone", stop_lag_ms=stop_lag_ms)
    answer = await answer_to(sound.interruption, behaviour)
    old_ms = int(answer.found.split("old audio for ")[1].split()[0])

    assert old_ms == pytest.approx(stop_lag_ms, abs=150)
    assert ("barge_in.old_turn_ms" in answer.keys) is asks


async def test_an_interruption_that_is_not_told_is_seen_by_the_silence(clock: MockClock) -> None:
    answer = await answer_to(sound.interruption, Behaviour(send_user_interrupted=False, answer_interruption=False))

    assert answer.found.startswith("no user-interrupted; silent ")
    assert answer.keys == {}


async def test_an_assistant_that_talks_on_is_told(clock: MockClock) -> None:
    answer = await answer_to(sound.interruption, Behaviour(script="tone", agree=False))

    assert answer.found == "it does not let itself be interrupted"


@given(old_ms=st.floats(0, 6000), least=st.integers(200, 4000))
def test_the_keys_of_an_old_turn_fit_together_and_are_only_raised(old_ms: float, least: int) -> None:
    barge_in = BargeInConfig(old_turn_ms=least, false_alarm_ms=least + 300)
    keys = sound.old_turn_keys(old_ms, barge_in)

    assert bool(keys) is (old_ms > least)
    if keys:
        old_turn_ms, false_alarm_ms = (int(str(keys[f"barge_in.{key}"])) for key in ("old_turn_ms", "false_alarm_ms"))
        assert min(old_ms, 4700) <= old_turn_ms <= 4700
        assert old_turn_ms + 300 <= false_alarm_ms <= 5000


@pytest.mark.parametrize(
    ("fast", "heard", "found"),
    [
        ("heard", "Tell me about the telephone.", "100% of the words were understood"),
        ("heard", "Tell me about an elephant.", "60% of the words were understood"),
        ("unheard", "", "not heard"),
        ("closed", "", "closed with 1005"),
    ],
)
async def test_a_replay_is_fast_only_where_fast_speech_is_understood(
    clock: MockClock, monkeypatch: pytest.MonkeyPatch, fast: FastUplink, heard: str, found: str
) -> None:
    monkeypatch.setattr("relay.standin.assistant.unsettled.AHEAD_LIMIT_S", 0.1)
    behaviour = Behaviour(script="silent", user_texts=(heard,), unsettled=Unsettled(fast_uplink=fast))
    answer = await answer_to(sound.fast_speech, behaviour)

    assert answer.found == found
    assert answer.keys == {"reconnect.replay_speed": 2.0 if found.startswith("100%") else 1.0}


@pytest.mark.parametrize(
    ("said", "heard", "share"),
    [("Tell me.", "tell ME", 1.0), ("Tell me.", "", 0.0), ("Tell me.", "me too", 0.5)],
)
def test_words_count_whatever_their_case_and_order(said: str, heard: str, share: float) -> None:
    assert sound.words_understood(said, heard) == share


@pytest.mark.parametrize(
    ("background", "silence", "found"),
    [
        (False, True, "off: silence is sent"),
        (False, False, "nothing is sent"),
        (True, True, "a background sound of up to -37 dBFS"),
    ],
)
async def test_what_is_sent_while_nobody_speaks_is_found(
    clock: MockClock, background: bool, silence: bool, found: str
) -> None:
    behaviour = Behaviour(script="silent", downlink_silence=silence, unsettled=Unsettled(background=background))

    assert (await answer_to(sound.stillness, behaviour)).found == found


async def test_the_longest_text_is_that_of_all_calls(clock: MockClock) -> None:
    async with probed(Behaviour()) as at:
        assert (await sound.largest_text(at.account)).failed
        await sound.interruption(at.account)
        answer = await sound.largest_text(at.account)

    longest = at.account.seen.largest_text_bytes
    assert longest > 400
    assert answer.found == f"{longest} bytes in calls of half a minute; 30 minutes would cost too much"
