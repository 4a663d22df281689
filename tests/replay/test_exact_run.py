"""A recorded call runs again exactly as it was: every message to both sides, and every event."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from relay.record.entries import FromCaller, RecordingHeader, SpeechScore, Timed, Told
from relay.replay.decisions import count, differences
from relay.replay.exact_run import run_exactly
from relay.replay.settings import config_of
from tests.support.lively import record_lively, timed_entries

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
