"""Long calls on the virtual clock: an hour on a mobile network, and five minutes without a word.

$ENDURANCE_MINUTES says how long the first is (`make endurance`: 60); without it, two, and the silence is shorter too.
"""

import os
import random
from dataclasses import dataclass
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from relay.config import SessionConfig
from tests.support.callrig import MULAW, open_rig
from tests.support.cuts import Trial, held_bytes, seeded_backoff

FEW_MINUTES = 2
GROWTH_MAX_BYTES = 100_000
"""What a call may hold more at its end than after its first quarter: the words of the conversation."""
MINUTES = float(os.environ.get("ENDURANCE_MINUTES") or FEW_MINUTES)
IDLE_S = 300.0 if MINUTES > FEW_MINUTES else 60.0
SLACK_FRAMES = 4
"""So many frames of a connection may be on their way when it is cut."""


@dataclass
class Totals:
    """What the sides of the call counted themselves."""

    drops: int = 0
    from_phones: int = 0
    to_assistants: int = 0


def sent_frames(trial: Trial) -> int:
    """By the phone that is attached now."""
    return trial.rig.phone._timestamp_ms // 20


def up_without_reason(line: dict[str, Any]) -> int:
    """Frames that went up to the assistant and are not accounted for: in, and invented, and again, less dropped."""
    invented, dropped = line["frames_invented"], line["frames_dropped"]
    came = line["frames_caller_up"] + invented.get("keepalive", 0) + invented.get("gap", 0)
    left_out = dropped.get("overflow", 0) + dropped.get("pause", 0) + dropped.get("late", 0)
    return int(line["frames_assistant_up"] - came - line["frames_assistant_again"] + left_out)


async def drop_now_and_then(trial: Trial, totals: Totals, seconds: float) -> None:
    """Each 30 to 90 s one of the sockets, or both at once, for so long."""
    end_s = trio.current_time() + seconds
    while trio.current_time() < end_s:
        next_s = trio.current_time() + trial.dice.uniform(30, 90)
        while trio.current_time() < next_s - 4:
            await trial.talk(1)
        which = trial.dice.choice(("assistant", "caller", "both"))
        if which != "caller":
            trial.cut()
        if which != "assistant":
            trial.rig.phone.peer.lose()
            totals.from_phones += sent_frames(trial)
            await trio.sleep(trial.dice.uniform(0.1, 3))
            await trial.attach()
        totals.drops += 1
        await trio.sleep(4)
        for peer in trial.rig.dialer.peers[:-1]:
            peer.seen.clear()


async def test_a_call_on_a_bad_network_leaks_nothing_and_its_totals_add_up(autojump_clock: MockClock) -> None:
    totals = Totals()
    async with seeded_backoff(1), open_rig(MULAW, session=SessionConfig(max_duration_s=40000)) as rig:
        trial = Trial(rig, random.Random(1))
        await trial.begin()
        await drop_now_and_then(trial, totals, MINUTES * 15)
        await trio.sleep(12)
        tasks, bytes_held = trio.lowlevel.current_statistics().tasks_living, held_bytes(rig.call)
        await drop_now_and_then(trial, totals, MINUTES * 45)
        await trio.sleep(12)
        tasks_after, bytes_held_after = trio.lowlevel.current_statistics().tasks_living, held_bytes(rig.call)
        kept_ms = rig.call.queued_ms
        totals.from_phones += sent_frames(trial)
        rig.phone.stop()
        line = await rig.ended("caller_hangup")
        totals.to_assistants = sum(ear.received for ear in trial.ears)
        counted = {name: value for name, value in line.items() if name.startswith("frames")}
        print(
            f"\n{line['duration_s'] / 60:.0f} minutes, {totals.drops} drops, {line['reconnects']}; tasks {tasks} -> "
            f"{tasks_after}, the call holds {bytes_held} -> {bytes_held_after} bytes; {totals}; {counted}; "
            f"{up_without_reason(line)} frames up without a reason"
        )
        assert trial.problems() == []
        assert tasks_after <= tasks
        assert bytes_held_after - bytes_held < GROWTH_MAX_BYTES
        assert kept_ms < 1000
        slack = SLACK_FRAMES * (totals.drops + 1)
        assert abs(line["frames_caller_up"] - totals.from_phones) <= slack
        assert abs(line["frames_assistant_up"] - totals.to_assistants) <= slack
        assert up_without_reason(line) == pytest.approx(0, abs=slack)


async def test_nothing_is_closed_in_five_minutes_without_speech_but_then_it_is(autojump_clock: MockClock) -> None:
    async with open_rig(MULAW, session=SessionConfig(idle_timeout_s=IDLE_S)) as rig:
        await rig.begin()
        await trio.sleep(IDLE_S - 10)
        assert not rig.phone.hung_up.is_set()
        assert not rig.dialer.peers[0].gone
        assert len(rig.dialer.peers) == 1
        assert rig.events("assistant.lost") == rig.events("caller.lost") == []
        await rig.ended("idle", within_s=15)
