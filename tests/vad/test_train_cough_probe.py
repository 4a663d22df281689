"""The training of the cough probe, on made-up recordings: words, and words played backwards in the place of coughs."""

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from relay.media import cough_probe
from relay.media.cough_probe import CoughProbe, ProbeFile
from relay.media.detector import WINDOW_MS, DetectorSettings
from relay.media.silero import SileroModel
from relay.media.sound import Sound
from relay.standin.phrases import texts
from relay.vad.analysis import confirmations_ms, follow
from relay.vad.cases import Case, Group, clips
from relay.vad.evaluation import Recording, delays_ms
from relay.vad.sound import answers, windows
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


def test_a_fit_learns_what_no_weighted_sum_can_tell() -> None:
    """Two inputs that say something only together, beside one that says nothing, all far from 0."""
    chance = np.random.default_rng(1)
    centred = chance.normal(0, 1, (5000, 3))
    is_speech = centred[:, 0] * centred[:, 1] > 0
    inputs = (centred * 3 + 5).astype(np.float32)

    (inward, offsets, outward, direct), bias = training.fit(inputs, is_speech, np.ones(len(inputs), np.float32))

    log_odds = np.tanh(inputs @ inward + offsets) @ outward + inputs @ direct + bias
    assert np.mean((log_odds > 0) == is_speech) > 0.95


def test_a_row_weighs_as_often_as_it_counts() -> None:
    inputs, is_speech = np.zeros((1000, 1), np.float32), np.arange(1000) % 2 == 0
    counts = np.where(is_speech, 3.0, 1.0).astype(np.float32)

    (_, offsets, outward, _), bias = training.fit(inputs, is_speech, counts)

    assert np.tanh(offsets) @ outward + bias == pytest.approx(np.log(3), abs=0.2)


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
    assert {each.change for each in noisy} == {"in noise"}
    start, end = (round(at * 8000) for at in noisy[0].labelled[0].speech[0])
    for each, snr_db in zip(noisy[:-1], training.SNRS_DB, strict=True):
        heard = each.labelled[1].samples.astype(float)
        loudness = np.mean(heard[start:end] ** 2) / np.mean(heard[: start - 800] ** 2)
        assert 10 * np.log10(loudness - 1) == pytest.approx(snr_db, abs=1.5)


def test_speech_comes_again_faster_and_slower_and_so_do_its_labels(audio: Path) -> None:
    sources = [each for each in training.read_sources(audio) if each.labelled[0].speech]
    paced = list(training.at_other_paces(sources))

    assert [(each.name, each.change) for each in paced] == [
        ("a talker", "0.75 times as fast"),
        ("a talker", "0.85 times as fast"),
        ("words.wav", "0.85 times as fast"),
        ("a talker", "1.18 times as fast"),
        ("words.wav", "1.18 times as fast"),
        ("a talker", "1.3 times as fast"),
    ]
    recordings = [each for each in paced if each.name == "a talker"]
    for pace, first in zip(training.PACES, recordings, strict=True):
        recording, sound = first.labelled
        start, end = recording.speech[0]
        loud = np.flatnonzero(np.abs(sound.samples) > 500) / sound.rate_hz
        assert sound.duration_s == pytest.approx(sources[0].labelled[1].duration_s / pace, abs=0.01)
        assert start <= loud[0] < start + 0.1
        assert end - 0.2 < loud[-1] <= end
    assert len(training.cases_of(paced[0], [])) * 2 == len(training.cases_of(sources[0], []))


def test_each_phrase_is_a_clip_at_each_level_labelled_where_it_is_audible() -> None:
    """Labels are to 10 ms."""
    spoken = list(training.synthetic_speech())

    assert len(spoken) == len(texts()) * len(training.LEVELS_DB)
    assert {each.name for each in spoken} == {training.SYNTHETIC}
    for each in spoken:
        recording, sound = each.labelled
        ((start_s, end_s),) = recording.speech
        assert recording.clips == [(0.0, sound.duration_s)]
        assert start_s >= training.QUIET_BEFORE_S
        assert sound.duration_s - end_s >= training.QUIET_AFTER_S
        bounds = [round(at * sound.rate_hz) for at in (start_s, end_s + 0.01)]
        before, said, after = (np.abs(part.astype(int)).max() for part in np.split(sound.samples, bounds))
        assert max(before, after) < said / 10
    loudest = [np.abs(each.labelled[1].samples.astype(int)).max() for each in spoken[: len(training.LEVELS_DB)]]
    assert 20 * np.log10(np.divide(loudest, loudest[0])) == pytest.approx(training.LEVELS_DB, abs=0.1)


@pytest.mark.parametrize("rate_hz", training.RATES_HZ)
def test_each_phrase_cuts_nearly_as_soon_as_without_the_probe(rate_hz: int) -> None:
    """With the weights that are installed: alone and behind speech, at each level, at most two windows later."""
    model, gain_db = SileroModel.load(rate_hz), DetectorSettings().model_gain_db
    cases: list[Case] = []
    for each in training.synthetic_speech():
        recording, sound = each.labelled
        beginning = msgspec.structs.replace(recording, clips=[(0.0, min(3.0, recording.duration_s))])
        cases += clips(beginning, sound, [Sound(phrase("question"), 16000)], phases=1)
    streams = [windows(case.sound(), model) for case in cases]
    for case, stream, judged in zip(cases, streams, answers(model, streams, gain_db), strict=True):
        without, delay = (
            delays_ms(
                case.trial(confirmations_ms(follow(stream, judged, DetectorSettings(ignore_coughs=on)).decisions))
            )[0]
            for on in (False, True)
        )
        assert without is not None, case.name
        assert delay is not None, case.name
        assert delay - without < 2 * WINDOW_MS + 1, case.name


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
    smaller = {"RATES_HZ": (16000,), "FOLDS": 2, "NOISY_COPIES": 1, "LEAD_IN_S": 1.0, "STEPS": 200, "LEVELS_DB": ()}
    for name, value in smaller.items():
        monkeypatch.setattr(training, name, value)
    for module in (training, cough_probe):
        monkeypatch.setattr(module, "WEIGHTS_FILE", tmp_path / "weights.json")

    training.main()

    content = msgspec.json.decode((tmp_path / "weights.json").read_bytes(), type=ProbeFile)
    assert content.sources == ["A Room (MIT)", "A Talker (CC0-1.0)", training.PHRASES_FROM]
    told = capsys.readouterr().out
    for expected in ("16000 Hz, without:", "left out by source:", "coughs, behind speech: 4 without speech:"):
        assert expected in told
    sources = training.read_sources(audio)
    again = list(training.hear(training.lessons_of(sources), SileroModel.load(16000)))
    assert training.train(again) == content.weights["16000"]
    probe = CoughProbe.load(16000)
    bounds: dict[str, list[float]] = {"words.wav": [], "coughs.wav": []}
    for each in again:
        if each.source.name in bounds and not each.source.change:
            bounds[each.source.name] += probe.bounds_of(each.states[each.lessons()[0]])
    assert np.median(bounds["coughs.wav"]) < np.median(bounds["words.wav"]) - training.BENEFIT_OF_DOUBT
