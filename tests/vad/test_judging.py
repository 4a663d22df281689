"""Judging: the detector over many streams, with the same decisions as over each alone."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from relay.media.detector import DetectorSettings
from relay.media.silero import SileroModel
from relay.vad import judging
from relay.vad.cases import clips
from relay.vad.evaluation import delays_ms
from relay.vad.judging import judge
from relay.vad.labels import Labelled, read_folder
from relay.vad.voices import voices
from tests.support.labelled import joined, labelled, phrase, silence


@pytest.fixture(scope="module")
def model() -> SileroModel:
    return SileroModel.load(16000)


@pytest.fixture
def words(tmp_path: Path) -> Labelled:
    """A clip of a word, and one of nothing."""
    word = phrase("stop")
    samples = joined(silence(1.0), word, silence(0.6), silence(2.0))
    end_s = 1.6 + len(word) / 16000
    labels: dict[str, object] = {"speech": [[1.0, end_s - 0.6]], "clips": [[0, end_s], [end_s, end_s + 2]]}
    (read,) = read_folder(labelled(tmp_path, {"words": (samples, labels)}))
    return read


def test_a_word_cuts_in_every_stream_and_silence_in_none(model: SileroModel, words: Labelled) -> None:
    judged = list(judge(list(clips(*words, voices([], 2.0))), model))

    assert [bool(it.cuts.starts_s) for it in judged] == [True] * 4 + [False] * 4
    assert [bool(it.pauses.starts_s) for it in judged] == [True] * 4 + [False] * 4
    for it in judged[:4]:
        (paused_ms,), (cut_ms,) = delays_ms(it.pauses), delays_ms(it.cuts)
        assert paused_ms is not None
        assert cut_ms is not None
        assert 0 < paused_ms <= cut_ms < 300


def test_streams_do_not_change_each_other(model: SileroModel, words: Labelled, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "SIDE_BY_SIDE", 3)
    cases = list(clips(*words, voices([], 2.0)))
    together = list(judge(cases, model))
    each = [next(judge([case], model)) for case in cases]

    assert [(it.case, it.pauses, it.cuts) for it in together] == [(it.case, it.pauses, it.cuts) for it in each]


@pytest.mark.parametrize("ignore_coughs", [True, False])
def test_recorded_coughs_seldom_cut_where_they_are_ignored_and_words_always_do(
    model: SileroModel, recordings: Path, interruptions: Path, *, ignore_coughs: bool
) -> None:
    """Each twelfth clip, behind speech. The probe was trained with these: how it does on others is in docs/."""
    before = voices(read_folder(recordings), 2.5)
    settings = DetectorSettings(ignore_coughs=ignore_coughs)
    shares = {}
    for recording, sound in read_folder(interruptions):
        some = replace(recording, clips=recording.clips[::12])
        cases = [case for case in clips(some, sound, before) if case.name.endswith("behind-speech-0")]
        judged = list(judge(cases, model, settings))
        shares[recording.kind] = sum(bool(it.cuts.starts_s) for it in judged) / len(judged)

    if ignore_coughs:
        assert shares["coughs_phone"] <= 0.1
        assert shares["coughs_app"] <= 0.1
    else:
        assert shares["coughs_phone"] >= 0.2
    assert shares["words"] == 1
    assert shares["digits"] >= 0.9
