"""The caller's socket is reset while the assistant speaks: a real daemon, real sockets, and what Twilio does then.

The simulated Twilio goes on with the next verb, which asks `/twilio/resume`. $ENDURANCE_CUTS says how many cuts
(`make endurance`: 200), three in each call; without it there is one such call.
"""

import math
import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import trio

from relay.media.frames import TELEPHONE
from relay.standin.assistant import Assistant, AssistantCall, Behaviour, open_assistant
from relay.standin.phone import Phone, PhoneOptions, open_phone
from relay.standin.phrases import spoken
from relay.standin.sound import mulaw_to_samples, write_wav
from tests.support.cuts import cuts_wanted, median_and_p95
from tests.support.daemons import AUTH_TOKEN, PUBLIC, VAPI_KEY, Daemon, mulaw_settings, running_daemon
from tests.support.machine import TIMES_S, WORDS_S, Machine
from tests.support.numbered import PAIRS, heard_pairs, heard_twice_ms, numbered

CUTS_PER_CALL = 3
CALLERS = 4
WORDS_FRAMES = 4000
TWICE_MAX_MS = 250.0
BACK_S = 10.0
CALL_S = 120.0


@dataclass
class Results:
    """Of all calls: what was heard twice after each cut, how long each caller was away, and what is wrong."""

    twice_ms: list[float] = field(default_factory=list)
    away_ms: list[float] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    dialing: trio.Lock = field(default_factory=trio.Lock)


async def cut_call(daemon: Daemon, assistant: Assistant, dice: random.Random, results: Results) -> None:
    await results.dialing.acquire()
    known = len(assistant.calls)
    async with open_phone(daemon.url, PhoneOptions(auth_token=AUTH_TOKEN, public_url=PUBLIC)) as phone:
        while len(assistant.calls) == known:  # noqa: ASYNC110 - the stand-in has no event for this
            await trio.sleep(0.01)
        results.dialing.release()
        call = list(assistant.calls.values())[known]
        with trio.fail_after(CALL_S):
            await phone.wait_heard(500)
            for _ in range(CUTS_PER_CALL):
                await trio.sleep(dice.uniform(0.1, 4))
                await cut_once(phone, results)
            await phone.wait_heard(2000)
            judge(phone, results)
            await speak(phone, call, results)


async def cut_once(phone: Phone, results: Results) -> None:
    streams, cut_at = len(phone.streams), trio.current_time()
    phone.drop()
    if not await phone.wait_until(lambda: len(phone.streams) > streams and phone.is_streaming, BACK_S):
        results.problems.append(f"not attached again: {phone.steps}")
    await phone.wait_heard(20, BACK_S)
    results.away_ms.append((trio.current_time() - cut_at) * 1000)


def judge(phone: Phone, results: Results) -> None:
    """Of all streams together: nothing was skipped; of each: one voice, in order."""
    heard = [heard_pairs(bytes(player.heard)) for player in phone.players]
    total = Counter(pair for pairs in heard for pair in pairs)
    skipped = [n for n in range(max(total)) if total[n] < PAIRS]
    results.twice_ms += heard_twice_ms(heard)
    if skipped:
        results.problems.append(f"skipped {skipped[:5]} of {len(skipped)}")
    if any(pairs != sorted(pairs) for pairs in heard):
        results.problems.append("two voices, or out of order")
    results.problems += phone.result().warnings


async def speak(phone: Phone, call: AssistantCall, results: Results) -> None:
    """The same assistant hears the caller, and answers: it begins anew."""
    await phone.say(spoken("question", TELEPHONE))
    while not call.record.sent_messages("transcript"):  # noqa: ASYNC110 - the stand-in has no event for this
        await trio.sleep(0.05)
    await phone.wait_heard(500)
    if call.status == "ended":
        results.problems.append("the assistant's call was not kept")


async def test_a_caller_who_is_cut_off_misses_nothing_and_hears_little_twice(tmp_path: Path) -> None:
    wanted, results = math.ceil(cuts_wanted(CUTS_PER_CALL) / CUTS_PER_CALL), Results()
    voice = tmp_path / "numbered.wav"
    write_wav(voice, 8000, mulaw_to_samples(numbered(0, WORDS_FRAMES)))
    behaviour = Behaviour(
        script="file", audio=voice, first_audio_ms=0, concurrency_limit=1000, answer_interruption=True
    )

    machine = Machine()

    async def call_after_call(number: int) -> None:
        for seed in range(number, wanted, CALLERS):
            await cut_call(daemon, assistant, random.Random(seed), results)

    async with (
        open_assistant(key=VAPI_KEY, behaviour=behaviour, record_s=60) as assistant,
        running_daemon(mulaw_settings(assistant.base_url)) as daemon,
    ):
        async with trio.open_nursery() as watching:
            watching.start_soon(machine.run)
            async with trio.open_nursery() as nursery:
                for number in range(CALLERS):
                    nursery.start_soon(call_after_call, number)
            watching.cancel_scope.cancel()
        calls = len(assistant.calls)
        resumed = daemon.events().count("caller.reattached")
    median, p95 = median_and_p95(results.twice_ms)
    away, away_p95 = median_and_p95(results.away_ms)
    print(
        f"\nreal callers: {len(results.twice_ms)} cuts in {calls} calls; heard twice: median {median:.0f} ms, "
        f"p95 {p95:.0f} ms, at most {max(results.twice_ms):.0f} ms; from cut to the next word: median {away:.0f} ms, "
        f"p95 {away_p95:.0f} ms"
    )
    machine.judge(results.problems, WORDS_S)
    assert calls == wanted, "each call kept its assistant"
    assert resumed == len(results.twice_ms) == wanted * CUTS_PER_CALL
    machine.judge([f"{ms:.0f} ms heard twice" for ms in results.twice_ms if ms > TWICE_MAX_MS], TIMES_S)
