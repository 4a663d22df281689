"""Whole calls on the virtual clock whose sockets are cut at random, seeded moments, and what came of them.

The caller's sentences are made of frames that each occur once, so that every frame which reached an assistant can be
named. The assistant understands as hosted ones do: a final transcript follows 600 ms of quiet, and often an answer.
"""

import gc
import os
import random
import sys
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import trio

from relay.call.assistant import forwarder
from relay.media import g711
from relay.media.frames import FRAME_MS
from tests.support.callrig import Assistant, Phone, Rig

FRAME_BYTES = 160
ENDPOINT_FRAMES = 600 // FRAME_MS
_DATA = {bytes, bytearray, str, list, tuple, dict, set, frozenset, deque, Counter, np.ndarray}
ANSWER_FRAME = g711.encode((7000 * np.sin(np.arange(160) * 2 * np.pi * 1000 / 8000)).astype(np.int16))
Name = tuple[int, int]
"""Which sentence, and which frame of it."""


def cuts_wanted(default: int) -> int:
    """$ENDURANCE_CUTS, or so many."""
    return int(os.environ.get("ENDURANCE_CUTS") or default)


def median_and_p95(values: list[float]) -> tuple[float, float]:
    ordered = sorted(values)
    return ordered[len(ordered) // 2], ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))]


@cache
def sentence(number: int, frames: int) -> bytes:
    """Loud noise, speech for `LoudnessModel`: no two frames of any two sentences are alike."""
    noise = np.random.default_rng(number).normal(0, 6000, frames * FRAME_BYTES)
    return g711.encode(np.clip(noise, -32000, 32000).astype(np.int16))


@dataclass
class Said:
    """The caller's sentences, each with its frames by name."""

    lengths: list[int] = field(default_factory=list)
    names: dict[bytes, Name] = field(default_factory=dict)

    def new(self, frames: int) -> bytes:
        number = len(self.lengths)
        audio = sentence(number, frames)
        self.lengths.append(frames)
        for i in range(frames):
            frame = audio[i * FRAME_BYTES : (i + 1) * FRAME_BYTES]
            assert self.names.setdefault(frame, (number, i)) == (number, i)
        return audio

    def whole(self, number: int) -> list[Name]:
        return [(number, i) for i in range(self.lengths[number])]


@dataclass
class Ear:
    """One connection of the assistant: what it received and when, and which sentences it has understood."""

    assistant: Assistant
    said: Said
    dice: random.Random
    answers: bool = True
    began_at: float = field(default_factory=trio.current_time)
    first_audio_at: float | None = None
    received: int = 0
    frames: list[Name] = field(default_factory=list)
    understood: list[int] = field(default_factory=list)
    _open: list[int] = field(default_factory=list)
    _quiet: int = 0

    async def listen(self) -> None:
        with suppress(trio.EndOfChannel):
            while True:
                message = await self.assistant.peer.receive()
                if isinstance(message, bytes):
                    self._hear(message)

    def _hear(self, message: bytes) -> None:
        self.first_audio_at = self.first_audio_at or trio.current_time()
        assert len(message) % FRAME_BYTES == 0
        for at in range(0, len(message), FRAME_BYTES):
            self._frame(message[at : at + FRAME_BYTES])

    def _frame(self, frame: bytes) -> None:
        self.received += 1
        name = self.said.names.get(frame)
        if name is not None:
            self.frames.append(name)
            self._quiet = 0
            if name[0] not in self._open:
                self._open.append(name[0])
            return
        self._quiet += 1
        if self._quiet == ENDPOINT_FRAMES and self._open and not self.assistant.peer.gone:
            self._understand()

    def _understand(self) -> None:
        self.understood += self._open
        self.assistant.transcript(" ".join(f"sentence {number}" for number in self._open), kind="final")
        self._open = []
        if self.answers and self.dice.random() < 0.7:
            self.assistant.speech("started")
            self.assistant.transcript("an answer", role="assistant", kind="final")
            self.assistant.say(ANSWER_FRAME * self.dice.randrange(30, 200))


@dataclass
class Trial:
    """One call: `ears` are the assistant's connections in order, `cuts` the moments when the last one was cut."""

    rig: Rig
    dice: random.Random
    answers: bool = True
    said: Said = field(default_factory=Said)
    ears: list[Ear] = field(default_factory=list)
    cuts: list[float] = field(default_factory=list)

    async def begin(self) -> None:
        self.rig.nursery.start_soon(self._meet)
        self.rig.call = self.rig.ring()
        while not self.ears:  # noqa: ASYNC110 - a rig for tests
            await trio.sleep(0.005)
        await self.attach()

    async def attach(self) -> Phone:
        """The next socket of the caller, who speaks on it for as long as it stands."""
        self.rig.phone = phone = await self.rig.attach(self.rig.call, speaking=False)
        self.rig.nursery.start_soon(_until, phone.hung_up.wait, phone.speak)
        return phone

    async def _meet(self) -> None:
        dialer = self.rig.dialer
        while True:
            await dialer.connected.wait()
            dialer.connected = trio.Event()
            assistant = Assistant(dialer.peers[-1], dialer.format)
            self.rig.assistant = assistant
            ear = Ear(assistant, self.said, self.dice, self.answers)
            self.ears.append(ear)
            self.rig.nursery.start_soon(_until, ear.listen, assistant.speak)

    def cut(self) -> None:
        """The assistant's socket is lost now, if there is one."""
        if self.rig.dialer.peers[-1].gone:
            return
        self.cuts.append(trio.current_time())
        self.rig.dialer.peers[-1].lose()

    async def talk(self, sentences: int) -> None:
        """The caller speaks, pauses, speaks."""
        for _ in range(sentences):
            frames = self.dice.randrange(25, 110)
            self.rig.phone.say(self.said.new(frames))
            await trio.sleep(frames * FRAME_MS / 1000 + self.dice.uniform(0.7, 2.5))

    def problems(self) -> list[str]:
        """Where a segment of speech was not had exactly once, by the connection that had to have it."""
        found = [f"an ear confused {ear.frames[:3]}" for ear in self.ears if not _in_order(ear.frames)]
        last = len(self.ears) - 1
        for number in range(len(self.said.lengths)):
            owner = next((i for i, ear in enumerate(self.ears) if number in ear.understood), last)
            heard = [name for name in self.ears[owner].frames if name[0] == number]
            if heard != self.said.whole(number):
                found.append(f"sentence {number}: {len(heard)} of {self.said.lengths[number]} frames at {owner}")
            again = [i for i in range(owner + 1, len(self.ears)) if any(n == number for n, _ in self.ears[i].frames)]
            if again:
                found.append(f"sentence {number}: understood at {owner}, again at {again}")
        return found

    def first_byte_ms(self) -> list[float]:
        """From each cut to the first of the caller's audio at the next connection."""
        times = []
        for cut_at in self.cuts:
            after = [e.first_audio_at for e in self.ears if e.began_at >= cut_at and e.first_audio_at is not None]
            if after:
                times.append((min(after) - cut_at) * 1000)
        return times


def _in_order(frames: list[Name]) -> bool:
    return all(a < b for a, b in pairwise(frames)) and max(Counter(frames).values(), default=1) == 1


async def _until(end: Callable[[], Awaitable[object]], work: Callable[[], Awaitable[None]]) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(work)
        await end()
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def seeded_backoff(seed: int) -> AsyncIterator[None]:
    """The waits between attempts are those of this seed."""
    dice: Callable[..., Any] = lambda *_: random.Random(seed)  # noqa: E731
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(forwarder, "Random", dice)
        yield


def held_bytes(root: object) -> int:
    """What an object of the relay holds, with all the relay's objects and containers that it leads to."""
    seen: set[int] = set()
    waiting, total = [root], 0
    while waiting:
        each = waiting.pop()
        if id(each) in seen or not _is_data(each):
            continue
        seen.add(id(each))
        total += sys.getsizeof(each)
        waiting += gc.get_referents(each)
    return total


def _is_data(each: object) -> bool:
    kind = type(each)
    return kind in _DATA or (kind.__module__.startswith("relay.") and not issubclass(kind, type))
