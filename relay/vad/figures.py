"""Turns the starts of a detector into shares, rates and delays with their intervals.

Hearings of one clip, one onset or one recording (in several window phases, behind several voices) are no independent
cases: their mean counts as one. So intervals are by clip, by onset and by recording.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import msgspec
import numpy as np
from numpy.typing import NDArray

from relay.vad.cases import Group
from relay.vad.echo_cases import ECHO_KINDS
from relay.vad.evaluation import Trial, delays_ms
from relay.vad.intervals import Interval, cluster_bootstrap, poisson, wilson
from relay.vad.judging import Judged
from relay.vad.made_up import MADE_UP

Floats = NDArray[np.float64]
RECORDED = "recorded"
PERCENTILES = (50.0, 90.0, 95.0)


class Proportion(msgspec.Struct, frozen=True):
    """The part of `of` clips or onsets for which something holds, and Wilson's interval."""

    share: float
    of: int
    interval: Interval


class EventRate(msgspec.Struct, frozen=True):
    """Events a minute, with the exact Poisson interval; `by_recording` is that of the cluster bootstrap.

    `events` is the mean number in one hearing of all recordings, which last for `minutes`.
    """

    per_minute: float
    events: float
    minutes: float
    interval: Interval
    by_recording: Interval | None


class Delays(msgspec.Struct, frozen=True):
    """Percentiles of the delays of all hearings that found the onset. Intervals by the cluster bootstrap."""

    median_ms: float
    p90_ms: float
    p95_ms: float
    median_interval_ms: Interval | None
    p90_interval_ms: Interval | None
    p95_interval_ms: Interval | None


class StageFigures(msgspec.Struct, frozen=True):
    """The figures of one stage: a pause, or a cut. What cannot be told of these cases is None.

    `clips` is the share of clips without speech in which it happened, `false` how often it happened outside speech,
    `missed` the share of onsets at which it did not happen, `delay` how late it did.
    """

    clips: Proportion | None
    false: EventRate | None
    missed: Proportion | None
    delay: Delays | None


class Figures(msgspec.Struct, frozen=True):
    """The figures of some cases: of one kind, or of one source if `source` is not empty.

    `units` is the number of clips or recordings, `minutes` their length without what was heard before them.
    """

    kind: str
    source: str
    route: str
    condition: str
    units: int
    minutes: float
    pause: StageFigures
    cut: StageFigures


def by_source(group: Group) -> Group:
    return group


def by_kind(group: Group) -> Group:
    return replace(group, source="")


def together(group: Group) -> Group:
    """All that was recorded is one. What was made up, echoes, routes and conditions stay apart."""
    return replace(group, source="", kind=group.kind if group.kind in {MADE_UP, *ECHO_KINDS} else RECORDED)


def figures(judged: Sequence[Judged], joined: Callable[[Group], Group]) -> list[Figures]:
    """Score all groups that `joined` makes one as one, in the order of their appearance."""
    groups: dict[Group, list[Judged]] = {}
    for each in judged:
        groups.setdefault(joined(each.case.group), []).append(each)
    return [_figures(group, those) for group, those in groups.items()]


def _figures(group: Group, judged: Sequence[Judged]) -> Figures:
    units = {each.case.recording.file: each.case.recording.duration_s for each in judged}
    pause = stage([each.pauses for each in judged], clips=group.is_clip)
    cut = stage([each.cuts for each in judged], clips=group.is_clip)
    return Figures(
        group.kind, group.source, group.route, group.condition, len(units), sum(units.values()) / 60, pause, cut
    )


def stage(trials: Iterable[Trial], *, clips: bool) -> StageFigures:
    """Score hearings of clips, or of whole recordings. Those of one `recording.file` are hearings of the same."""
    units: dict[str, list[Trial]] = {}
    for trial in trials:
        units.setdefault(trial.recording.file, []).append(trial)
    scored = [unit for unit in units.values() if unit[0].recording.scored]
    counted = [unit for unit in scored if unit[0].recording.count_false_starts]
    delays = [_onset_delays(unit) for unit in scored]
    return StageFigures(
        clips=_happened([unit for unit in counted if not unit[0].recording.speech]) if clips else None,
        false=_false(counted),
        missed=_missed(delays),
        delay=_delay(delays),
    )


def _happened(units: Sequence[Sequence[Trial]]) -> Proportion | None:
    return _share([float(np.mean([bool(trial.starts_s) for trial in unit])) for unit in units])


def _missed(delays: Sequence[Floats]) -> Proportion | None:
    return _share([float(part) for unit in delays for part in np.isnan(unit).mean(axis=0)])


def _share(parts: Sequence[float]) -> Proportion | None:
    if not parts:
        return None
    share = float(np.mean(parts))
    return Proportion(share, len(parts), wilson(share, len(parts)))


def _false(units: Sequence[Sequence[Trial]]) -> EventRate | None:
    counted = [unit for unit in units if unit[0].recording.without_speech_s()]
    if not counted:
        return None
    events = np.array([np.mean([_false_starts(trial) for trial in unit]) for unit in counted])
    minutes = np.array([unit[0].recording.without_speech_s() / 60 for unit in counted])
    whole = float(minutes.sum())
    intervals = cluster_bootstrap(len(counted), lambda drawn: np.array([events[drawn].sum() / minutes[drawn].sum()]))
    count = float(events.sum())
    low, high = poisson(count)
    return EventRate(count / whole, count, whole, (low / whole, high / whole), intervals[0] if intervals else None)


def _false_starts(trial: Trial) -> int:
    return sum(trial.recording.is_false(at) for at in trial.starts_s)


def _onset_delays(unit: Sequence[Trial]) -> Floats:
    """Return the delays of one recording or clip, `[hearings, onsets]`; NaN for a miss."""
    return np.array([[np.nan if ms is None else ms for ms in delays_ms(trial)] for trial in unit])


def _delay(delays: Sequence[Floats]) -> Delays | None:
    with_onsets = [unit.ravel() for unit in delays if unit.size]
    found = [unit[~np.isnan(unit)] for unit in with_onsets]
    if not any(len(unit) for unit in found):
        return None
    median, p90, p95 = _percentiles(found).tolist()
    intervals = cluster_bootstrap(len(found), lambda drawn: _percentiles([found[number] for number in drawn]))
    return Delays(median, p90, p95, *(intervals or (None, None, None)))


def _percentiles(units: Sequence[Floats]) -> Floats:
    found = np.concatenate(units)
    return np.percentile(found, PERCENTILES) if len(found) else np.full(len(PERCENTILES), np.nan)
