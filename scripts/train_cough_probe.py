#!/usr/bin/env python3
"""Train the cough probe, relay/media/cough_probe.json, on labelled recordings, and print cross-validated scores.

Needs two folders beside each other: the recordings ($RELAY_AUDIO_DIR, or ../shared/audio) and `audio_interrupt`, with
clips of coughs and of single words. All chance comes from one seed, so the same recordings give the same weights, up to
rounding.

What is learned: whether a window that the model finds likely to be speech is speech, from the model's state behind it.
Each group of sources has its weight: a file of clips is one, all other recordings are one. Speech also comes with noise
added, as speech in noise is what resembles a cough most, and played faster and slower, which makes other voices of
those that there are. The bias is raised at the end by `BENEFIT_OF_DOUBT`: missing a word is worse than hearing a cough.
"""

import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from math import inf
from pathlib import Path
from typing import Any

# Before numpy, whose library it keeps from starting threads: on a busy machine they wait for each other for minutes.
import relay  # noqa: F401 # isort: skip
import msgspec
import numpy as np
from numpy.typing import NDArray

from relay.media.cough_probe import INPUTS, WEIGHTS_FILE, CoughProbe, ProbeFile, Weights
from relay.media.detector import WINDOW_MS, DetectorSettings
from relay.media.silero import MODEL_SHA256, SileroModel
from relay.media.sound import Sound, convert
from relay.standin import phrases
from relay.vad.analysis import confirmations_ms, follow, guesses_ms
from relay.vad.cases import CLIP_PHASES, Case, clips, line_noise, whole
from relay.vad.evaluation import Recording, Trial, delays_ms
from relay.vad.labels import Labelled, read_folder
from relay.vad.sound import TELEPHONE_HZ, Answers, Route, run, windows
from relay.vad.voices import voices

Floats = NDArray[np.float32]
RECORDINGS, NOISE = "recordings", "in noise"
SYNTHETIC = "phrases"
"""The phrases of the stand-ins: left out together."""
PHRASES_FROM = "phrases of relay/standin, spoken by espeak-ng (scripts/make_speech.py)"

ABOUT = "Tells voices from coughs by the state of Silero VAD, for each rate of the model."
FORMULA = (
    "bound on the log-odds (natural) of a voice = outward . tanh(inward s + offsets) + direct . s + bias; "
    "s: the RNN state, hidden half first"
)
RATES_HZ = (16000, 8000)
HIDDEN_UNITS = 16
SEED = 1
STEPS, BATCH, RATE, DECAY = 1000, 1024, 2e-3, 0.01
"""Of Adam with decoupled weight decay (I. Loshchilov and F. Hutter, 2019); the rate falls to 0 in a straight line."""
RECORDINGS_WEIGHT = 2.0
"""All windows of the recordings together weigh so much more than those of a file of clips."""
BENEFIT_OF_DOUBT = 2.5
"""Log-odds (natural)."""
LIKELY = 0.27
"""The model's probability from which on a window counts: what is less likely adds no evidence anyway."""
FIRST_S, BEGINNING_S, LATER_EACH = 0.03, 0.35, 5
"""From so long to so long after an onset each window of speech counts, as interruptions are decided there; later each
fifth."""
NOISES = ("hvac_fan", "keyboard", "music")
SNRS_DB = (0.0, 5.0, 10.0, 15.0)
NOISY_COPIES = 4
PACES, CLIP_PACES = (0.75, 0.85, 1.18, 1.3), (0.85, 1.18)
"""How many times as fast speech is played; it becomes as many times higher. There are more voices in the clips."""
LEVELS_DB = (0.0, -10.0, -18.0)
"""Of the phrases, against how they are stored."""
QUIET_BEFORE_S, QUIET_AFTER_S = 1.0, 0.6
"""Around a phrase, as around the clips of words."""
AUDIBLE = 0.03
"""Of the loudest 10 ms of a phrase: from the first to the last that are so loud, somebody speaks."""
LEAD_IN_S = 7.5
"""The longest speech before a clip."""
FOLDS = 5
SIDE_BY_SIDE = 64


@dataclass(frozen=True, slots=True)
class Source:
    """A recording, and who or what made it: what has the same name is left out together."""

    labelled: Labelled
    name: str
    change: str = ""
    """What was done to it, if it is not as it was recorded."""

    @property
    def group(self) -> tuple[str, str]:
        return self.name if self.labelled[0].clips else RECORDINGS, self.change


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


def synthetic_speech() -> Iterator[Source]:
    """Return the phrases of the stand-ins at several levels, each as a clip with quiet around it."""
    for name in phrases.texts():
        phrase = phrases.phrase(name)
        rate_hz = phrase.rate_hz
        samples = phrase.samples.astype(np.float64)
        blocks = samples[: len(samples) // (rate_hz // 100) * (rate_hz // 100)].reshape(-1, rate_hz // 100)
        loudness = np.sqrt(np.mean(blocks**2, axis=1))
        audible = np.flatnonzero(loudness > AUDIBLE * loudness.max())
        spoken = (QUIET_BEFORE_S + audible[0] / 100, QUIET_BEFORE_S + (audible[-1] + 1) / 100)
        for level_db in LEVELS_DB:
            quieter = (samples * 10 ** (level_db / 20)).round().astype(np.int16)
            sound = Sound(
                np.concatenate((line_noise(QUIET_BEFORE_S, rate_hz), quieter, line_noise(QUIET_AFTER_S, rate_hz))),
                rate_hz,
            )
            recording = Recording(
                file=f"{name} at {level_db:g} dB",
                duration_s=sound.duration_s,
                kind=SYNTHETIC,
                speech=[spoken],
                clips=[(0.0, sound.duration_s)],
            )
            yield Source((recording, sound), SYNTHETIC)


def folders(audio: Path) -> tuple[Path, Path]:
    return audio, audio.parent / "audio_interrupt"


def provenance(audio: Path) -> list[str]:
    """Return whose recordings were learned from, each with its licence."""
    told = {PHRASES_FROM}
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
            yield Source((recording, noisy), source.name, NOISE)


def at_other_paces(sources: Sequence[Source]) -> Iterator[Source]:
    """Return the speech again, faster and slower."""
    for pace in PACES:
        for source in sources:
            recording, sound = source.labelled
            if recording.speech and (pace in CLIP_PACES or not recording.clips):
                at = np.arange(0, len(sound.samples) - 1, pace)
                samples = np.interp(at, np.arange(len(sound.samples)), sound.samples).round().astype(np.int16)
                changed = msgspec.structs.replace(
                    recording,
                    duration_s=recording.duration_s / pace,
                    speech=[(start / pace, end / pace) for start, end in recording.speech],
                    clips=[(start / pace, end / pace) for start, end in recording.clips],
                )
                yield Source((changed, Sound(samples, sound.rate_hz)), source.name, f"{pace:g} times as fast")


def lessons_of(sources: Sequence[Source]) -> list[Source]:
    """Return all that is learned from."""
    return [*sources, *with_noise(sources), *at_other_paces(sources)]


def cases_of(source: Source, voices_before: Sequence[Sound]) -> list[Case]:
    """Return each clip, alone and behind a voice, or the whole recording, in each phase of the windows.

    What was changed is there in half of the phases, and speech in noise by telephone only.
    """
    every = 2 if source.change else 1
    if source.labelled[0].clips:
        return list(clips(*source.labelled, voices_before, phases=CLIP_PHASES // every))
    routes = (Route.TELEPHONE,) if source.change == NOISE else (Route.TELEPHONE, Route.WIDEBAND)
    return [case for route in routes for case in islice(whole(*source.labelled, route), None, None, every)]


def hear(sources: Sequence[Source], model: SileroModel) -> Iterator[Heard]:
    """Run the model over every case of every source."""
    voices_before = voices([source.labelled for source in sources if not source.change], LEAD_IN_S)
    gain_db = DetectorSettings().model_gain_db
    for source in sources:
        cases = cases_of(source, voices_before)
        for first in range(0, len(cases), SIDE_BY_SIDE):
            some = cases[first : first + SIDE_BY_SIDE]
            streams = [windows(case.sound(), model) for case in some]
            judged: list[list[float]] = [[] for _ in some]
            states = [np.zeros((len(stream), INPUTS), np.float32) for stream in streams]
            for running, probabilities, theirs in run(model, streams, gain_db):
                for number, probability, state in zip(running, probabilities, theirs, strict=True):
                    states[number][len(judged[number])] = state.rnn.ravel()
                    judged[number].append(probability)
            for case, stream, probabilities, states_after in zip(some, streams, judged, states, strict=True):
                yield Heard(case, source, stream, probabilities, states_after)


def fit(inputs: Floats, is_speech: NDArray[np.bool], counts: Floats) -> tuple[list[Floats], Floats]:
    """Return inward, offsets, outward and direct weights, and the bias, of a logistic regression with hidden units.

    `inputs` is `[n, anything]`, and each row counts as often as `counts` says.
    """
    chance = np.random.default_rng(SEED)
    mean, scale = inputs.mean(axis=0), inputs.std(axis=0) + np.float32(1e-6)
    rows, wanted, counts = (inputs - mean) / scale, is_speech.astype(np.float32), counts / counts.mean()
    width = inputs.shape[1]
    shapes = (width, HIDDEN_UNITS), (HIDDEN_UNITS,), (HIDDEN_UNITS,), (width,), ()
    spreads = width**-0.5, 0.0, HIDDEN_UNITS**-0.5, 0.0, 0.0
    found = [chance.normal(0, spread, shape).astype(np.float32) for shape, spread in zip(shapes, spreads, strict=True)]
    firsts, seconds = ([np.zeros_like(each) for each in found] for _ in range(2))
    for step in range(1, STEPS + 1):
        drawn = chance.integers(0, len(rows), BATCH)
        batch, (inward, offsets, outward, direct, bias) = rows[drawn], found
        units = np.tanh(batch @ inward + offsets)
        expected = 1 / (1 + np.exp(-(units @ outward + batch @ direct + bias)))
        error = counts[drawn] * (expected - wanted[drawn]) / np.float32(BATCH)
        back = np.outer(error, outward) * (1 - units**2)
        slopes = batch.T @ back, back.sum(axis=0), units.T @ error, batch.T @ error, error.sum()
        rate = RATE * (1 - step / STEPS)
        for number, slope in enumerate(slopes):
            firsts[number] = 0.9 * firsts[number] + 0.1 * slope
            seconds[number] = 0.999 * seconds[number] + 0.001 * slope**2
            move = firsts[number] / (1 - 0.9**step) / (np.sqrt(seconds[number] / (1 - 0.999**step)) + 1e-8)
            found[number] = (found[number] - rate * (move + DECAY * found[number])).astype(np.float32)
    inward, offsets, outward, direct, bias = found
    inward, direct = inward / scale[:, None], direct / scale
    return [inward, offsets - mean @ inward, outward, direct], bias - mean @ direct


def train(heard: Sequence[Heard]) -> Weights:
    """Return the weights for what was heard, rounded as the file holds them."""
    lessons = [(each, *each.lessons()) for each in heard]
    sizes: Counter[tuple[str, str]] = Counter()
    for each, numbers, _ in lessons:
        sizes[each.source.group] += len(numbers)
    inputs = np.concatenate([each.states[numbers] for each, numbers, _ in lessons])
    is_speech = np.concatenate([np.full(len(numbers), speech) for _, numbers, speech in lessons])
    counts = np.concatenate(
        [np.full(len(numbers), _weight(each.source) / max(1, sizes[each.source.group])) for each, numbers, _ in lessons]
    )
    (inward, offsets, outward, direct), bias = fit(inputs, is_speech, counts.astype(np.float32))
    return Weights(
        [_rounded(row) for row in inward.T],
        _rounded(offsets),
        _rounded(outward),
        _rounded(direct),
        *_rounded(np.array([bias + BENEFIT_OF_DOUBT])),
    )


def _weight(source: Source) -> float:
    return RECORDINGS_WEIGHT if source.group[0] == RECORDINGS else 1.0


def _rounded(numbers: NDArray[Any]) -> list[float]:
    return [float(f"{number:.5g}") for number in numbers.tolist()]


def fold(each: Heard, names: Sequence[str], *, by_clip: bool) -> int:
    """Return the fold by which a case is left out: with its source, or, of clips, with a fifth of their file."""
    recording, _ = each.source.labelled
    if by_clip and len(recording.clips) > 1:
        return int(each.case.recording.file.rpartition("#")[2]) * FOLDS // len(recording.clips)
    return names.index(each.source.name) % FOLDS


def cross_validated(heard: Sequence[Heard], *, by_clip: bool) -> list[tuple[Heard, CoughProbe]]:
    """Return each case that is as it was recorded, with a probe trained without its fold."""
    names = sorted({each.source.name for each in heard})
    result = []
    for number in range(FOLDS):
        inside = [fold(each, names, by_clip=by_clip) == number for each in heard]
        probe = CoughProbe(train([each for each, left_out in zip(heard, inside, strict=True) if not left_out]))
        result += [
            (each, probe) for each, left_out in zip(heard, inside, strict=True) if left_out and not each.source.change
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
    sources = [*read_sources(audio), *synthetic_speech()]
    weights = {}
    for rate_hz in RATES_HZ:
        heard = list(hear(lessons_of(sources), SileroModel.load(rate_hz)))
        plain: list[tuple[Heard, CoughProbe | None]] = [(each, None) for each in heard if not each.source.change]
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
                flush=True,
            )
        weights[str(rate_hz)] = train(heard)
    content = ProbeFile(
        about=ABOUT,
        formula=FORMULA,
        script="scripts/train_cough_probe.py",
        sources=provenance(audio),
        model_sha256=MODEL_SHA256,
        weights=weights,
    )
    WEIGHTS_FILE.write_text(written(content), encoding="utf-8")


def written(content: ProbeFile) -> str:
    """Return the file's text: a line for each field."""
    lines = [f' "{name}": {json.dumps(value)}' for name, value in msgspec.to_builtins(content).items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


if __name__ == "__main__":
    main()
