"""The provider ends each call with the assistant after a while: the conversation is moved to the next one before."""

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import trio
from trio.testing import MockClock

from relay.errors import AssistantUnavailable
from relay.media import g711
from tests.support.callrig import PCM, Assistant, Rig, open_rig
from tests.support.cuts import Trial, sentence
from tests.support.limited import LIMIT_S, limited_rig
from tests.support.numbered import heard_pairs, numbered, whole_and_in_order

WINDOW_S, HURRY_S, LAST_S = 15.0, 22.5, 27.0
"""The marks of that limit, from the beginning of a call with the assistant."""
DOWN = AssistantUnavailable("no", "VAPI_SERVER_ERROR", retriable=True)
FULL = AssistantUnavailable("no", "VAPI_CONCURRENCY_BLOCKED", retriable=False)


async def assistant_number(rig: Rig, number: int) -> Assistant:
    """The assistant of the `number`th connection, from 0, once it is there."""
    assistant = Assistant(await rig.dialer.peer(number), rig.dialer.format)
    rig.nursery.start_soon(assistant.speak)
    return assistant


async def changed(rig: Rig, number: int = 1) -> Any:
    """The log line of the `number`th change-over, once it is there."""
    with trio.fail_after(60):
        while len(rig.events("assistant.changed")) < number:  # noqa: ASYNC110 - a rig for tests
            await trio.sleep(0.02)
    return rig.events("assistant.changed")[number - 1]


def said(assistant: Assistant, text: str, audio: bytes) -> None:
    """The assistant says this, which ends when its audio does."""
    assistant.speech("started")
    assistant.say(audio)
    assistant.transcript(text, role="assistant", kind="final")
    assistant.speech("stopped")


def context(assistant: Assistant) -> list[tuple[str, str, bool]]:
    notes = [note for note in assistant.told if note["type"] == "add-message"]
    return [(n["message"]["role"], n["message"]["content"], n["triggerResponseEnabled"]) for n in notes]


def nothing_was_lost(rig: Rig) -> bool:
    return not (rig.events("assistant.lost") or rig.events("assistant.reconnected") or rig.events("playout.hole"))


async def test_a_long_call_is_moved_again_and_again_and_every_sentence_had_once(autojump_clock: MockClock) -> None:
    async with limited_rig() as rig:
        trial = Trial(rig, random.Random(1))
        await trial.begin()
        await trial.talk(30)
        await trio.sleep(6)
        changes = rig.events("assistant.changed")

        assert trio.current_time() > 82
        assert trial.problems() == []
        assert len(changes) >= 3
        assert all(change["dropped_ms"] == 0 for change in changes)
        assert nothing_was_lost(rig)
        assert rig.metric("relay_reconnects_total", leg="assistant", result="planned") == len(changes)
        assert rig.dialer.hung_up == []
        rig.phone.stop()
        assert (await rig.ended("caller_hangup"))["planned_changes"] == len(changes)


async def test_the_assistant_is_never_cut_and_the_caller_hears_no_gap(autojump_clock: MockClock) -> None:
    """It speaks for two seconds, pauses for 1.5: all frames are heard, in order, and no comfort sound between."""
    async with limited_rig() as rig:
        await rig.begin()
        number = frames = 0
        assistant = rig.assistant
        while trio.current_time() < 45:
            if len(rig.events("assistant.changed")) > number:
                number += 1
                assistant = Assistant(rig.dialer.peers[number], rig.dialer.format)
                rig.nursery.start_soon(assistant.speak)
            said(assistant, f"sentence {frames}", numbered(frames, 100))
            frames += 100
            await trio.sleep(3.5)
        await trio.sleep(1)

        assert number >= 2
        assert {change["moment"] for change in rig.events("assistant.changed")} == {"quiet"}
        assert whole_and_in_order(rig.phone.heard(), 0, frames)
        assert nothing_was_lost(rig)
        assert "reconnect" not in rig.call.summary()["frames_invented"]  # type: ignore[operator]


async def test_the_next_call_goes_on_with_the_conversation(autojump_clock: MockClock) -> None:
    async with limited_rig() as rig:
        await rig.begin()
        said(rig.assistant, "Hello, how can I help you?", numbered(0, 50))
        await trio.sleep(2)
        rig.phone.say(sentence(1, 60))
        await trio.sleep(3)
        rig.assistant.transcript("I want to cancel", kind="final")
        said(rig.assistant, "Which order?", numbered(50, 50))
        line = await changed(rig)
        await trio.sleep(1)
        following = await assistant_number(rig, 1)

        assert rig.dialer.asked == [(True, None), (False, "vapi-0")]
        assert context(following) == [
            ("assistant", "Hello, how can I help you?", False),
            ("user", "I want to cancel", False),
            ("assistant", "Which order?", False),
        ]
        assert sentence(1, 60)[:1600] not in following.heard
        assert rig.assistant.told[-1] == {"type": "end-call"}
        assert (line["moment"], line["replaces"], line["assistant_call_id"]) == ("quiet", "vapi-0", "vapi-1")
        assert rig.call.summary()["assistant_call_id"] == "vapi-1"


async def test_an_assistant_that_leaves_says_its_last_words_itself(autojump_clock: MockClock) -> None:
    """Though it is still speaking when any other would be left."""
    async with limited_rig() as rig:
        await rig.begin()
        before = int((LAST_S - 1) * 50)
        rig.assistant.say(numbered(0, before + 100))
        await trio.sleep(LAST_S - 1)
        rig.assistant.tell(type="tool-calls", toolCallList=[{"id": "1", "function": {"name": "endCall"}}])
        await rig.ended("assistant_ended", within_s=5)

        assert whole_and_in_order(rig.phone.heard(), 0, before + 100)
        assert rig.events("assistant.changed") == []


async def test_who_stands_by_hears_silence_and_is_not_heard_and_who_was_left_neither(
    autojump_clock: MockClock,
) -> None:
    async with limited_rig() as rig:
        await rig.begin()
        said(rig.assistant, "Hello", numbered(0, 50))
        await trio.sleep(WINDOW_S - 1)
        rig.phone.say(sentence(1, 170))
        following = await assistant_number(rig, 1)
        following.say(numbered(1000, 50))
        following.transcript("too early", kind="final")
        await trio.sleep(2.8)
        standing_by = following.heard
        rig.assistant.transcript("words", kind="final")
        await changed(rig)
        rig.assistant.send(numbered(2000, 50))
        rig.assistant.transcript("too late", kind="final")
        following.say(numbered(3000, 50))
        await trio.sleep(3)
        heard = set(heard_pairs(rig.phone.heard()))

        assert set(standing_by) == {0xFF}
        assert len(standing_by) == pytest.approx(2.8 * 8000, rel=0.1)
        assert not heard & {*range(1000, 1050), *range(2000, 2050)}
        assert set(range(3000, 3050)) <= heard
        assert [line["characters"] for line in rig.events("transcript.final")] == [len("Hello"), len("words")]
        assert sentence(1, 170)[-1600:] not in following.heard


async def test_a_sample_cut_in_two_while_the_next_call_stands_by_does_not_shift_all_that_follow(
    autojump_clock: MockClock,
) -> None:
    """Chunks have any length. Read one byte late, what is hardly to be heard would be loud."""
    async with limited_rig(PCM) as rig:
        await rig.begin()
        following = await assistant_number(rig, 1)
        following.send(b"\x10")
        await changed(rig)
        following.stop()
        following.silent_when_quiet = True
        following.send(b"\x00" + np.full(16000, 16, "<i2").tobytes())
        await trio.sleep(2)

        assert 8 <= np.abs(g711.decode(rig.phone.heard())).max() <= 40


async def test_who_talks_through_the_window_is_moved_between_two_sentences(autojump_clock: MockClock) -> None:
    """No pause is long enough for a quiet moment, but each sentence is understood before the next. The new assistant
    has to answer in the place of the old."""
    async with limited_rig() as rig:
        trial = Trial(rig, random.Random(1), answers=False)
        await trial.begin()
        for _ in range(19):
            frames = trial.dice.randrange(60, 120)
            rig.phone.say(trial.said.new(frames))
            await trio.sleep(frames * 0.02 + 0.7)
        changes = rig.events("assistant.changed")
        await trio.sleep(6)

        assert trial.problems() == []
        assert len(changes) >= 2
        assert {change["moment"] for change in changes} == {"hurried"}
        assert max(change["replayed_ms"] for change in changes) <= 700, "no more than the pause"
        assert context(trial.ears[1].assistant)[-1][2]
        assert nothing_was_lost(rig)


async def test_a_sentence_without_an_end_comes_again_from_its_beginning(autojump_clock: MockClock) -> None:
    monologue = sentence(1, 500)
    async with limited_rig() as rig:
        await rig.begin()
        said(rig.assistant, "Hello", numbered(0, 50))
        await trio.sleep(WINDOW_S - 1)
        rig.phone.say(sentence(2, 200))
        await trio.sleep(4.4)
        rig.assistant.transcript("words", kind="final")
        rig.phone.say(monologue)
        line = await changed(rig)
        following = await assistant_number(rig, 1)
        await trio.sleep(12)

        assert line["moment"] == "forced"
        assert line["dropped_ms"] == 0
        assert monologue in following.heard


async def test_an_assistant_that_never_stops_is_cut_at_the_last_and_the_next_goes_on(autojump_clock: MockClock) -> None:
    async with limited_rig() as rig:
        await rig.begin()
        rig.assistant.speech("started")
        rig.assistant.say(numbered(0, 2000))
        rig.nursery.start_soon(_say_words_as_they_come, rig.assistant)
        line = await changed(rig)
        at = trio.current_time()
        following = await assistant_number(rig, 1)
        await trio.sleep(2)
        ((role, text, triggers),) = context(following)

        assert line["moment"] == "forced"
        assert LAST_S - 0.1 <= at <= LAST_S + 0.3
        assert (role, triggers) == ("assistant", True)
        assert 48 <= len(text.split()) <= 55
        assert max(heard_pairs(rig.phone.heard())) < 50 * (LAST_S + 0.3)


async def _say_words_as_they_come(assistant: Assistant) -> None:
    """Two in a second, each when it is heard."""
    while not assistant.peer.gone:
        await trio.sleep(0.5)
        assistant.transcript("word", role="assistant", kind="final")


async def test_a_next_call_that_cannot_be_had_is_tried_again_in_time(autojump_clock: MockClock) -> None:
    async with limited_rig() as rig:
        await rig.begin()
        said(rig.assistant, "Hello", numbered(0, 50))
        await trio.sleep(WINDOW_S - 1)
        rig.dialer.failure = DOWN
        await trio.sleep(4)
        rig.dialer.failure = None
        await changed(rig)

        assert len(rig.events("assistant.unavailable")) >= 2
        assert trio.current_time() < HURRY_S
        assert nothing_was_lost(rig)
        assert rig.metric("relay_reconnects_total", leg="assistant", result="failed") == 0


@pytest.mark.parametrize("failure", [DOWN, FULL])
async def test_without_a_next_call_the_end_of_the_old_one_is_a_loss(
    failure: AssistantUnavailable, autojump_clock: MockClock
) -> None:
    """A plan of one call at a time refuses the second until the first has ended."""
    async with limited_rig() as rig:
        await rig.begin()
        said(rig.assistant, "Hello", numbered(0, 50))
        rig.dialer.failure = failure
        await trio.sleep(LIMIT_S - 1)
        asked = len(rig.dialer.asked)
        rig.dialer.failure = None
        await trio.sleep(3)
        following = await assistant_number(rig, 1)
        said(following, "Still here", numbered(50, 50))
        await trio.sleep(3)

        assert asked == (2 if failure is FULL else 5)
        assert rig.events("assistant.changed") == []
        assert rig.event("assistant.reconnected")["gap_ms"] < 1500
        assert whole_and_in_order(rig.phone.heard(), 0, 100)
        assert rig.dialer.hung_up == []


AT_THE_LIMIT: dict[str, Callable[[Assistant], object]] = {
    "ended, with the reason": lambda a: a.tell(
        type="status-update", status="ended", endedReason="exceeded-max-duration"
    ),
    "ended, no reason": lambda a: a.tell(type="status-update", status="ended"),
    "closed, not a word": lambda a: a.peer.close(1000),
}


@pytest.mark.parametrize("way", AT_THE_LIMIT)
@pytest.mark.parametrize("at_s", [LIMIT_S - 8, LIMIT_S])
async def test_a_provider_that_ends_its_call_at_the_limit_need_not_say_why(
    at_s: float, way: str, autojump_clock: MockClock
) -> None:
    """Before that, without a reason, the assistant has hung up."""
    async with open_rig() as rig:
        rig.dialer.max_call_s = LIMIT_S
        await rig.begin()
        said(rig.assistant, "Hello", numbered(0, 50))
        rig.dialer.failure = FULL
        await trio.sleep_until(at_s)
        rig.dialer.failure = None
        AT_THE_LIMIT[way](rig.assistant)
        await trio.sleep(3)
        goes_on = at_s == LIMIT_S or way == "ended, with the reason"

        assert len(rig.events("assistant.reconnected")) == goes_on
        assert len(rig.calls) == goes_on
        assert rig.dialer.hung_up == []


async def test_a_pause_within_the_assistants_words_is_no_quiet_moment(autojump_clock: MockClock) -> None:
    async with limited_rig() as rig:
        await rig.begin()
        await trio.sleep(WINDOW_S - 1)
        rig.assistant.speech("started")
        rig.assistant.say(numbered(0, 100))
        await trio.sleep(5)
        rig.assistant.say(numbered(100, 50))
        await trio.sleep(0.9)
        rig.assistant.speech("stopped")
        line = await changed(rig)

        assert line["moment"] == "quiet"
        assert trio.current_time() < HURRY_S
        assert whole_and_in_order(rig.phone.heard(), 0, 150)


async def test_an_assistant_that_waits_for_a_function_is_about_to_speak(autojump_clock: MockClock) -> None:
    async with limited_rig() as rig:
        await rig.begin()
        await trio.sleep(WINDOW_S - 1)
        said(rig.assistant, "One moment.", numbered(0, 50))
        rig.assistant.tell(type="tool-calls", toolCallList=[{"function": {"name": "find_order"}}])
        await trio.sleep(4.5)
        rig.assistant.speech("started")
        rig.assistant.say(numbered(50, 50))
        await trio.sleep(1)
        rig.assistant.speech("stopped")
        await changed(rig)

        assert whole_and_in_order(rig.phone.heard(), 0, 100)


@pytest.mark.parametrize("answer_after_s", [0.0, 1.4])
async def test_an_old_call_that_is_lost_leaves_the_conversation_to_the_next_which_is_there(
    answer_after_s: float, autojump_clock: MockClock
) -> None:
    """Nobody is dialled for that: the next call stands by, or is on its way."""
    async with limited_rig() as rig:
        await rig.begin()
        said(rig.assistant, "Hello", numbered(0, 50))
        await trio.sleep(WINDOW_S - 1)
        rig.dialer.answer_after_s = answer_after_s
        rig.phone.say(sentence(1, 200))
        await trio.sleep(2.0)
        rig.dialer.peers[0].lose()
        following = await assistant_number(rig, 1)
        await trio.sleep(8)
        line = rig.event("assistant.reconnected")

        assert len(rig.dialer.asked) == 2
        assert line["gap_ms"] < (50 if not answer_after_s else 1600)
        assert (line["replaces"], line["assistant_call_id"], line["dropped_ms"]) == ("vapi-0", "vapi-1", 0)
        assert sentence(1, 200) in following.heard
        assert context(following)[0] == ("assistant", "Hello", False)
        assert rig.events("assistant.changed") == []
        assert rig.dialer.hung_up == ["vapi-0"]


async def test_a_next_call_that_is_lost_while_it_stands_by_is_replaced_and_nobody_notices(
    autojump_clock: MockClock,
) -> None:
    async with limited_rig() as rig:
        await rig.begin()
        said(rig.assistant, "Hello", numbered(0, 50))
        rig.nursery.start_soon(_lose_when_there, rig, 1)
        await trio.sleep(WINDOW_S - 1)
        rig.phone.say(sentence(1, 150))
        line = await changed(rig)

        assert (line["replaces"], line["assistant_call_id"]) == ("vapi-0", "vapi-2")
        assert rig.events("assistant.reconnected") == []
        assert rig.dialer.asked == [(True, None), (False, "vapi-0"), (False, "vapi-0")]
        assert rig.dialer.hung_up == ["vapi-1"]


async def _lose_when_there(rig: Rig, number: int) -> None:
    await assistant_number(rig, number)
    await trio.sleep(0.5)
    rig.dialer.peers[number].lose()


async def test_an_assistant_that_hangs_up_while_the_next_call_stands_by_has_ended_the_call(
    autojump_clock: MockClock,
) -> None:
    async with limited_rig() as rig:
        await rig.begin()
        rig.phone.say(sentence(1, 1000))
        following = await assistant_number(rig, 1)
        await trio.sleep(1)
        rig.assistant.tell(type="status-update", status="ended", endedReason="assistant-ended-call")
        await rig.ended("assistant_ended")

        assert following.told[-1] == {"type": "end-call"}


async def test_an_old_call_that_takes_no_goodbye_is_hung_up(autojump_clock: MockClock) -> None:
    async with limited_rig() as rig:
        await rig.begin()
        said(rig.assistant, "Hello", numbered(0, 50))
        await trio.sleep(WINDOW_S)
        rig.dialer.sockets[0].frozen = True
        await changed(rig)
        await trio.sleep(2)

        assert rig.dialer.hung_up == ["vapi-0"]
        assert rig.events("assistant.lost") == []


async def test_a_provider_without_a_limit_is_never_left(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        await rig.begin()
        await trio.sleep(40)

        assert len(rig.dialer.asked) == 1


async def test_the_caller_hangs_up_while_the_next_call_stands_by(autojump_clock: MockClock) -> None:
    async with limited_rig() as rig:
        await rig.begin()
        rig.phone.say(sentence(1, 1000))
        following = await assistant_number(rig, 1)
        await trio.sleep(1)
        rig.phone.stop()
        await rig.ended("caller_hangup")

        assert rig.assistant.told[-1] == following.told[-1] == {"type": "end-call"}
        assert rig.dialer.hung_up == []
