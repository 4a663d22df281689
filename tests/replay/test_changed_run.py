"""A recorded call runs again with other settings, and what comes of that is due to the settings alone."""

from collections.abc import Sequence

import pytest

from relay.record.entries import ClearSent, MarkReturned, MarkSent, RecordingHeader, Timed, ToCaller
from relay.replay.changed_run import PlayedMarks, mark_delay_s, run_changed
from relay.replay.decisions import changes, differences
from relay.replay.settings import config_of
from tests.support.lively import record_lively, timed_entries


@pytest.fixture(scope="module")
def call(tmp_path_factory: pytest.TempPathFactory) -> tuple[RecordingHeader, list[Timed]]:
    return timed_entries(record_lively(tmp_path_factory.mktemp("calls"), 3, call_s=10.0))


def again(call: tuple[RecordingHeader, Sequence[Timed]], **settings: object) -> list[Timed]:
    header, entries = call
    return run_changed(header, entries, config_of(header, settings), None)


def test_twice_with_the_same_settings_is_the_same(call: tuple[RecordingHeader, list[Timed]]) -> None:
    assert differences(again(call), again(call), browser=False) == []


@pytest.mark.parametrize(
    ("key", "value", "name", "kinds"),
    [
        ("vad.hangover_ms", 600, "speech.ended", {"later", "gone"}),
        ("vad.onset_evidence", 30, "speech.started", {"later", "gone", "new", "other"}),
        ("barge_in.enabled", False, "bargein.flushed", {"gone"}),
        ("barge_in.debounce_ms", 2000, "bargein.flushed", {"later", "gone", "new", "other"}),
    ],
)
def test_a_setting_changes_what_it_decides(
    key: str, value: object, name: str, kinds: set[str], call: tuple[RecordingHeader, list[Timed]]
) -> None:
    found = [it for it in changes(again(call), again(call, **{key: value})) if it.name == name]

    assert found
    assert {it.kind for it in found} <= kinds


def test_a_larger_buffer_plays_later(call: tuple[RecordingHeader, list[Timed]]) -> None:
    def first_frame_s(entries: Sequence[Timed]) -> float:
        return next(it.at_s for it in entries if isinstance(it, ToCaller) and it.audible)

    assert first_frame_s(again(call, **{"jitter.target_ms": 600})) > first_frame_s(again(call)) + 0.2


def test_marks_come_back_when_all_before_them_was_played() -> None:
    played = PlayedMarks(delay_s=0.1)
    for at in (0.0, 0.01, 0.02):
        played.frame(at)

    assert played.mark(0.03) == pytest.approx(0.16)
    assert played.mark(1.0) == pytest.approx(1.1)
    assert played.clear(2.0) == pytest.approx(2.1)


def test_the_way_of_the_marks_is_measured_in_the_recording() -> None:
    frames: list[Timed] = [ToCaller(0.0, 1, 20, audible=True, queued_ms=0, data=b""), MarkSent(0.0, 1, 20)]

    assert mark_delay_s([*frames, MarkReturned(0.12, 1, 20)]) == pytest.approx(0.1)
    assert mark_delay_s([*frames, ClearSent(0.01), MarkReturned(0.9, 1, 20)]) == 0.0
    assert mark_delay_s([]) == 0.0
