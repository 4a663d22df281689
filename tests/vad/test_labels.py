"""Folders of recordings: read in the order of their labels, refused with the name of what is wrong."""

from pathlib import Path

import pytest

from relay.errors import ConfigError
from relay.vad.labels import read_folder
from tests.support.labelled import labelled, phrase, silence


def test_recordings_come_with_their_labels_in_order(tmp_path: Path) -> None:
    folder = labelled(tmp_path, {"word": (phrase("stop"), {"speech": [[0, 1]]}), "quiet": (silence(1.0), {})})

    read = read_folder(folder)
    assert [(recording.kind, recording.speech) for recording, _ in read] == [("word", [(0, 1)]), ("quiet", [])]
    assert [len(sound.samples) for _, sound in read] == [len(phrase("stop")), 16000]


@pytest.mark.parametrize("labels", [None, "[", '{"files": [{}]}'])
def test_a_folder_without_good_labels_is_refused(tmp_path: Path, labels: str | None) -> None:
    if labels:
        (tmp_path / "labels.json").write_text(labels, encoding="utf-8")

    with pytest.raises(ConfigError, match=r"labels\.json"):
        read_folder(tmp_path)


@pytest.mark.parametrize(
    ("labels", "problem"),
    [
        ({"speech": [[2, 1]]}, "speech"),
        ({"speech": [[2, 2.5], [0.5, 1]]}, "speech"),
        ({"speech": [[1, 2], [1.5, 2.5]]}, "speech"),
        ({"speech": [[1, 9]]}, "speech"),
        ({"clips": [[1, 1]]}, "clips"),
        ({"clips": [[-1, 1]]}, "clips"),
        ({"clips": [[2, 9]]}, "clips"),
        ({"duration_s": 99.0}, "duration_s"),
        ({"duration_s": 0.0}, "duration_s"),
    ],
    ids=str,
)
def test_times_that_the_recording_does_not_have_are_refused(
    tmp_path: Path, labels: dict[str, object], problem: str
) -> None:
    """They would be scored: as minutes that nobody heard, or as onsets that nobody can find."""
    folder = labelled(tmp_path, {"quiet": (silence(3.0), labels)})

    with pytest.raises(ConfigError, match=rf"labels\.json: quiet\.wav: {problem}"):
        read_folder(folder)


def test_times_may_be_rounded_and_follow_each_other_at_once(tmp_path: Path) -> None:
    folder = labelled(tmp_path, {"quiet": (silence(3.0), {"duration_s": 3.01, "clips": [[0, 1], [1, 3.01]]})})

    assert len(read_folder(folder)) == 1


def test_a_recording_that_is_missing_is_named(tmp_path: Path) -> None:
    folder = labelled(tmp_path, {"quiet": (silence(1.0), {})})
    (folder / "quiet.wav").unlink()

    with pytest.raises(OSError, match="quiet"):
        read_folder(folder)
