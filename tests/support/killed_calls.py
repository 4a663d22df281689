"""Calls that lose their process at a moment of some kind, and what must be true of them afterwards."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from random import Random
from typing import Literal, get_args

import trio

from relay.media.frames import TELEPHONE
from relay.standin.assistant import Assistant, AssistantCall
from relay.standin.phone import Phone, PhoneEvent, open_phone
from relay.standin.phone.player import AUDIBLE_DBFS, BLOCK_BYTES
from relay.standin.phrases import spoken, texts
from relay.standin.sound import level_dbfs, mulaw_to_samples
from tests.support.places import OPTIONS, Place

Moment = Literal["ringing", "greeting", "quiet", "asking", "listening"]
MOMENTS: tuple[Moment, ...] = get_args(Moment)
GOES_ON_S = 3.0
KNOWN_TOO_LITTLE_MS = 3000.0
"""What was heard is written each second; the rest is for pauses between the words, and for a loaded machine."""
KNOWN_TOO_MUCH_MS = 1000.0
WRITTEN_MS = 1500.0
"""By then all that was heard is in the store, which is a second behind."""
PATIENCE_S = 30.0
CUT_SHORT = "\N{EM DASH}"


@dataclass
class KilledCall:
    """`begun_s` has the times at which each of its streams began; `streams` of them before the kill."""

    phone: Phone
    moment: Moment
    begun_s: list[float]
    greeting_ms: float = 0.0
    streams: int = 0

    async def come_to_it(self, dice: Random) -> None:
        """The moment at which the process is to die."""
        phone = self.phone
        if self.moment == "ringing":
            assert await phone.wait_until(lambda: bool(phone.steps), PATIENCE_S)
            await trio.sleep(dice.uniform(0, 0.02))
        elif self.moment == "greeting":
            await phone.wait_heard(dice.uniform(200, 1500), PATIENCE_S)
        else:
            await phone.wait_heard(1000, PATIENCE_S)
            await phone.wait_quiet(WRITTEN_MS, PATIENCE_S)
            self.greeting_ms = phone.heard_audible_ms
        if self.moment == "asking":
            phone.start_saying(spoken("question", TELEPHONE))
            await trio.sleep(dice.uniform(0.2, 1.5))
        elif self.moment == "listening":
            await phone.say(spoken("request", TELEPHONE))
            await phone.wait_heard(dice.uniform(2000, 6000), PATIENCE_S)

    async def go_on(self, ready_s: float) -> float:
        """Wait for the next stream, then talk; returns how long after `ready_s` it began."""
        phone, known = self.phone, self.streams
        with trio.fail_after(PATIENCE_S):
            assert await phone.wait_until(lambda: len(self.begun_s) > known), f"{self.moment}: {phone.result()}"
        gap_s = max(0.0, self.begun_s[known] - ready_s)
        await trio.sleep(1.5)
        phone.start_saying(spoken("request", TELEPHONE))
        assert await phone.wait_heard(500, PATIENCE_S), f"{self.moment}: {phone.result()}"
        return gap_s

    def check(self, place: Place, assistant: Assistant) -> None:
        """It is one call in every process, and the new assistant knows what the caller heard."""
        sid = self.phone.call_sid
        told = [line for event in ("call.started", "call.taken_over") for line in place.events(event)]
        (call_id,) = {line["call_id"] for line in told if line.get("call_sid") == sid}
        first, *later = of_call(assistant, call_id)
        assert self.phone.end is None
        if self.moment == "ringing":
            return
        assert self.phone.result().warnings == [], self.phone.result()
        (new,) = later
        assert new.order.overrides["metadata"]["replacesCallId"] == first.id
        assert new.conversation is not None
        context = [(message["role"], message["content"]) for message in new.conversation.context]
        assert new.order.speaks_first == (not context), "a second greeting, or none"
        assert context or self.moment == "greeting"
        if context:
            self._check_context(context)

    def _check_context(self, context: list[tuple[str, str]]) -> None:
        roles = [role for role, _ in context]
        greeting = context[0][1].removesuffix(CUT_SHORT).rstrip()
        assert texts()["greeting"].startswith(greeting), context
        if self.moment == "greeting":
            assert roles == ["assistant"]
        elif self.moment in {"quiet", "asking"}:
            assert greeting == texts()["greeting"]
            assert roles[:1] == ["assistant"]
        else:
            assert roles == ["assistant", "user", "assistant"], context
            self._check_heard(context[2][1])

    def _check_heard(self, known: str) -> None:
        """The assistant's words, as the new one knows them, end where the caller stopped to hear."""
        whole = texts()["description"]
        words = known.removesuffix(CUT_SHORT).rstrip()
        assert known.endswith(CUT_SHORT)
        assert whole.startswith(words)
        before = sum(player.audible_ms for player in self.phone.players[: self.streams])
        heard_ms = before - self.greeting_ms
        known_ms = len(words) / len(whole) * audible_ms(spoken("description", TELEPHONE))
        assert heard_ms - KNOWN_TOO_LITTLE_MS < known_ms < heard_ms + KNOWN_TOO_MUCH_MS


@cache
def audible_ms(mulaw: bytes) -> float:
    blocks = [mulaw[at : at + BLOCK_BYTES] for at in range(0, len(mulaw), BLOCK_BYTES)]
    return 20.0 * sum(level_dbfs(mulaw_to_samples(block)) > AUDIBLE_DBFS for block in blocks)


def of_call(assistant: Assistant, call_id: str) -> list[AssistantCall]:
    """The assistant's calls for one of ours whose sockets were connected, in their order."""
    mine = [call for call in assistant.calls.values() if call.order.overrides["metadata"]["relayCallId"] == call_id]
    return [call for call in mine if call.conversation is not None]


@asynccontextmanager
async def killed_call(place: Place, moment: Moment) -> AsyncIterator[KilledCall]:
    begun_s: list[float] = []

    def note(event: PhoneEvent) -> None:
        if event.kind == "stream.started":
            begun_s.append(event.at_s)

    async with open_phone(place.url, replace(OPTIONS, on_event=note)) as phone:
        yield KilledCall(phone, moment, begun_s)


async def kill_once(place: Place, assistant: Assistant, moments: list[Moment], dice: Random) -> list[float]:
    """A call for each moment; when all have come to it, their process is killed. How long each waited for its next."""
    return await _Kill(place, assistant, moments, dice).run()


@dataclass
class _Kill:
    place: Place
    assistant: Assistant
    moments: list[Moment]
    dice: Random
    calls: list[KilledCall] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)
    others_there: trio.Event = field(default_factory=trio.Event)
    """A phone rings only then."""
    all_there: trio.Event = field(default_factory=trio.Event)
    killed: trio.Event = field(default_factory=trio.Event)
    ready_s: float = 0.0

    async def run(self) -> list[float]:
        self._count()
        async with trio.open_nursery() as nursery:
            for moment in self.moments:
                nursery.start_soon(self._call, moment)
            await self.all_there.wait()
            for call in self.calls:
                call.streams = len(call.begun_s)
            self.ready_s = await self.place.kill()
            self.killed.set()
        return self.gaps

    async def _call(self, moment: Moment) -> None:
        if moment == "ringing":
            await self.others_there.wait()
        async with killed_call(self.place, moment) as call:
            await call.come_to_it(self.dice)
            self.calls.append(call)
            self._count()
            await self.killed.wait()
            self.gaps.append(await call.go_on(self.ready_s))
            call.check(self.place, self.assistant)

    def _count(self) -> None:
        if len(self.calls) >= len(self.moments) - self.moments.count("ringing"):
            self.others_there.set()
        if len(self.calls) == len(self.moments):
            self.all_there.set()
