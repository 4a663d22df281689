"""The training of the cough probe, on made-up recordings: words, and words played backwards in the place of coughs."""

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from relay.media import cough_probe
from relay.media.cough_probe import CoughProbe, ProbeFile
from relay.media.silero import SileroModel
from relay.media.sound import Sound
from relay.vad.cases import Case, Group
from relay.vad.evaluation import Recording
from scripts import train_cough_probe as training
from scripts.train_cough_probe import Heard, Source
from tests.support.labelled import joined, labelled, phrase, silence


@pytest.fixture(scope="module")
def audio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folders: speech, a hum and a room; and two clips of words, two of coughs."""
    shared = tmp_path_factory.mktemp("shared")
    audio, clips = shared / "audio", shared / "audio_interrupt"
    audio.mkdir()
    clips.mkdir()
    said = phrase("stop")
    hum = (np.sin(np.arange(32000) * 0.05) * 3000).astype(np.int16)
    spoken = {"speech": [[1.0, 1.0 + len(said) / 16000]], "source": [{"from": "a talker", "attribution": "A Talker"}]}
    labelled(
        audio,
        {
            "speech": (joined(silence(1.0), said, silence(0.5)), {**spoken, "licence": ["CC0-1.0"]}),
            "fan": (hum, {"kind": "hvac_fan"}),
            "room": (silence(1.0), {"attribution": "A Room", "licence": ["MIT"]}),
        },
    )
    piece = joined(silence(1.0), said, silence(0.6))
    backwards = joined(silence(1.0), said[::-1], silence(0.6))
    length_s = len(piece) / 16000
    bounds = [[number * length_s, (number + 1) * length_s] for number in range(2)]
    speech = [[start + 1.0, end - 0.6] for start, end in bounds]
    labelled(
        clips,
        {
            "words": (joined(*[piece] * 2), {"clips": bounds, "speech": speech}),
            "coughs": (joined(*[backwards] * 2), {"clips": bounds}),
        },
    )
    return audio


def made_up(speech: list[tuple[float, float]], probabilities: list[float], from_s: float = 0.0) -> Heard:
    """So many windows of silence, as if the model had given them these probabilities."""
    count = len(probabilities)
    recording = Recording("a.wav", count * 0.032, "words", speech)
    case = Case("a", Group("words", "a", "", ""), recording, from_s, lambda: Sound(np.zeros(0, np.int16), 8000))
    source = Source((recording, case.sound()), "a")
    return Heard(case, source, np.zeros((count, 512), np.int16), probabilities, np.zeros((count, 256), np.float32))


def test_a_fit_finds_the_weights_that_made_the_answers() -> None:
    chance = np.random.default_rng(1)
    inputs = chance.normal(2.0, 3.0, (20_000, 3))
    wanted = np.array([1.0, -0.5, 0.0])
    is_speech = chance.random(len(inputs)) < 1 / (1 + np.exp(-(inputs @ wanted + 0.7)))

    weights, bias = training.fit(inputs, is_speech, np.ones(len(inputs)))

    assert weights == pytest.approx(wanted, abs=0.1)
    assert bias == pytest.approx(0.7, abs=0.2)


@pytest.mark.parametrize(
    ("heard", "windows", "are_speech"),
    [
        (made_up([], [0.1, 0.3, 0.9, 0.2]), [1, 2], False),
        (made_up([], [0.9] * 4, from_s=0.05), [1, 2, 3], False),
        (made_up([(0.032, 0.16)], [0.9] * 8), [1, 2, 3, 4], True),
        (made_up([(0.0, 0.8)], [0.9] * 24), [*range(10), 10, 15, 20], True),
        (made_up([(0.032, 0.16)], [0.1] * 8), [], True),
    ],
)
def test_likely_windows_are_learned_from_and_of_speech_those_of_its_beginning(
    heard: Heard, windows: list[int], are_speech: bool
) -> None:
    numbers, is_speech = heard.lessons()

    assert (numbers.tolist(), is_speech) == (windows, are_speech)


def test_speech_comes_again_with_a_noise_as_loud_as_said(audio: Path) -> None:
    sources = training.read_sources(audio)
    noisy = list(training.with_noise(sources))

    assert [each.name for each in noisy] == ["a talker"] * training.NOISY_COPIES + ["words.wav"]
    assert all(each.noisy for each in noisy)
    start, end = (round(at * 8000) for at in noisy[0].labelled[0].speech[0])
    for each, snr_db in zip(noisy[:-1], training.SNRS_DB, strict=True):
        heard = each.labelled[1].samples.astype(float)
        loudness = np.mean(heard[start:end] ** 2) / np.mean(heard[: start - 800] ** 2)
        assert 10 * np.log10(loudness - 1) == pytest.approx(snr_db, abs=1.5)


@pytest.mark.parametrize(("by_clip", "folds"), [(True, [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]), (False, [1] * 10)])
def test_clips_are_left_out_by_fifths_of_their_file_or_with_all_of_it(*, by_clip: bool, folds: list[int]) -> None:
    plain = made_up([(0.0, 0.1)], [0.9] * 4)
    source = Source((msgspec.structs.replace(plain.case.recording, clips=[(0.0, 1.0)] * 10), plain.case.sound()), "b")
    parts = [msgspec.structs.replace(plain.case.recording, file=f"b.wav#{number}") for number in range(10)]
    clips = [replace(plain, source=source, case=replace(plain.case, recording=part)) for part in parts]

    assert [training.fold(each, ["a", "b"], by_clip=by_clip) for each in clips] == folds
    assert training.fold(plain, ["a", "b"], by_clip=by_clip) == 0


def test_the_script_writes_weights_that_tell_the_two_apart_and_the_same_each_time(
    audio: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RELAY_AUDIO_DIR", str(audio))
    for name, smaller in {"RATES_HZ": (16000,), "FOLDS": 2, "NOISY_COPIES": 1, "LEAD_IN_S": 1.0}.items():
        monkeypatch.setattr(training, name, smaller)
    for module in (training, cough_probe):
        monkeypatch.setattr(module, "WEIGHTS_FILE", tmp_path / "weights.json")

    training.main()

    content = msgspec.json.decode((tmp_path / "weights.json").read_bytes(), type=ProbeFile)
    assert content.sources == ["A Room (MIT)", "A Talker (CC0-1.0)"]
    told = capsys.readouterr().out
    for expected in ("16000 Hz, without:", "left out by source:", "coughs, behind speech: 4 without speech:"):
        assert expected in told
    sources = training.read_sources(audio)
    again = list(training.hear([*sources, *training.with_noise(sources)], SileroModel.load(16000)))
    assert training.train(again) == content.weights["16000"]
    probe = CoughProbe.load(16000)
    bounds: dict[str, list[float]] = {"words.wav": [], "coughs.wav": []}
    for each in again:
        if each.source.name in bounds and not each.source.noisy:
            bounds[each.source.name] += probe.bounds_of(each.states[each.lessons()[0]])
    assert np.median(bounds["coughs.wav"]) < np.median(bounds["words.wav"]) - training.BENEFIT_OF_DOUBT
