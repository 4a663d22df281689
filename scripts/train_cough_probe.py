#!/usr/bin/env python3
"""Train the cough probe, relay/media/cough_probe.json, on labelled recordings, and print cross-validated scores.

Needs two folders beside each other: the recordings ($RELAY_AUDIO_DIR, or ../shared/audio) and `audio_interrupt`, with
clips of coughs and of single words. Nothing random goes in, so the same recordings give the same weights, up to
rounding.

What is learned: whether a window that the model finds likely to be speech is speech, from the model's state behind it.
Each group of sources has the same weight: a file of clips is one, all other recordings are one. Speech also comes with
noise added, as speech in noise is what resembles a cough most. The bias is raised at the end by `BENEFIT_OF_DOUBT`:
missing a word is worse than hearing a cough.
"""

import datetime as dt
import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from relay.media.cough_probe import WEIGHTS_FILE, CoughProbe, ProbeFile, Weights, model_sha256
from relay.media.detector import WINDOW_MS, DetectorSettings
from relay.media.silero import STATE_SIZE, SileroModel
from relay.media.sound import Sound, convert
from relay.vad.analysis import confirmations_ms, follow, guesses_ms
from relay.vad.cases import Case, clips, whole
from relay.vad.evaluation import Trial, delays_ms
from relay.vad.labels import Labelled, read_folder
from relay.vad.sound import TELEPHONE_HZ, Answers, Route, run, windows
from relay.vad.voices import voices

Floats = NDArray[np.float64]

ABOUT = "Tells voices from coughs by the state of Silero VAD: 256 weights and a bias for each rate of the model."
FORMULA = "bound on the log-odds (natural) of a voice = sum(hidden * h) + sum(cell * c) + bias; h, c: the RNN state"
RATES_HZ = (16000, 8000)
RIDGE = 30.0
"""The penalty on the squared weights of standardised inputs."""
GROUP_WEIGHT = 2000.0
"""All windows of a group together weigh as much as so many."""
BENEFIT_OF_DOUBT = 3.0
"""Log-odds (natural)."""
LIKELY = 0.27
"""The model's probability from which on a window counts: what is less likely adds no evidence anyway."""
FIRST_S, BEGINNING_S, LATER_EACH = 0.03, 0.35, 5
"""From so long to so long after an onset each window of speech counts, as interruptions are decided there; later each
fifth."""
NOISES = ("hvac_fan", "keyboard", "music")
SNRS_DB = (0.0, 5.0, 10.0, 15.0)
NOISY_COPIES = 4
LEAD_IN_S = 7.5
"""The longest speech before a clip."""
FOLDS = 5
SIDE_BY_SIDE = 64


@dataclass(frozen=True, slots=True)
class Source:
    """A recording, and who or what made it: what has the same name is left out together."""

    labelled: Labelled
    name: str
    noisy: bool = False

    @property
    def group(self) -> tuple[str, bool]:
        return self.name if self.labelled[0].clips else "recordings", self.noisy


@dataclass(frozen=True, slots=True, eq=False)
class Heard:
    """A case as the model hears it: windows `[n, samples]`, their probabilities, the states behind them `[n, 256]`."""

    case: Case
    source: Source
    stream: NDArray[np.int16]
    probabilities: list[float]
    states: NDArray[np.float32]

    def lessons(self) -> tuple[NDArray[np.intp], bool]:
        """Return which windows are learned from, and whether they are speech."""
        recording = self.case.recording
        end_s = (np.arange(len(self.stream)) + 1) * WINDOW_MS / 1000 - self.case.from_s
        counts = (np.array(self.probabilities) > LIKELY) & (end_s > 0)
        if recording.speech:
            number = np.arange(len(end_s))
            within = np.zeros(len(end_s), bool)
            for start_s, stop_s in recording.speech:
                often = (end_s < start_s + BEGINNING_S) | (number % LATER_EACH == 0)
                within |= (end_s > start_s + FIRST_S) & (end_s <= stop_s) & often
            counts &= within
        return np.flatnonzero(counts), bool(recording.speech)


def read_sources(audio: Path) -> list[Source]:
    """Return the recordings of both folders that have exact labels. Raises `ConfigError` where one cannot be used."""
    sources = []
    for folder in folders(audio):
        names = {entry["file"]: entry.get("source", [{}])[0].get("from", entry["file"]) for entry in _entries(folder)}
        sources += [Source(each, names[each[0].file]) for each in read_folder(folder) if each[0].scored]
    return sources


def folders(audio: Path) -> tuple[Path, Path]:
    return audio, audio.parent / "audio_interrupt"


def provenance(audio: Path) -> list[str]:
    """Return whose recordings were learned from, each with its licence."""
    told = set()
    for entry in (entry for folder in folders(audio) for entry in _entries(folder)):
        of_file = ", ".join(entry.get("licence", []))
        for source in entry.get("source", [entry]):
            licence = of_file if source is entry else source.get("licence", of_file)
            if source.get("attribution"):
                told.add(f"{source['attribution']} ({licence})")
    return sorted(told)


def _entries(folder: Path) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = json.loads((folder / "labels.json").read_text(encoding="utf-8"))["files"]
    return entries


def with_noise(sources: Sequence[Source]) -> Iterator[Source]:
    """Return the speech again with noise in it: another noise, or another level of it, in each copy and clip."""
    noises = [
        convert(sound, TELEPHONE_HZ) for recording, sound in (s.labelled for s in sources) if recording.kind in NOISES
    ]
    turn = 0
    for source in sources if noises else []:
        recording, sound = source.labelled
        if not recording.speech or recording.kind == "speech_noisy":
            continue
        for _ in range(1 if recording.clips else NOISY_COPIES):
            mixed = convert(sound, TELEPHONE_HZ).samples.astype(np.float64)
            for start_s, end_s in recording.clips or [(0.0, recording.duration_s)]:
                part = mixed[round(start_s * TELEPHONE_HZ) : round(end_s * TELEPHONE_HZ)]
                speech = [(a, b) for a, b in recording.speech if start_s <= a < end_s]
                spoken = np.concatenate([mixed[round(a * TELEPHONE_HZ) : round(b * TELEPHONE_HZ)] for a, b in speech])
                noise = np.resize(np.roll(noises[turn % len(noises)].samples, -turn * 1000), len(part)).astype(float)
                snr_db = SNRS_DB[turn // len(noises) % len(SNRS_DB)]
                part += noise * np.sqrt(np.mean(spoken**2) / np.mean(noise**2) / 10 ** (snr_db / 10))
                turn += 1
            noisy = Sound(mixed.clip(-32768, 32767).astype(np.int16), TELEPHONE_HZ)
            yield Source((recording, noisy), source.name, noisy=True)


def cases_of(source: Source, voices_before: Sequence[Sound]) -> list[Case]:
    """Return each clip, alone and behind a voice, or the whole recording, in each phase of the windows."""
    if source.labelled[0].clips:
        return list(clips(*source.labelled, voices_before))
    routes = (Route.TELEPHONE,) if source.noisy else (Route.TELEPHONE, Route.WIDEBAND)
    return [case for route in routes for case in whole(*source.labelled, route)]


def hear(sources: Sequence[Source], model: SileroModel) -> Iterator[Heard]:
    """Run the model over every case of every source."""
    voices_before = voices([source.labelled for source in sources if not source.noisy], LEAD_IN_S)
    gain_db = DetectorSettings().model_gain_db
    for source in sources:
        cases = cases_of(source, voices_before)
        for first in range(0, len(cases), SIDE_BY_SIDE):
            some = cases[first : first + SIDE_BY_SIDE]
            streams = [windows(case.sound(), model) for case in some]
            judged: list[list[float]] = [[] for _ in some]
            states = [np.zeros((len(stream), 2 * STATE_SIZE), np.float32) for stream in streams]
            for running, probabilities, theirs in run(model, streams, gain_db):
                for number, probability, state in zip(running, probabilities, theirs, strict=True):
                    states[number][len(judged[number])] = state.rnn.ravel()
                    judged[number].append(probability)
            for case, stream, probabilities, states_after in zip(some, streams, judged, states, strict=True):
                yield Heard(case, source, stream, probabilities, states_after)


def fit(inputs: Floats, is_speech: NDArray[np.bool], weights: Floats) -> tuple[Floats, float]:
    """Return the weights and the bias of a logistic regression with a ridge penalty, by Newton's method."""
    mean, scale = inputs.mean(axis=0), inputs.std(axis=0) + 1e-6
    rows = np.column_stack(((inputs - mean) / scale, np.ones(len(inputs))))
    penalty = np.full(rows.shape[1], RIDGE)
    penalty[-1] = 0.0
    found = np.zeros(rows.shape[1])
    for _ in range(30):
        expected = 1 / (1 + np.exp(-(rows @ found)))
        slope = rows.T @ (weights * (expected - is_speech)) + penalty * found
        curve = (rows.T * (weights * expected * (1 - expected))) @ rows + np.diag(penalty)
        step = np.linalg.solve(curve, slope)
        found -= step
        if np.abs(step).max() < 1e-5:
            break
    return found[:-1] / scale, float(found[-1] - (found[:-1] * mean / scale).sum())


def train(heard: Sequence[Heard]) -> Weights:
    """Return the weights for what was heard, rounded as the file holds them."""
    lessons = [(each, *each.lessons()) for each in heard]
    sizes: Counter[tuple[str, bool]] = Counter()
    for each, numbers, _ in lessons:
        sizes[each.source.group] += len(numbers)
    inputs = np.concatenate([each.states[numbers] for each, numbers, _ in lessons]).astype(np.float64)
    is_speech = np.concatenate([np.full(len(numbers), speech) for _, numbers, speech in lessons])
    counts = np.concatenate(
        [np.full(len(numbers), GROUP_WEIGHT / max(1, sizes[each.source.group])) for each, numbers, _ in lessons]
    )
    weights, bias = fit(inputs, is_speech, counts)
    rounded = [float(f"{weight:.5g}") for weight in weights]
    return Weights(rounded[:STATE_SIZE], rounded[STATE_SIZE:], float(f"{bias + BENEFIT_OF_DOUBT:.5g}"))


def fold(each: Heard, names: Sequence[str], *, by_clip: bool) -> int:
    """Return the fold by which a case is left out: with its source, or, of clips, with a fifth of their file."""
    recording, _ = each.source.labelled
    if by_clip and recording.clips:
        return int(each.case.recording.file.rpartition("#")[2]) * FOLDS // len(recording.clips)
    return names.index(each.source.name) % FOLDS


def cross_validated(heard: Sequence[Heard], *, by_clip: bool) -> list[tuple[Heard, CoughProbe]]:
    """Return each case that has no noise added, with a probe trained without its fold."""
    names = sorted({each.source.name for each in heard})
    result = []
    for number in range(FOLDS):
        inside = [fold(each, names, by_clip=by_clip) == number for each in heard]
        probe = CoughProbe(train([each for each, left_out in zip(heard, inside, strict=True) if not left_out]))
        result += [
            (each, probe) for each, left_out in zip(heard, inside, strict=True) if left_out and not each.source.noisy
        ]
    return result


def scores(judged: Sequence[tuple[Heard, CoughProbe | None]]) -> dict[str, str]:
    """Return the figures of each group of cases."""
    trials: dict[str, list[tuple[Trial, Trial]]] = {}
    for each, probe in judged:
        group = each.case.group
        name = f"{group.kind}, {group.condition}" if group.is_clip else f"recordings, {group.route}"
        bounds = probe.bounds_of(each.states) if probe else [inf] * len(each.probabilities)
        decisions = follow(each.stream, Answers(each.probabilities, bounds), DetectorSettings()).decisions
        pauses, cuts = guesses_ms(decisions), confirmations_ms(decisions)
        trials.setdefault(name, []).append((each.case.trial(pauses), each.case.trial(cuts)))
    return {name: _figures(those) for name, those in trials.items()}


def _figures(trials: Sequence[tuple[Trial, Trial]]) -> str:
    delays = [delay for _, cuts in trials for delay in delays_ms(cuts)]
    found = [delay for delay in delays if delay is not None]
    silent = [(pauses, cuts) for pauses, cuts in trials if not cuts.recording.speech]
    told = []
    if found:
        median, p95 = np.percentile(found, [50, 95])
        told.append(f"{len(delays) - len(found)} of {len(delays)} missed, cut at {median:.0f}, 95 % {p95:.0f} ms")
    if silent:
        shares = [100 * sum(bool(trial.starts_s) for trial in each) / len(silent) for each in zip(*silent, strict=True)]
        told.append(f"{len(silent)} without speech: {shares[0]:.1f} % paused, {shares[1]:.1f} % cut")
    return "; ".join(told)


def main() -> None:
    audio = Path(os.environ.get("RELAY_AUDIO_DIR") or Path(__file__).resolve().parents[2] / "shared" / "audio")
    sources = read_sources(audio)
    weights = {}
    for rate_hz in RATES_HZ:
        heard = list(hear([*sources, *with_noise(sources)], SileroModel.load(rate_hz)))
        plain: list[tuple[Heard, CoughProbe | None]] = [(each, None) for each in heard if not each.source.noisy]
        tables = {
            "without": scores(plain),
            "left out by fifths of the clips": scores(cross_validated(heard, by_clip=True)),
            "left out by source": scores(cross_validated(heard, by_clip=False)),
        }
        for title, table in tables.items():
            print(
                f"{rate_hz} Hz, {title}:",
                *(f"  {name}: {figures}" for name, figures in sorted(table.items())),
                sep="\n",
            )
        weights[str(rate_hz)] = train(heard)
    content = ProbeFile(
        about=ABOUT,
        formula=FORMULA,
        script="scripts/train_cough_probe.py",
        trained=dt.datetime.now(dt.UTC).date().isoformat(),
        sources=provenance(audio),
        model_sha256=model_sha256(),
        weights=weights,
    )
    WEIGHTS_FILE.write_text(written(content), encoding="utf-8")


def written(content: ProbeFile) -> str:
    """Return the file's text: a line for each field."""
    lines = [f' "{name}": {json.dumps(value)}' for name, value in msgspec.to_builtins(content).items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


if __name__ == "__main__":
    main()
