"""Draws one analysis: the waveform, the model, the level, and every decision."""

from itertools import pairwise
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from relay.media.detector import HYSTERESIS, WINDOW_MS, Confirmed, Ended, Likely, Rejected
from relay.vad.analysis import RecordingAnalysis

INK, MUTED, GRID = "#1f2933", "#7b8794", "#e4e7eb"
SPEECH, GUESS, CUT, END = "#2f855a", "#d69e2e", "#c53030", "#2b6cb0"
COLUMNS = 4000
"""The waveform is drawn as the highest and lowest sample of so many stretches."""
INCHES_PER_S, NARROWEST_IN, WIDEST_IN, HEIGHT_IN = 1.0, 11.0, 40.0, 7.0
DOTS_PER_INCH = 110


def plot(analysis: RecordingAnalysis, png: Path) -> None:
    """Write the picture, about an inch a second wide, between 11 and 40. Raises `OSError` if it cannot be written."""
    duration_s = analysis.sound.duration_s
    width_in = min(WIDEST_IN, max(NARROWEST_IN, duration_s * INCHES_PER_S))
    figure = Figure(figsize=(width_in, HEIGHT_IN), layout="constrained")
    FigureCanvasAgg(figure)
    wave, model, level = figure.subplots(3, 1, sharex=True, height_ratios=(3, 2, 2))
    _draw_wave(wave, analysis)
    _draw_probability(model, analysis)
    _draw_level(level, analysis)
    for axes in (wave, model, level):
        _draw_decisions(axes, analysis)
        axes.grid(visible=True, color=GRID, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(colors=INK, labelsize=9)
    level.set_xlabel("seconds", color=INK)
    level.set_xlim(0, max(duration_s, WINDOW_MS / 1000))
    wave.set_title(_title(analysis), loc="left", color=INK, fontsize=11)
    figure.legend(handles=_legend(), loc="outside lower center", ncols=6, frameon=False, fontsize=9)
    figure.savefig(png, dpi=DOTS_PER_INCH, format="png")


def _title(analysis: RecordingAnalysis) -> str:
    decisions = analysis.trace.decisions
    ducks, cuts = (sum(isinstance(each, kind) for each in decisions) for kind in (Rejected, Confirmed))
    return (
        f"{Path(analysis.file).name}   {analysis.sound.duration_s:.1f} s, {analysis.sound.rate_hz} Hz   "
        f"threshold {analysis.settings.threshold:g}   {cuts} confirmed, {ducks} rejected"
    )


def _draw_wave(axes: Axes, analysis: RecordingAnalysis) -> None:
    samples = analysis.sound.samples.astype(np.float64) / 32768
    columns = max(1, min(COLUMNS, len(samples)))
    edges = np.linspace(0, len(samples), columns + 1).astype(int)
    parts = [samples[first:last] for first, last in pairwise(edges) if last > first]
    times = edges[: len(parts)] / analysis.sound.rate_hz
    axes.fill_between(times, [part.min() for part in parts], [part.max() for part in parts], color=INK, linewidth=0.4)
    for start, end in analysis.segments_s():
        axes.axvspan(start, end, color=SPEECH, alpha=0.2, linewidth=0, zorder=0)
    loudest = max(0.05, float(np.abs(samples).max(initial=0)))
    axes.set_ylim(-1.1 * loudest, 1.1 * loudest)
    axes.set_ylabel("samples\n(full scale 1)", color=INK)


def _draw_probability(axes: Axes, analysis: RecordingAnalysis) -> None:
    judged, threshold = analysis.trace.probabilities, analysis.settings.threshold
    axes.stairs(judged, _edges_s(len(judged)), color=INK, linewidth=1.2)
    axes.axhline(threshold, color=GUESS, linewidth=1)
    axes.axhline(threshold - HYSTERESIS, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    axes.set_ylim(-0.03, 1.03)
    axes.set_ylabel("probability\nof speech", color=INK)


def _draw_level(axes: Axes, analysis: RecordingAnalysis) -> None:
    trace = analysis.trace
    edges_s = _edges_s(len(trace.levels_dbfs))
    axes.stairs(trace.levels_dbfs, edges_s, color=INK, linewidth=1.2, baseline=None)
    axes.stairs(trace.floors_dbfs, edges_s, color=MUTED, linewidth=1.2, linestyle="--", baseline=None)
    axes.set_ylim(-92, 2)
    axes.set_ylabel("level and\nfloor, dBFS", color=INK)


def _draw_decisions(axes: Axes, analysis: RecordingAnalysis) -> None:
    """Draw guesses as yellow bands, confirmations as red lines, ends as blue ones."""
    since_s: float | None = None
    for decision in analysis.trace.decisions:
        now_s = decision.decided_ms / 1000
        if isinstance(decision, Likely):
            since_s = now_s
            continue
        if since_s is not None:
            axes.axvspan(since_s, now_s, color=GUESS, alpha=0.4, linewidth=0, zorder=0)
            since_s = None
        if isinstance(decision, Confirmed):
            axes.axvline(now_s, color=CUT, linewidth=1.4)
        elif isinstance(decision, Ended):
            axes.axvline(now_s, color=END, linewidth=1.0, linestyle=(0, (5, 3)))
    if since_s is not None:
        axes.axvspan(since_s, analysis.sound.duration_s, color=GUESS, alpha=0.4, linewidth=0, zorder=0)


def _edges_s(windows: int) -> np.ndarray:
    return np.arange(windows + 1) * WINDOW_MS / 1000


def _legend() -> list[Line2D | Patch]:
    return [
        Patch(color=SPEECH, alpha=0.2, label="speech, from its estimated onset"),
        Patch(color=GUESS, alpha=0.4, label="ducked: likely, not yet decided"),
        Line2D([], [], color=CUT, label="confirmed: cut"),
        Line2D([], [], color=END, linestyle=(0, (5, 3)), label="end decided"),
        Line2D([], [], color=GUESS, label="threshold"),
        Line2D([], [], color=MUTED, linestyle="--", label="release; noise floor"),
    ]
