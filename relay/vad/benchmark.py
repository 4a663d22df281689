"""Measures the detector on folders of labelled recordings; beside it, itself without the cough probe, and the plain
rules that are usual elsewhere."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import msgspec

from relay.errors import ConfigError
from relay.media.detector import DetectorSettings
from relay.media.echo_control import EchoControl
from relay.media.silero import SileroModel
from relay.vad.cases import CLIP_PHASES, LEAD_IN_S, RECORDING_PHASES, Case, clips, whole
from relay.vad.decisions import Decisions, judged_by
from relay.vad.echo_cases import ECHO_KINDS, echo_cases
from relay.vad.figures import Figures, by_kind, by_source, figures, together
from relay.vad.judging import Judged, judge_all
from relay.vad.labels import Labelled, read_folder
from relay.vad.made_up import MADE_UP, made_up
from relay.vad.made_up import names as made_up_names
from relay.vad.material import Material, material
from relay.vad.plain_rule import PlainRule
from relay.vad.sound import Route
from relay.vad.voices import voices

PLAIN_RULES: tuple[PlainRule, ...] = ((0.5, 1), (0.5, 3), (0.7, 6))
RELAY, WITHOUT_PROBE = "relay", "no cough probe"

Progress = Callable[[int, int], object]
"""Told how many streams of how many are judged."""


class DetectorFigures(msgspec.Struct, frozen=True):
    """The figures of one detector: all that was recorded together, by kind of sound, by source."""

    name: str
    together: list[Figures]
    kinds: list[Figures]
    sources: list[Figures]


class RelaySettings(msgspec.Struct, frozen=True):
    """The settings that the relay's own detector was evaluated with."""

    model_rate_hz: int
    threshold: float
    noise_reduction: bool


class Evaluation(msgspec.Struct, frozen=True):
    """The figures of each detector, and what they were measured on. `relay` is None if another detector decided."""

    folders: list[str]
    relay: RelaySettings | None
    recording_phases: int
    clip_phases: int
    material: list[Material]
    detectors: list[DetectorFigures]

    def as_json(self) -> dict[str, Any]:
        return dict(msgspec.to_builtins(self))


@dataclass(frozen=True, slots=True, eq=False)
class Collection:
    """All recordings of some folders and the made-up sounds, and the cases that are made of them."""

    folders: Sequence[Path]
    labelled: Sequence[Labelled]
    cases: Sequence[Case]


def collect(folders: Sequence[Path], sources: Sequence[str] = (), *, echo: bool = False) -> Collection:
    """Read the recordings that the folders' `labels.json` name; `echo` adds cases of echoes.

    `sources` are kinds of sound or names of recordings, without their suffix; there are cases of these only. Raises
    `ConfigError` for labels that are missing or make no sense, for recordings of one name, for a kind that is made
    here, and for a source that there is none of; `FormatMismatch` or `OSError` for a recording.
    """
    recorded = [each for folder in folders for each in read_folder(folder)]
    names = Counter(PurePath(recording.file).stem for recording, _ in recorded)
    if twice := [name for name, times in names.items() if times > 1]:
        raise ConfigError(f"several recordings are called {twice[0]}; give each a name of its own")
    if taken := [recording for recording, _ in recorded if recording.kind in {MADE_UP, *ECHO_KINDS}]:
        raise ConfigError(
            f"{taken[0].file} is of the kind {taken[0].kind}, which is made here; call its kind otherwise"
        )
    invented = list(made_up([name for name in made_up_names() if not sources or {MADE_UP, name} & set(sources)]))
    cases = [*recorded_cases(recorded), *made_up_cases(invented, recorded)]
    if echo:
        cases += echo_cases(recorded, lambda: EchoControl("auto"))
    return Collection(folders, [*recorded, *invented], chosen(cases, sources))


def evaluate(
    collection: Collection,
    settings: DetectorSettings | None = None,
    model: SileroModel | None = None,
    *,
    plain_rules: Sequence[PlainRule] = PLAIN_RULES,
    reduce_noise: bool = False,
    progress: Progress = lambda _done, _of: None,
) -> Evaluation:
    """Have the detector, with and without the cough probe, and the plain rules judge all cases: some 0.5 s of CPU for a
    minute of sound."""
    settings = settings or DetectorSettings()
    model = model or SileroModel.load(16000)
    judged = []
    for number, each in enumerate(
        judge_all(collection.cases, model, settings, plain_rules, reduce_noise=reduce_noise), 1
    ):
        judged.append(each)
        progress(number, len(collection.cases))
    names = [RELAY, WITHOUT_PROBE, *(f"{threshold:g}, {in_a_row} in a row" for threshold, in_a_row in plain_rules)]
    of_relay = RelaySettings(model.rate_hz, settings.threshold, reduce_noise)
    return _evaluation(collection, dict(zip(names, zip(*judged, strict=True), strict=True)), of_relay)


def evaluate_decisions(collection: Collection, decisions: Decisions) -> Evaluation:
    """Score what another detector decided. Raises `ConfigError` if it said nothing of a case."""
    return _evaluation(collection, {decisions.detector: judged_by(decisions, collection.cases)}, None)


def _evaluation(
    collection: Collection, judged: Mapping[str, Sequence[Judged]], of_relay: RelaySettings | None
) -> Evaluation:
    return Evaluation(
        folders=[str(folder) for folder in collection.folders],
        relay=of_relay,
        recording_phases=RECORDING_PHASES,
        clip_phases=CLIP_PHASES,
        material=material(collection.labelled, collection.cases),
        detectors=[detector_figures(name, those) for name, those in judged.items()],
    )


def recorded_cases(labelled: Sequence[Labelled]) -> Iterator[Case]:
    """Return the cases of all recordings, in their order."""
    before = voices(labelled, LEAD_IN_S)
    for recording, sound in labelled:
        if recording.clips:
            yield from clips(recording, sound, before)
        else:
            yield from whole(recording, sound, Route.TELEPHONE)
            yield from whole(recording, sound, Route.WIDEBAND)


def made_up_cases(invented: Sequence[Labelled], labelled: Sequence[Labelled]) -> Iterator[Case]:
    """Return the cases of made-up sounds, behind the same voices."""
    before = voices(labelled, LEAD_IN_S)
    for recording, sound in invented:
        yield from clips(recording, sound, before, phases=1)


def chosen(cases: Sequence[Case], sources: Sequence[str]) -> list[Case]:
    """Return the cases of these kinds or recordings; all if none is named. Raises `ConfigError` for an unknown one."""
    known = {name for case in cases for name in (case.group.kind, case.group.source)} | {MADE_UP, *made_up_names()}
    for source in sources:
        if source not in known:
            raise ConfigError(
                f"no recording and no kind of sound is called {source} (known: {', '.join(sorted(known))})"
            )
    return [case for case in cases if not sources or {case.group.kind, case.group.source} & set(sources)]


def detector_figures(name: str, judged: Sequence[Judged]) -> DetectorFigures:
    """Score what one detector made of all cases."""
    return DetectorFigures(name, *(figures(judged, joined) for joined in (together, by_kind, by_source)))
