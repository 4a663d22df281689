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


def test_a_recording_that_is_missing_is_named(tmp_path: Path) -> None:
    folder = labelled(tmp_path, {"quiet": (silence(1.0), {})})
    (folder / "quiet.wav").unlink()

    with pytest.raises(OSError, match="quiet"):
        read_folder(folder)
