"""Lays the figures of an evaluation out in tables that fit a terminal of 80 columns."""

from collections.abc import Iterator, Sequence

from rich.table import Table

from relay.vad.benchmark import DetectorFigures, Evaluation
from relay.vad.cases import ALONE, BEHIND_SPEECH
from relay.vad.echo_cases import CALLER_OVER_ECHO, ECHO_ALONE, ECHO_KINDS, WITH_CONTROL
from relay.vad.figures import RECORDED, Delays, EventRate, Figures, Proportion
from relay.vad.sound import Route

NOTHING = "-"
TEXT_COLUMNS = 2
SHORT = {
    str(Route.TELEPHONE): "telephone",
    str(Route.WIDEBAND): "wideband",
    BEHIND_SPEECH: "behind",
    WITH_CONTROL: "controlled",
}

Rows = Sequence[tuple[str, Figures]]


def tables(evaluation: Evaluation) -> Iterator[Table]:
    """Return what was heard, then the figures of the first detector, then all detectors beside each other.

    What there is nothing of has no table.
    """
    first = evaluation.detectors[0]
    rows = list(_with_sources(first))
    echoes = [(each.condition, each) for each in first.kinds if each.kind == ECHO_ALONE]
    over_echoes = [(each.condition, each) for each in first.kinds if each.kind == CALLER_OVER_ECHO]
    laid_out = (
        _material_table(evaluation),
        _clips_table(rows),
        _rates_table("outside speech: starts a minute, 95 %", rows),
        _onsets_table("speech: onsets never cut, 95 %; delay in ms, median/90/95 %", rows),
        _rates_table("the assistant's own echo: starts a minute, 95 %", echoes),
        _onsets_table("a word over the echo: never cut, 95 %; delay in ms, median/90/95 %", over_echoes),
        _detectors_table(evaluation.detectors),
    )
    return (table for table in laid_out if table.row_count)


def _with_sources(detector: DetectorFigures) -> Iterator[tuple[str, Figures]]:
    """Return each kind with its name, and on the telephone behind it its sources if it has several."""
    for kind in detector.kinds:
        if kind.kind in ECHO_KINDS:
            continue
        yield kind.kind, kind
        way = (kind.kind, kind.route, kind.condition)
        sources = [each for each in detector.sources if (each.kind, each.route, each.condition) == way]
        if len(sources) > 1 and kind.route == Route.TELEPHONE:
            yield from ((f"  {each.source}", each) for each in sources)


def _material_table(evaluation: Evaluation) -> Table:
    table = _table("minutes without speech", "", "sources", "different", "audible", "heard in all")
    for name, made_up in (("recorded", False), ("made up", True)):
        those = [each for each in evaluation.material if each.made_up == made_up]
        minutes = (
            sum(each.minutes for each in those),
            sum(each.audible_minutes for each in those),
            sum(each.heard_minutes for each in those),
        )
        table.add_row(name, str(len(those)), *(f"{each:.1f}" for each in minutes))
    return table


def _clips_table(rows: Rows) -> Table:
    table = _table("clips without speech: share of them, 95 %", "kind", "heard", "clips", "paused", "cut")
    for name, row in rows:
        if row.pause.clips and row.cut.clips:
            shares = (_share(row.pause.clips), _share(row.cut.clips))
            table.add_row(name, _heard(row), str(row.cut.clips.of), *shares)
    return table


def _rates_table(title: str, rows: Rows) -> Table:
    table = _table(title, "kind", "heard", "minutes", "pauses", "cuts")
    for name, row in rows:
        if row.pause.false and row.cut.false:
            rates = (_rate(row.pause.false), _rate(row.cut.false))
            table.add_row(name, _heard(row), f"{row.cut.false.minutes:.1f}", *rates)
    return table


def _onsets_table(title: str, rows: Rows) -> Table:
    table = _table(title, "kind", "heard", "onsets", "missed", "pause", "cut")
    for name, row in rows:
        if row.cut.missed:
            delays = (_delays(row.pause.delay), _delays(row.cut.delay))
            table.add_row(name, _heard(row), str(row.cut.missed.of), _share(row.cut.missed), *delays)
    return table


def _detectors_table(detectors: Sequence[DetectorFigures]) -> Table:
    title = "all that was recorded, by each detector: cuts"
    table = _table(title, "detector", "heard", "onsets missed", "delay", "false/min", "clips cut")
    for detector in detectors:
        for row in detector.together:
            if row.kind == RECORDED:
                table.add_row(
                    detector.name,
                    _heard(row),
                    f"{100 * row.cut.missed.share:.1f} %" if row.cut.missed else NOTHING,
                    _delays(row.cut.delay),
                    f"{row.cut.false.per_minute:.2f}" if row.cut.false else NOTHING,
                    f"{100 * row.cut.clips.share:.1f} %" if row.cut.clips else NOTHING,
                )
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", padding=(0, 1, 0, 0), pad_edge=False, box=None)
    for number, heading in enumerate(columns):
        is_text = number < TEXT_COLUMNS
        table.add_column(heading, justify="left" if is_text else "right", no_wrap=number > 0, overflow="fold")
    return table


def _heard(row: Figures) -> str:
    """Return the route of a recording, of a clip what was before it, of an echo whether it is taken out."""
    what = row.condition if row.condition in {ALONE, BEHIND_SPEECH} else row.route
    return SHORT.get(what, what)


def _share(share: Proportion) -> str:
    low, high = share.interval
    return f"{100 * share.share:.1f} % ({100 * low:.0f}-{100 * high:.0f})"


def _rate(rate: EventRate) -> str:
    """Return the rate with the wider of its intervals on each side."""
    intervals = [rate.interval, rate.by_recording or rate.interval]
    low, high = min(low for low, _ in intervals), max(high for _, high in intervals)
    return f"{_figure(rate.per_minute)} ({_figure(low)}-{_figure(high)})"


def _figure(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.0f}"


def _delays(delays: Delays | None) -> str:
    return NOTHING if delays is None else f"{delays.median_ms:.0f}/{delays.p90_ms:.0f}/{delays.p95_ms:.0f}"
