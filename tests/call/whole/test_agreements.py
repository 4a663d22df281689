"""Whole calls with an "uh-huh": the assistant is soon back, loses nothing, and stops at once if it was no "uh-huh".

Run with `-s` to see how long the caller heard nothing.
"""

import json
import sys
from collections import Counter
from itertools import pairwise
from typing import Any, Literal

import pytest
import trio
from trio.testing import MockClock

from relay.call.browser.sessions import BrowserSessions, open_browser_sessions
from relay.config import BargeInConfig
from relay.media.frames import TELEPHONE
from relay.refusals import Refusals
from relay.standin import phrases
from relay.wire.browser import ClientStart
from relay.wire.browser_down import AssistantAudio, Text
from tests.call.whole.test_false_alarms import BEFORE_S, PHASES, DeployedModel, held_ms, shifted
from tests.support.browserrig import FRAME
from tests.support.callrig import TONE, Rig, config, open_rig
from tests.support.numbered import PAIRS, heard_frames, heard_pairs, numbered

SENTENCE = 200
NEW = 2000
"""The first frame of a turn that follows."""
UH_HUH = phrases.spoken("agreement", TELEPHONE).rstrip(b"\xff\x7f")
SHORT = TONE * 18
"""Speech of the same length to the simple model of the rig."""
BACK_S = 0.7
"""The promise, from the end of the "uh-huh"."""
BACK_FRAMES = 400 // 20
WORDS_AFTER_S = 0.6
"""When the assistant transcribes what the caller says, after its beginning."""

Says = Literal["its words", "nothing, though it transcribes", "nothing"]


async def say_uh_huh(
    rig: Rig,
    says: Says = "its words",
    sound: bytes = SHORT,
    *,
    phase: int = 0,
    words: str = "Uh-huh.",
    sentence: int = SENTENCE,
) -> float:
    """The caller says it in the middle of a sentence. Returns when its end was sent, as soon as the assistant knows."""
    await rig.begin()
    if says == "nothing, though it transcribes":
        rig.phone.say(phrases.spoken("request", TELEPHONE))
        await trio.sleep(WORDS_AFTER_S)
        rig.assistant.transcript("tell me")
        await trio.sleep(3)
        rig.assistant.transcript("Tell me about the telephone.", kind="final")
    rig.assistant.say(numbered(0, sentence))
    return await again(rig, says, sound, phase=phase, words=words)


async def again(
    rig: Rig, says: Says = "its words", sound: bytes = SHORT, *, phase: int = 0, words: str = "Uh-huh."
) -> float:
    await trio.sleep(BEFORE_S)
    began_at = trio.current_time()
    rig.phone.say(shifted(sound, phase))
    await trio.sleep(WORDS_AFTER_S)
    if says == "its words":
        rig.assistant.transcript(words)
    return began_at + 0.01 + phase * 0.008 + len(sound) / 8000


def clear_at(rig: Rig, number: int = 0) -> float:
    return rig.phone.player.clears[number].at_s


def back_at(rig: Rig, number: int = 0) -> float:
    """When sound was sent again after this `clear`."""
    sent = (line.at_s for line in rig.phone.player.log if line.kind == "media" and line.at_s > clear_at(rig, number))
    return next(sent)


def nothing_is_lost(rig: Rig, frames: int = SENTENCE) -> bool:
    """Every byte was heard, in order, but for what plays again where it was cut."""
    pairs = heard_pairs(rig.phone.heard())
    cuts = len(rig.phone.player.clears)
    back = [then - now for then, now in pairwise(pairs) if now < then]
    complete = set(range(frames)) == {n for n, count in Counter(pairs).items() if count >= PAIRS}
    return complete and len(back) <= cuts and max(back, default=0) <= BACK_FRAMES + 1


def nothing_is_stale(rig: Rig) -> bool:
    return rig.metric("relay_frames_stale_total") == 0 and rig.phone.player.warnings == []


@pytest.mark.parametrize("phase", range(PHASES))
@pytest.mark.parametrize("says", ["its words", "nothing, though it transcribes"])
async def test_after_an_uh_huh_the_assistant_is_back_in_time_and_nothing_is_lost(
    says: Says, phase: int, autojump_clock: MockClock
) -> None:
    async with open_rig(model=DeployedModel()) as rig:
        ended_at = await say_uh_huh(rig, says, UH_HUH, phase=phase)
        await trio.sleep(6)
        sys.stdout.write(
            f"\n{says}, phase {phase}: back {back_at(rig) - ended_at:.3f} s after its end, {held_ms(rig)} ms"
        )

        assert 0 < back_at(rig) - ended_at <= BACK_S
        assert nothing_is_lost(rig)
        assert nothing_is_stale(rig)
        assert rig.event("bargein.false")["by"] == "agreement"
        assert rig.call.summary()["interruptions_false"] == 1


@pytest.mark.parametrize("words_after_s", [0.55, 0.65, 0.75, 0.84, 0.9])
async def test_the_assistant_is_back_in_time_whenever_its_words_come(
    words_after_s: float, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the detector knows of the end, between that and the time it has to wait, and after that."""
    monkeypatch.setattr("tests.call.whole.test_agreements.WORDS_AFTER_S", words_after_s)
    async with open_rig() as rig:
        ended_at = await say_uh_huh(rig)
        await trio.sleep(6)

        assert 0 < back_at(rig) - ended_at <= BACK_S
        assert nothing_is_lost(rig)


async def test_where_the_assistant_says_nothing_at_all_a_pause_is_better_than_talking_over_a_stop(
    autojump_clock: MockClock,
) -> None:
    """Then only the setting brings it back in time."""
    for agreement, least_s, most_s in (("words", 1.5, 2.0), ("silence", 0.0, BACK_S)):
        async with open_rig(barge_in=BargeInConfig(agreement=agreement)) as rig:  # type: ignore[arg-type]
            ended_at = await say_uh_huh(rig, "nothing")
            await trio.sleep(6)

            assert least_s < back_at(rig) - ended_at <= most_s
            assert nothing_is_lost(rig)


@pytest.mark.parametrize("phase", range(PHASES))
async def test_an_assistant_that_never_transcribes_is_back_in_time_once_it_has_shown_how_soon_it_stops(
    phase: int, autojump_clock: MockClock
) -> None:
    async with open_rig(model=DeployedModel()) as rig:
        await rig.begin()
        await stop_it(rig, after_s=0.6)
        rig.assistant.say(numbered(NEW, NEW + SENTENCE))
        ended_at = await again(rig, "nothing", UH_HUH, phase=phase)
        await trio.sleep(6)
        sys.stdout.write(
            f"\nnothing, once stopped, phase {phase}: back {back_at(rig, 1) - ended_at:.3f} s after its end"
        )

        assert 0 < back_at(rig, 1) - ended_at <= BACK_S
        assert rig.event("bargein.false")["by"] == "agreement"
        assert nothing_is_stale(rig)


async def test_an_assistant_that_never_transcribes_and_stops_as_soon_as_before_says_nothing_after_a_stop(
    autojump_clock: MockClock,
) -> None:
    async with open_rig() as rig:
        await rig.begin()
        await stop_it(rig, after_s=0.6)
        rig.assistant.say(numbered(NEW, NEW + SENTENCE))
        await again(rig, "nothing")
        await trio.sleep(0.3)  # WORDS_AFTER_S, and this: half again as late as before
        rig.assistant.interrupted()
        rig.assistant.stop()
        await trio.sleep(4)

        assert heard_frames(rig.phone.heard_after_clear(1)) == []
        assert rig.events("bargein.false") == []
        assert nothing_is_stale(rig)


async def stop_it(rig: Rig, *, after_s: float) -> None:
    """The caller interrupts a turn, and the assistant says so."""
    rig.assistant.say(numbered(0, SENTENCE))
    await trio.sleep(BEFORE_S)
    rig.phone.say(phrases.spoken("request", TELEPHONE))
    await trio.sleep(after_s)
    rig.assistant.interrupted()
    rig.assistant.stop()
    await trio.sleep(4)


@pytest.mark.parametrize(
    ("words", "agrees_s"),
    [
        ("Stop.", 0.05),
        ("Stop.", 1.0),
        ("No.", 0.4),
        ("Wait.", 0.4),
        ("Seven.", 0.4),
        ("Anna.", 0.4),
        ("Okay, but", 0.4),
    ],
)
async def test_after_a_word_that_is_no_agreement_the_assistant_is_silent_and_stays_so(
    words: str, agrees_s: float, autojump_clock: MockClock
) -> None:
    """It is as short as an uh-huh, and the assistant takes its time to stop."""
    async with open_rig() as rig:
        await say_uh_huh(rig, words=words)
        await trio.sleep(agrees_s)
        rig.assistant.interrupted()
        await trio.sleep(0.3)
        rig.assistant.stop()
        await trio.sleep(5)

        assert heard_frames(rig.phone.heard_after_clear()) == []
        assert rig.event("bargein.settled")
        assert nothing_is_stale(rig)


@pytest.mark.parametrize("after_s", [-0.3, -0.05, 0.0, 0.02, 0.1, 0.4, 0.8, 1.1])
@pytest.mark.parametrize("says", ["user-interrupted", "a new turn", "both", "other words"])
async def test_whenever_the_assistant_says_otherwise_what_was_brought_back_stops_at_once(
    says: str, after_s: float, autojump_clock: MockClock
) -> None:
    """Before, at and after the moment of the return; nothing of the old turn is heard from then on."""
    async with open_rig() as rig:
        ended_at = await say_uh_huh(rig)
        await trio.sleep_until(ended_at + 0.57 + after_s)
        if says in {"user-interrupted", "both"}:
            rig.assistant.interrupted()
        if says == "other words":
            rig.assistant.transcript("uh-huh stop")
            await trio.sleep(0.5)
            rig.assistant.interrupted()
        await trio.sleep(0.1)
        if says != "user-interrupted":
            rig.assistant.stop()
            rig.assistant.speech("started", turn=7)
            rig.assistant.say(numbered(NEW, 50))
        await trio.sleep(0.01)
        heard_by_then = len(rig.phone.heard())
        if says == "user-interrupted":
            await trio.sleep(0.5)
            rig.assistant.stop()
        await trio.sleep(2)
        later = heard_pairs(rig.phone.heard()[heard_by_then:])

        assert all(number >= NEW for number in later)
        if says != "user-interrupted":
            assert [number for number, pairs in heard_frames(rig.phone.heard()) if number >= NEW] == [
                *range(NEW, NEW + 50)
            ]
        assert nothing_is_stale(rig)
        assert rig.events("bargein.settled")


@pytest.mark.parametrize("gap_s", [0.3, 0.6, 1.2])
async def test_two_in_a_row_cost_no_more_than_the_last_of_them(gap_s: float, autojump_clock: MockClock) -> None:
    """Close together they are one; further apart the assistant is back in between."""
    async with open_rig() as rig:
        await say_uh_huh(rig)
        await trio.sleep(max(0.0, gap_s - BEFORE_S))
        ended_at = await again(rig)
        await trio.sleep(6)

        assert 0 < back_at(rig, len(rig.phone.player.clears) - 1) - ended_at <= BACK_S
        assert nothing_is_lost(rig)
        assert nothing_is_stale(rig)


async def test_of_the_end_of_a_sentence_nothing_is_lost(autojump_clock: MockClock) -> None:
    """The assistant falls silent while it is held, and says that it stopped."""
    sentence = round((BEFORE_S + 0.4) / 0.02)
    async with open_rig() as rig:
        ended_at = await say_uh_huh(rig, sentence=sentence)
        rig.assistant.speech("stopped", turn=0)
        await trio.sleep(6)

        assert 0 < back_at(rig) - ended_at <= BACK_S
        assert nothing_is_lost(rig, sentence)
        assert nothing_is_stale(rig)


async def test_at_the_end_of_a_question_the_answer_is_no_agreement_to_the_assistant(
    autojump_clock: MockClock,
) -> None:
    """The assistant answers the "yes" with its next turn, before the old one could come back: only that is heard."""
    async with open_rig() as rig:
        await say_uh_huh(rig, words="Yes.", sentence=round((BEFORE_S + 0.3) / 0.02))
        rig.assistant.speech("stopped", turn=0)
        await trio.sleep(0.1)
        rig.assistant.speech("started", turn=1)
        rig.assistant.say(numbered(NEW, 50))
        await trio.sleep(4)

        assert [number for number, _ in heard_frames(rig.phone.heard_after_clear())] == [*range(NEW, NEW + 50)]
        assert nothing_is_stale(rig)


@pytest.mark.parametrize("policy", ["both", "assistant"])
async def test_where_the_assistant_decides_an_uh_huh_costs_a_pause_at_most(
    policy: Literal["both", "assistant"], autojump_clock: MockClock
) -> None:
    async with open_rig(barge_in=BargeInConfig(policy=policy)) as rig:
        await say_uh_huh(rig)
        await trio.sleep(6)
        heard = rig.phone.heard()
        paused_ms = [line["paused_ms"] for line in rig.events("bargein.resumed")]

        assert rig.phone.player.clears == []
        assert heard_pairs(heard) == [n for n in range(SENTENCE) for _ in range(80)]
        assert len(paused_ms) == (policy == "both")
        assert sum(paused_ms) / 1000 <= len(SHORT) / 8000 + BACK_S


async def test_an_agreement_in_the_callers_own_language(autojump_clock: MockClock) -> None:
    async with open_rig(barge_in=BargeInConfig(agreement_words=("genau", "ja"))) as rig:
        ended_at = await say_uh_huh(rig, words="Ja, genau.")
        await trio.sleep(6)

        assert 0 < back_at(rig) - ended_at <= BACK_S


async def test_speech_that_goes_on_is_no_agreement_however_it_begins(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        await rig.begin()
        rig.assistant.say(numbered(0, 500))
        await trio.sleep(2)
        rig.phone.say(TONE * 60)
        await trio.sleep(WORDS_AFTER_S)
        rig.assistant.transcript("okay")
        await trio.sleep(1.2)
        rig.assistant.stop()
        await trio.sleep(4)

        assert heard_frames(rig.phone.heard_after_clear()) == []


async def in_a_browser(rig: Rig, sessions: BrowserSessions, *, then: Literal["talks on", "was interrupted"]) -> None:
    """As on the telephone: the page is told to drop the turn, gets it again as another, and drops that as well."""
    session = sessions.begin(ClientStart(), "a")
    assistant = await rig.meet_assistant()
    got: list[tuple[float, dict[str, Any] | AssistantAudio]] = []

    async def listen() -> None:
        cursor = 0
        while True:
            await session.leg.outbox.wait_after(cursor, trio.Event())
            messages, _ = session.leg.outbox.read(cursor, 100)
            cursor = messages[-1][0]
            got.extend((trio.current_time(), json.loads(m.body) if isinstance(m, Text) else m) for _, m in messages)

    with session.attached("websocket"):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            await trio.sleep(1)
            assistant.say(TONE * SENTENCE)
            await trio.sleep(1)
            session.spoken.add(FRAME * 18 + bytes(len(FRAME)) * 150)
            ended_at = trio.current_time() + 18 * 0.02
            await trio.sleep(WORDS_AFTER_S)
            assistant.transcript("Uh-huh.")
            await trio.sleep(0.6)
            if then == "was interrupted":
                assistant.interrupted()
            await trio.sleep(2)
            nursery.cancel_scope.cancel()

    order = [(m["type"], m["turn"]) for _, m in got if isinstance(m, dict) and m["type"] in {"interrupt", "resumed"}]
    dropped = [1, 2] if then == "was interrupted" else [1]
    assert order == [("interrupt", 1), ("resumed", 1), ("interrupt", 2)][: len(dropped) + 1]
    resumed_at = next(at for at, m in got if isinstance(m, dict) and m["type"] == "resumed")
    assert resumed_at - ended_at <= BACK_S
    seen: set[int] = set()
    for _, message in got:
        if isinstance(message, AssistantAudio):
            assert message.turn not in seen, "nothing stale"
        elif message["type"] == "interrupt":
            seen.add(message["turn"])
    last_at = max(at for at, m in got if isinstance(m, AssistantAudio) and m.turn == 2)
    assert (last_at > ended_at + 2) is (then == "talks on")


@pytest.mark.parametrize("then", ["talks on", "was interrupted"])
async def test_a_browser_is_told_that_the_turn_goes_on_and_when_it_does_not(
    then: Literal["talks on", "was interrupted"], autojump_clock: MockClock
) -> None:
    async with (
        open_rig() as rig,
        open_browser_sessions(config(), rig.calls, Refusals(rig.metrics)) as sessions,
    ):
        await in_a_browser(rig, sessions, then=then)
        assert rig.metric("relay_frames_stale_total") == 0
