"""Draws the timeline of a recorded call as a picture, for a ticket: the same lanes as the page, without a browser."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MultipleLocator
from numpy.typing import NDArray

from relay.record.timeline import NONE_8, NONE_16, Timeline
from relay.record.verdict import WORST, clock

INK, MUTED, GRID = "#1d2326", "#5c6468", "#dedbd0"
CALLER, ASSISTANT, CUT, BAD, BUSY = "#0f766e", "#4f46b8", "#c2410c", "#b42318", "#a16207"
RELAY, NETWORK = "#e3a008", "#8a9a9f"
COLUMNS = 3000
"""A track is drawn as its lowest and highest value in so many stretches."""
WIDTH_IN, HEIGHT_IN, DOTS_PER_INCH = 16.0, 9.5, 110
SENTENCES, SENTENCE_CHARACTERS = 8, 190
BUFFER_MOST_MS = 3000
TICKS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 3600)
TICKS_MAX = 15
LANES = (3, 1.2, 3, 1.6, 0.8, 0.8)


def draw(timeline: Timeline, png: Path) -> None:
    """Write the picture, 1760 by 1045 pixels. Raises OSError if it cannot be written."""
    figure = Figure(figsize=(WIDTH_IN, HEIGHT_IN), layout="constrained")
    FigureCanvasAgg(figure)
    caller, speech, heard, buffer, links, answers = figure.subplots(len(LANES), 1, sharex=True, height_ratios=LANES)
    lists = timeline.lists
    _draw_caller(caller, timeline)
    _draw_speech(speech, timeline)
    _draw_heard(heard, timeline)
    _draw_buffer(buffer, timeline)
    _draw_spans(links, [it for it in lists["away"] if it["leg"] == "caller"], BAD, 0.8, low=0.55, high=0.95)
    _draw_spans(links, [it for it in lists["away"] if it["leg"] == "assistant"], BAD, 0.8, low=0.05, high=0.45)
    links.set_yticks([0.75, 0.25], ["caller", "assistant"])
    _draw_answers(answers, lists["answers"])
    names = ("caller", "speech", "what the\ncaller heard", "ms", "connections", "answers")
    for axes, name in zip((caller, speech, heard, buffer, links, answers), names, strict=True):
        axes.set_ylabel(name, color=INK, fontsize=9)
        axes.grid(visible=True, axis="x", color=GRID, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(colors=INK, labelsize=8)
        for it in lists["moments"][:WORST]:
            axes.axvline(it["at"] / 1000, color=BAD, linewidth=1.2, linestyle=(0, (4, 3)))
    answers.set_xlim(0, timeline.duration_ms / 1000)
    tick_s = next((it for it in TICKS_S if timeline.duration_ms <= it * 1000 * TICKS_MAX), TICKS_S[-1])
    answers.xaxis.set_major_locator(MultipleLocator(tick_s))
    answers.xaxis.set_major_formatter(FuncFormatter(lambda at_s, _: clock(at_s)))
    figure.suptitle(_title(timeline), x=0.01, ha="left", color=INK, fontsize=10, parse_math=False)
    figure.savefig(png, dpi=DOTS_PER_INCH, format="png")


def _title(timeline: Timeline) -> str:
    summary = timeline.summary
    sentences = [fill(it, SENTENCE_CHARACTERS) for it in timeline.verdict[:SENTENCES]]
    more = len(timeline.verdict) - SENTENCES
    lines = [f"Call {summary.call_id}, {summary.started_at}", *sentences, *[f"And {more} more."] * (more > 0)]
    return "\n".join(lines)


def _draw_caller(axes: Axes, timeline: Timeline) -> None:
    lists = timeline.lists
    _draw_wave(axes, timeline, "caller", CALLER)
    _draw_spans(axes, lists["speech"], CALLER, 0.15)
    _draw_spans(axes, [it for it in lists["holes"] if it["cause"] == "caller_audio_missing"], BAD, 0.5)


def _draw_heard(axes: Axes, timeline: Timeline) -> None:
    lists = timeline.lists
    _draw_wave(axes, timeline, "heard", ASSISTANT)
    _draw_spans(axes, lists["turns"], ASSISTANT, 0.12)
    _draw_spans(axes, lists["pauses"], BUSY, 0.35)
    _draw_spans(axes, [it for it in lists["holes"] if it["cause"] != "caller_audio_missing"], BAD, 0.5)
    cuts_s = [it["at"] / 1000 for it in lists["cuts"]]
    axes.vlines(cuts_s, 0, 1, transform=axes.get_xaxis_transform(), color=CUT, linewidth=1.4)
    shown_ms = timeline.duration_ms / 60
    for it in lists["turns"]:
        if it["to"] - it["from"] > shown_ms:
            axes.text(
                it["from"] / 1000, axes.get_ylim()[1], f" turn {it['turn']}", va="top", fontsize=8, color=ASSISTANT
            )


def _draw_speech(axes: Axes, timeline: Timeline) -> None:
    times_s, values = _columns(timeline, "speech", NONE_8)
    axes.fill_between(times_s, values / 200, step="post", color=CALLER, alpha=0.6, linewidth=0)
    threshold = timeline.settings.get("vad", {}).get("threshold")
    if threshold is not None:
        axes.axhline(threshold, color=CUT, linewidth=1, linestyle=(0, (4, 3)))
    axes.set_ylim(0, 1.03)


def _draw_buffer(axes: Axes, timeline: Timeline) -> None:
    queued_s, queued = _columns(timeline, "queued", NONE_16)
    ahead_s, ahead = _columns(timeline, "ahead", NONE_16)
    axes.fill_between(
        queued_s, queued, step="post", color=ASSISTANT, alpha=0.5, linewidth=0, label="waits in the relay"
    )
    axes.step(ahead_s, ahead, where="post", color=BUSY, linewidth=0.9, label="sent, and not heard yet")
    target_s, target = _columns(timeline, "target", NONE_16)
    axes.step(target_s, target, where="post", color=MUTED, linewidth=1, linestyle=(0, (4, 3)), label="target")
    most_ms = max(*(int(it.max(initial=0)) for it in (queued, ahead, target)), 100)
    axes.set_ylim(0, 1.3 * min(most_ms, BUFFER_MOST_MS))
    axes.legend(loc="upper right", fontsize=8, frameon=False, ncols=3)


def _draw_answers(axes: Axes, answers: Sequence[Mapping[str, Any]]) -> None:
    parts = (("assistant", ASSISTANT), ("ours", RELAY), ("network", NETWORK))
    begins_ms = {n: it["at"] for n, it in enumerate(answers)}
    for name, color in parts:
        ends_ms = {n: begins_ms[n] + (it[name] or 0) for n, it in enumerate(answers)}
        _draw_spans(axes, [{"from": begins_ms[n], "to": ends_ms[n]} for n in ends_ms], color, 1.0)
        begins_ms = ends_ms
    axes.set_yticks([])


def _draw_wave(axes: Axes, timeline: Timeline, side: str, color: str) -> None:
    track = timeline.tracks[f"{side}_low"]
    low, high = (_reduced(timeline.tracks[f"{side}_{edge}"].values, edge) for edge in ("low", "high"))
    times_s = np.linspace(0, len(track.values) * track.step_ms / 1000, len(low), endpoint=False)
    axes.fill_between(times_s, low, high, color=color, linewidth=0.4)
    loudest = max(16, int(np.abs([low, high]).max(initial=0)))
    axes.set_ylim(-1.1 * loudest, 1.1 * loudest)
    axes.set_yticks([])


def _draw_spans(
    axes: Axes, spans: Iterable[Mapping[str, Any]], color: str, alpha: float, *, low: float = 0.0, high: float = 1.0
) -> None:
    ranges = [(it["from"] / 1000, (it["to"] - it["from"]) / 1000) for it in spans]
    heights = axes.get_xaxis_transform()
    axes.broken_barh(ranges, (low, high - low), transform=heights, color=color, alpha=alpha, linewidth=0)


def _columns(timeline: Timeline, name: str, unknown: int) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """The times of the columns, and the highest value in each; what is not known counts as nothing."""
    track = timeline.tracks[name]
    known = np.where(track.values == unknown, 0, track.values)
    values = _reduced(known, "high")
    return np.linspace(0, len(known) * track.step_ms / 1000, len(values), endpoint=False), values


def _reduced(values: NDArray[Any], edge: str) -> NDArray[np.int32]:
    """The lowest or highest of each stretch, where there are more values than columns."""
    each = -(-len(values) // COLUMNS)
    starts = np.arange(0, len(values), each)
    pick = np.minimum if edge == "low" else np.maximum
    return pick.reduceat(values, starts).astype(np.int32)
