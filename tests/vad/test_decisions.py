"""Decisions of other detectors: the cases they get, and how what they said is read."""

import json
from pathlib import Path

import numpy as np
import pytest

from relay.errors import ConfigError
from relay.media.sound import Sound
from relay.media.wav import read_wav
from relay.vad.cases import Case, clips
from relay.vad.decisions import judged_by, read_decisions, write_cases
from relay.vad.evaluation import Recording

SOUND = Sound(np.arange(16000, dtype=np.int16), 8000)
VOICE = Sound(np.zeros(8000, np.int16), 8000)


@pytest.fixture
def cases() -> list[Case]:
    recording = Recording("word.wav", 2.0, "words", [(1.0, 1.5)], clips=[(0.0, 2.0)])
    return list(clips(recording, SOUND, [VOICE]))


def written(folder: Path, content: object) -> Path:
    path = folder / "decisions.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_a_case_is_written_as_it_reaches_the_relay(tmp_path: Path, cases: list[Case]) -> None:
    files = list(write_cases(cases, tmp_path / "new" / "folder"))

    assert [path.stem for path in files] == [case.name for case in cases]
    for path, case in zip(files, cases, strict=True):
        sound = read_wav(path)
        assert sound.rate_hz == 8000
        assert sound.samples.tolist() == case.sound().samples.tolist()


def test_times_are_those_of_the_file_in_any_order(tmp_path: Path, cases: list[Case]) -> None:
    """The clip begins after the voice and a pause."""
    said: dict[str, object] = {case.name: {"pauses_s": [3.4, 3.1, 0.5], "cuts_s": [3.2]} for case in cases}
    decisions = read_decisions(written(tmp_path, {"detector": "mine", "cases": said}))
    alone, behind, *_ = judged_by(decisions, cases)

    assert decisions.detector == "mine"
    assert alone.pauses.starts_s == [0.5]
    assert behind.pauses.starts_s == pytest.approx([1.1, 1.4])
    assert behind.cuts.starts_s == pytest.approx([1.2])


def test_a_detector_with_one_stage_pauses_when_it_cuts(tmp_path: Path, cases: list[Case]) -> None:
    said = {case.name: {"cuts_s": [1.1]} for case in cases}
    first, *_ = judged_by(read_decisions(written(tmp_path, {"detector": "mine", "cases": said})), cases)

    assert first.pauses == first.cuts


def test_a_case_of_which_nothing_is_said_is_an_error(tmp_path: Path, cases: list[Case]) -> None:
    said: dict[str, object] = {case.name: {"cuts_s": []} for case in cases[1:]}
    decisions = read_decisions(written(tmp_path, {"detector": "mine", "cases": said}))

    with pytest.raises(ConfigError, match=f"1 of 4 cases have no decisions, the first is {cases[0].name}"):
        judged_by(decisions, cases)


@pytest.mark.parametrize(
    "content",
    ["[", {}, {"detector": "x", "cases": {"a": {}}}, {"detector": "x", "cases": {"a": {"cuts_s": [1], "cut_s": []}}}],
)
def test_decisions_that_make_no_sense_are_refused_by_name(tmp_path: Path, content: object) -> None:
    with pytest.raises(ConfigError, match=r"decisions\.json"):
        read_decisions(written(tmp_path, content))


def test_a_file_of_decisions_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.json: cannot be read"):
        read_decisions(tmp_path / "none.json")
