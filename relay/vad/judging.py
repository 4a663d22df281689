"""Runs the detector over cases, as a call would, many streams side by side."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from relay.media.detector import DetectorSettings
from relay.media.silero import SileroModel
from relay.vad.analysis import confirmations_ms, follow, guesses_ms
from relay.vad.cases import Case
from relay.vad.evaluation import Trial
from relay.vad.plain_rule import PlainRule, plain_starts_ms
from relay.vad.sound import answers, windows

SIDE_BY_SIDE = 64
"""Streams in memory at a time; the model takes no more time for each from here on."""


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """The starts in a case's stretch, in seconds from its beginning: where the assistant was paused, and where cut."""

    case: Case
    pauses: Trial
    cuts: Trial


def judge(
    cases: Sequence[Case],
    model: SileroModel,
    settings: DetectorSettings | None = None,
    *,
    reduce_noise: bool = False,
) -> Iterator[Judged]:
    """Return what the detector makes of each case, in their order. A minute of sound takes about 0.2 s of CPU."""
    return (judged for judged, *_ in judge_all(cases, model, settings, reduce_noise=reduce_noise))


def judge_all(
    cases: Sequence[Case],
    model: SileroModel,
    settings: DetectorSettings | None = None,
    rules: Sequence[PlainRule] = (),
    *,
    reduce_noise: bool = False,
) -> Iterator[list[Judged]]:
    """Return what the detector makes of each case, behind it what it would make without the cough probe, and what each
    plain rule does, whose one stage cuts."""
    settings = settings or DetectorSettings()
    without_probe = replace(settings, ignore_coughs=False)
    for first in range(0, len(cases), SIDE_BY_SIDE):
        some = cases[first : first + SIDE_BY_SIDE]
        streams = [windows(case.sound(), model, reduce_noise=reduce_noise) for case in some]
        amplified = answers(model, streams, settings.model_gain_db)
        plain = answers(model, streams, 0.0) if rules else amplified
        for case, stream, loud, soft in zip(some, streams, amplified, plain, strict=True):
            decided = [follow(stream, loud, those).decisions for those in (settings, without_probe)]
            trials = [case.trial(plain_starts_ms(soft.probabilities, rule)) for rule in rules]
            yield [
                *(Judged(case, case.trial(guesses_ms(it)), case.trial(confirmations_ms(it))) for it in decided),
                *(Judged(case, trial, trial) for trial in trials),
            ]
