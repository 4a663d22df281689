"""Asks how audio behaves at Vapi: its pace, interruptions, speech that comes too fast, what is sent in silence."""

import math
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

import trio

from relay.config import BargeInConfig
from relay.net.client_socket import MESSAGE_MAX_BYTES
from relay.probe.finding import Answer, Value
from relay.probe.vapi_account import VapiAccount
from relay.probe.vapi_line import SoundMessage, VapiLine
from relay.standin.phrases import phrase, spoken
from relay.wire import vapi

PACE_CALL_S = 20
PACE_LISTEN_S = 10.0
PACE_MESSAGE = "Hello. This is a test of the line."
AHEAD_MS = 1000.0
"""A stream that gets so far ahead of real time comes in bursts."""
BURST_QUEUE_MS = 120_000
"""Room for a long turn that comes at once."""
INTERRUPT_CALL_S = 30
NOTICED_WITHIN_S = 5.0
OLD_AUDIO_WATCH_S = 4.0
QUIET_S = 1.0
FAST_CALL_S = 30
FAST_SPEED = 2.0
UNDERSTOOD = 0.75
"""The share of the phrase's words that must be in the transcript."""
STILL_CALL_S = 20
STILL_LISTEN_S = 5.0
UPDATES = "conversation-update"
_FIRST_SOUND_S = 8.0
_RUN_GAP_S = 0.5


async def pace(account: VapiAccount) -> Answer:
    """How evenly audio comes, whether it comes ahead of real time, and whether silence is sent."""
    overrides = {"firstMessage": PACE_MESSAGE}
    async with (
        account.call(PACE_CALL_S, overrides=overrides, waits=False) as created,
        account.talk(created) as line,
    ):
        if not await line.wait_for(lambda: any(it.audible for it in line.audio), _FIRST_SOUND_S):
            return Answer(found="not measured: the assistant did not speak", note="give it a voice", failed=True)
        await line.wait_for(line.closed.is_set, PACE_LISTEN_S)
        end_s = trio.current_time()
    runs = list(runs_of(line.audio))
    ahead_ms, late_ms = max(map(ahead_of, runs)), max(0.0, *map(lateness_of, runs))
    keys: dict[str, Value] = {}
    jitter = account.config.jitter
    if ahead_ms > AHEAD_MS:
        found = f"up to {ahead_ms:.0f} ms ahead of real time"
        if jitter.max_queue_ms < BURST_QUEUE_MS:
            keys["jitter.max_queue_ms"] = BURST_QUEUE_MS
    else:
        found = f"in real time, 99 % of it at most {late_ms:.0f} ms late"
    if late_ms > jitter.target_ms:
        keys["jitter.target_ms"] = min(2000, math.ceil(late_ms / 20) * 20)
    last_sound_s = max(it.at_s for it in line.audio if it.audible)
    quiet_ms = sum(it.ms for it in line.audio if it.at_s > last_sound_s)
    found += "; silence is sent" if quiet_ms > (end_s - last_sound_s) * 500 else "; nothing is sent in pauses"
    return Answer(found=found, keys=keys, note=f"none: jitter.target_ms = {jitter.target_ms} covers it")


def runs_of(audio: Sequence[SoundMessage]) -> Iterator[list[SoundMessage]]:
    """The audio, parted where nothing came for over half a second."""
    run: list[SoundMessage] = []
    for before, heard in pairwise([None, *audio]):
        if heard is None:
            continue
        if before is not None and heard.at_s - before.at_s > _RUN_GAP_S:
            yield run
            run = []
        run.append(heard)
    if run:
        yield run


def ahead_of(run: Sequence[SoundMessage]) -> float:
    """How many milliseconds of audio were there before their time, at most."""
    sent_ms = most_ms = 0.0
    for heard in run:
        sent_ms += heard.ms
        most_ms = max(most_ms, sent_ms - heard.ms - (heard.at_s - run[0].at_s) * 1000)
    return most_ms


def lateness_of(run: Sequence[SoundMessage]) -> float:
    """How many milliseconds of buffer, behind the first message, play 99 % of the messages without a hole."""
    sent_ms, late_ms = 0.0, []
    for heard in run:
        late_ms.append((heard.at_s - run[0].at_s) * 1000 - sent_ms)
        sent_ms += heard.ms
    return sorted(late_ms)[math.ceil(len(late_ms) * 0.99) - 1]


async def interruption(account: VapiAccount) -> Answer:
    """How long audio of the old turn still comes after Vapi has noticed an interruption."""
    overrides = {"firstMessage": phrase("description").text, "clientMessages": [*vapi.CLIENT_MESSAGES, UPDATES]}
    async with (
        account.call(INTERRUPT_CALL_S, overrides=overrides, waits=False) as created,
        account.talk(created) as line,
    ):
        if not await line.wait_for(lambda: any(it.audible for it in line.audio), _FIRST_SOUND_S):
            return Answer(found="not measured: the assistant did not speak", note="give it a voice", failed=True)
        await trio.sleep(1)
        spoke_s = trio.current_time()
        line.say(spoken("stop", line.format))
        noticed = await line.wait_for(lambda: line.told(vapi.UserInterrupted, spoke_s), NOTICED_WITHIN_S)
        since_s = _first_interrupted_s(line, spoke_s) if noticed else spoke_s
        await _wait_quiet(line, since_s)
        old_ms = old_audio_ms(line, since_s)
    barge_in = account.config.barge_in
    if not noticed and old_ms > (OLD_AUDIO_WATCH_S - QUIET_S) * 1000:
        note = 'let the assistant be interrupted (stopSpeakingPlan); barge_in.policy = "local" cuts it all the same'
        return Answer(found="it does not let itself be interrupted", note=note)
    found = (
        f"user-interrupted {(since_s - spoke_s) * 1000:.0f} ms after the first word, old audio for {old_ms:.0f} ms more"
        if noticed
        else f"no user-interrupted; silent {old_ms:.0f} ms after the first word"
    )
    keys = old_turn_keys(old_ms, barge_in) if noticed else {}
    return Answer(found=found, keys=keys, note=f"none: barge_in.old_turn_ms = {barge_in.old_turn_ms} covers it")


def _first_interrupted_s(line: VapiLine, since_s: float) -> float:
    return next(at_s for at_s, event in line.events if at_s >= since_s and isinstance(event, vapi.UserInterrupted))


async def _wait_quiet(line: VapiLine, since_s: float) -> None:
    """Wait until a second passed without sound, or the next turn began, or the watch is over."""

    def over() -> bool:
        sounds = [it.at_s for it in line.audio if it.audible and it.at_s > since_s]
        return _next_turn_s(line, since_s) < math.inf or trio.current_time() - max(sounds, default=since_s) > QUIET_S

    until_s = since_s + OLD_AUDIO_WATCH_S
    while trio.current_time() < until_s and not line.closed.is_set() and not over():  # noqa: ASYNC110 - time decides
        await trio.sleep(0.1)


def _next_turn_s(line: VapiLine, since_s: float) -> float:
    starts = [
        at_s
        for at_s, event in line.events
        if at_s > since_s
        and isinstance(event, vapi.SpeechUpdate)
        and (event.role, event.status) == ("assistant", "started")
    ]
    return min(starts, default=math.inf)


def old_audio_ms(line: VapiLine, since_s: float) -> float:
    """Until when sound came after that moment, if no new turn had begun."""
    until_s = _next_turn_s(line, since_s)
    sounds = [it.at_s for it in line.audio if it.audible and since_s < it.at_s < until_s]
    return (max(sounds, default=since_s) - since_s) * 1000


def old_turn_keys(old_ms: float, barge_in: BargeInConfig) -> dict[str, Value]:
    """The keys that give the old turn the time it takes; none where it has that already."""
    if old_ms <= barge_in.old_turn_ms:
        return {}
    old_turn_ms = min(4700, math.ceil(old_ms / 100 + 1) * 100)
    return {
        "barge_in.old_turn_ms": old_turn_ms,
        "barge_in.false_alarm_ms": max(barge_in.false_alarm_ms, old_turn_ms + 300),
    }


async def fast_speech(account: VapiAccount) -> Answer:
    """Whether speech that comes twice as fast as it sounds is understood."""
    said = phrase("request").text
    async with account.call(FAST_CALL_S) as created, account.talk(created) as line:
        await line.wait_begun()
        line.say(spoken("request", line.format), FAST_SPEED)
        await line.wait_for(lambda: _heard_words(line), 10)
        await line.wait_for(line.closed.is_set, 2)  # it may come as two sentences
        if line.closed.is_set():
            found, understood = line.how_closed, False
        elif not (words := _heard_words(line)):
            found, understood = "not heard", False
        else:
            share = words_understood(said, words)
            found, understood = f"{share:.0%} of the words were understood", share >= UNDERSTOOD
    return Answer(found=found, keys={"reconnect.replay_speed": FAST_SPEED if understood else 1.0})


def _heard_words(line: VapiLine) -> str:
    told = (event for _, event in line.events if isinstance(event, vapi.Transcript))
    return " ".join(event.text for event in told if event.role == "user" and event.final)


def words_understood(said: str, heard: str) -> float:
    """The share of the words said that were heard, whatever their order."""
    words = re.findall(r"\w+", said.lower())
    heard_words = set(re.findall(r"\w+", heard.lower()))
    return sum(word in heard_words for word in words) / len(words)


async def stillness(account: VapiAccount) -> Answer:
    """What is sent while nobody speaks, if the order says nothing of a background sound."""
    async with account.call(STILL_CALL_S, without=("backgroundSound",)) as created, account.talk(created) as line:
        await line.wait_begun()
        since = len(line.audio)
        await line.wait_for(line.closed.is_set, STILL_LISTEN_S)
        levels = [it.dbfs for it in line.audio[since:]]
    if not levels:
        found = "nothing is sent"
    elif max(levels) > -60:
        found = f"a background sound of up to {max(levels):.0f} dBFS"
    else:
        found = "off: silence is sent"
    return Answer(found=found, note="none: the relay orders it off")


async def largest_text(account: VapiAccount) -> Answer:
    """The longest text message of the calls before. It places no call of its own."""
    seen = account.seen
    if not seen.texts:
        return Answer(found="not measured: no text message came", note="ask again", failed=True)
    return Answer(
        found=f"{seen.largest_text_bytes} bytes in calls of half a minute; 30 minutes would cost too much",
        note=f"none: the relay does not order {UPDATES}, and takes {MESSAGE_MAX_BYTES // 2**20} MiB",
    )
