"""A recorded call runs again exactly as it was: every message to both sides, and every event."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from relay.config import TransferConfig
from relay.record.entries import FromCaller, RecordingHeader, SpeechScore, Timed, Told
from relay.replay.decisions import count, differences
from relay.replay.exact_run import run_exactly
from relay.replay.settings import config_of
from relay.wire.vapi_actions import Transfer
from tests.support.lively import CLOCK_S, record_lively, timed_entries
from tests.support.numbered import numbered
from tests.support.recorded import recorded_rig

SEEDS = range(6)


def again(header: RecordingHeader, entries: Sequence[Timed]) -> list[Timed]:
    return run_exactly(header, entries, config_of(header, {}), None)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_decision_comes_out_the_same(seed: int, tmp_path: Path) -> None:
    header, entries = timed_entries(record_lively(tmp_path, seed, call_s=10.0))
    found = again(header, entries)

    assert differences(entries, found, browser=False) == []
    assert count(entries) > 400


def test_a_call_that_was_recorded_is_not_the_same_without_one_of_its_frames(tmp_path: Path) -> None:
    """Guards the guard: the comparison would see it."""
    header, entries = timed_entries(record_lively(tmp_path, 1, call_s=5.0))
    frames = [index for index, entry in enumerate(entries) if isinstance(entry, FromCaller)]
    without = [entry for index, entry in enumerate(entries) if index != frames[50]]

    assert differences(entries, again(header, without), browser=False)


def test_a_call_is_not_the_same_with_another_opinion_of_the_speech_model(tmp_path: Path) -> None:
    header, entries = timed_entries(record_lively(tmp_path, 1, call_s=5.0))
    deaf = [
        SpeechScore(it.at_s, it.end_ms, 0.0, it.voice_bound) if isinstance(it, SpeechScore) else it for it in entries
    ]
    gone = {it.was.split()[0] for it in differences(entries, again(header, deaf), browser=False) if it.was}

    assert "speech.started" in {entry.name for entry in entries if isinstance(entry, Told)}
    assert "speech.started" in gone


@pytest.mark.parametrize("by_webhook", [True, False])
def test_an_assistant_that_leaves_does_so_again(*, by_webhook: bool, tmp_path: Path) -> None:
    number = "+4930123456"

    async def have() -> None:
        clock.jump(CLOCK_S)
        async with recorded_rig(tmp_path, transfer=TransferConfig(allow=(number,))) as rig:
            await rig.begin()
            rig.assistant.tell(type="transfer-update", destination={"type": "number", "number": "+4930999999"})
            await trio.sleep(1)
            if by_webhook:
                rig.call.asked_by_webhook(Transfer(number))
            else:
                rig.assistant.tell(type="transfer-update", destination={"type": "number", "number": number})
            rig.assistant.say(numbered(0, 100))
            await rig.ended("transferred", within_s=6)

    clock = MockClock(autojump_threshold=0)
    trio.run(have, clock=clock)
    (file,) = tmp_path.iterdir()
    header, entries = timed_entries(file)
    told = [entry.name for entry in entries if isinstance(entry, Told)]

    assert {"transfer.refused", "transfer.accepted"} < set(told)
    assert differences(entries, again(header, entries), browser=False) == []
