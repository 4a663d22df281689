"""Calls on the virtual clock in which much goes wrong, each another by its seed."""

import secrets
from pathlib import Path
from random import Random
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from relay.record.entries import RecordingEnd, RecordingHeader, Timed
from relay.record.file_format import read
from tests.support.callrig import FRAME_S, MURMUR, SILENCE, TONE, Assistant, Rig
from tests.support.numbered import numbered
from tests.support.recorded import recorded_rig

CLOCK_S = float(2**18)
"""As that of a real process, the clock begins far from 0: the length of a call is a difference without rounding."""
CALL_S = 20.0


class Lively:
    """One call. Its caller and its assistant talk, interrupt, come late, and lose their sockets."""

    def __init__(self, rig: Rig, dice: Random, call_s: float) -> None:
        self._rig = rig
        self._dice = dice
        self._ends_at = trio.current_time() + call_s
        self._assistant: Assistant | None = None
        self._words = 0

    async def play(self) -> None:
        rig = self._rig
        rig.call = rig.ring()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._be_assistants)
            await rig.dialer.connected.wait()
            await trio.sleep(self._dice.uniform(0, 0.5))
            await self._attach()
            nursery.start_soon(self._speak)
            with trio.move_on_at(self._ends_at):
                await self._lose_sockets()
            await self._attach()
            rig.phone.stop()
            await rig.until_over(60)
            nursery.cancel_scope.cancel()

    async def _attach(self) -> None:
        self._rig.phone = await self._rig.attach(self._rig.call, speaking=False)
        self._rig.phone.mark_delay_s = lambda: self._dice.uniform(0.01, 0.12)

    async def _speak(self) -> None:
        """The caller's frames with jitter, stalls, gaps, words, murmurs and keys."""
        dice, due = self._dice, trio.current_time()
        words: list[bytes] = []
        while True:
            due += FRAME_S
            stall = dice.uniform(0.1, 0.9) if dice.random() < 0.002 else 0.0
            due_now = due + dice.uniform(0, 0.015) + stall
            await trio.sleep_until(due_now)
            if not words:
                kind = dice.choice([SILENCE, SILENCE, TONE, MURMUR])
                words = [kind] * dice.randint(5, 80)
            if dice.random() < 0.003:
                self._rig.phone.skip(dice.randint(1, 5))
            if dice.random() < 0.001:
                self._rig.phone.press("5")
            self._rig.phone.media(words.pop())

    async def _be_assistants(self) -> None:
        number = 0
        async with trio.open_nursery() as nursery:
            while True:
                peer = await self._rig.dialer.peer(number, within_s=600)
                self._assistant = Assistant(peer, self._rig.dialer.format)
                nursery.start_soon(self._talk, self._assistant)
                number += 1

    async def _talk(self, assistant: Assistant) -> None:
        """Frames with jitter; turns, transcripts, and agreement with an interruption now and then."""
        dice, due = self._dice, trio.current_time()
        assistant.tell(type="status-update", status="in-progress")
        while True:
            due += FRAME_S
            await trio.sleep_until(
                due + dice.uniform(0, 0.03) + (dice.uniform(0.1, 0.6) if dice.random() < 0.003 else 0)
            )
            chance = dice.random()
            if chance < 0.006 and not assistant.saying:
                assistant.speech("started")
                count = dice.randint(30, 200)
                assistant.say(numbered(self._words % 3000, count))
                self._words += count
                assistant.transcript("as I was saying", role="assistant", kind="final")
            elif chance < 0.009:
                assistant.interrupted()
                assistant.stop()
                assistant.speech("stopped")
            elif chance < 0.013:
                assistant.transcript(
                    dice.choice(["stop", "uh-huh", "what is it"]), kind=dice.choice(["final", "partial"])
                )
            elif chance < 0.0133:
                assistant.send("no JSON")
            if assistant.saying:
                assistant.send(assistant.saying.pop(0))
                if not assistant.saying:
                    assistant.speech("stopped")
            else:
                assistant.send(assistant.format.silent_frame)

    async def _lose_sockets(self) -> None:
        dice, rig = self._dice, self._rig
        while True:
            await trio.sleep(dice.uniform(2, 10))
            match dice.randrange(5):
                case 0:
                    rig.phone.peer.lose()
                    await trio.sleep(dice.uniform(0.1, 2))
                    rig.call.grant_reattach()
                    await self._attach()
                case 1:
                    await self._attach()
                case 2:
                    rig.dialer.peers[-1].lose()
                case 3:
                    rig.dialer.peers[-1].close(1011, "fault")
                case 4:
                    rig.dialer.connect_after_s = dice.uniform(0, 1.5)


def record_lively(folder: Path, seed: int, *, call_s: float = CALL_S, **more: Any) -> Path:
    """Have such a call and record it; returns its file. Not within trio."""

    async def have() -> Path:
        clock.jump(CLOCK_S)
        async with recorded_rig(folder, **more) as rig:
            await Lively(rig, Random(seed), call_s).play()
        return folder / f"{rig.call.id}.relay"

    clock = MockClock(autojump_threshold=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(secrets, "token_hex", lambda n_bytes: f"{seed:0{2 * n_bytes}x}")
        return trio.run(have, clock=clock)


def timed_entries(path: Path) -> tuple[RecordingHeader, list[Timed]]:
    """The header of a recording, and what happened in its order."""
    header, entries = read(path.read_bytes())
    return header, [entry for entry in entries if not isinstance(entry, RecordingHeader | RecordingEnd)]
