"""Draws what runs in a relay for a terminal of 80 columns: a line for each call, and one for the relay itself."""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

RATE_OVER_S = 60.0
ID_LETTERS = 8
"""So many letters of a call's id are shown: `relay tail` takes them."""
_STATE_STYLES = {"live": "green", "degraded": "yellow", "reconnecting": "bold magenta", "ended": "dim"}
_LATE_MS = 10.0

Values = Mapping[str, Any]


class CallRate:
    """How many calls began lately, found out from the number that ever began."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def note(self, now_s: float, begun: int) -> int:
        """How many began in the last `RATE_OVER_S`, or since the first time that this was asked."""
        if self._seen and begun < self._seen[-1][1]:
            self._seen.clear()  # another process answers
        while self._seen and self._seen[0][0] < now_s - RATE_OVER_S:
            self._seen.popleft()
        self._seen.append((now_s, begun))
        return begun - self._seen[0][1]


def picture(answer: Values, *, begun_lately: int | None = None, rows_max: int | None = None) -> RenderableType:
    """The answer of GET /calls. Of more than `rows_max` calls the oldest are shown, and how many are not."""
    calls: Sequence[Values] = answer["calls"]
    if rows_max is not None and len(calls) > rows_max:
        rest = f"and {len(calls) - rows_max + 1} more"
        shown = calls[: rows_max - 1]
    else:
        rest, shown = "", calls
    below = Text(rest if calls else "No call runs.", "dim")
    parts: list[RenderableType] = [_headline(answer["relay"], len(calls), begun_lately), Text()]
    if shown:
        parts.append(_table(shown))
    return Group(*parts, *([below] if below.plain else []))


def _headline(relay: Values, n_calls: int, begun_lately: int | None) -> Text:
    lag_ms = relay["loop_lag_ms"]
    line = Text(f"relay {relay['version']}  up {_duration(relay['uptime_s'])}")
    line.append(f"  {n_calls} of {relay['max_calls']} calls", "bold")
    if begun_lately is not None:
        line.append(f"  {begun_lately} new in a minute")
    line.append(f"  loop {lag_ms:.1f} ms late", "bold red" if lag_ms >= _LATE_MS else "")
    if relay["refusal_cause"]:
        line.append(f"  no new ones: {relay['refusal_cause']}", "bold yellow")
    return line


def _table(calls: Sequence[Values]) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim")
    for title in ("call", "age", "state", "turn", "speaks", "caller", "assist.", "buffer ms", "lost", "cuts"):
        on_the_left = title in {"call", "state", "speaks"}
        table.add_column(title, justify="left" if on_the_left else "right", no_wrap=True)
    for call in calls:
        state = str(call["state"] or "dialling")
        table.add_row(
            call["id"][:ID_LETTERS],
            _duration(call["duration_s"]),
            Text(state, _STATE_STYLES.get(state, "")),
            str(call["turn"]),
            _speaks(call),
            _level(call["caller_dbfs"]),
            _level(call["assistant_dbfs"]),
            f"{call['queued_ms']}/{call['target_ms']}",
            str(sum(call["reconnects"].values())),
            str(call["interruptions_confirmed"]),
        )
    return table


def _speaks(call: Values) -> Text:
    if not call["caller_attached"]:
        return Text("no caller", "yellow")
    both = call["caller_speaking"] and call["assistant_speaking"]
    return Text("both" if both else "caller" if call["caller_speaking"] else "assistant" * call["assistant_speaking"])


def _level(dbfs: float | None) -> str:
    return "" if dbfs is None else f"{dbfs:.0f} dB"


def _duration(seconds: float) -> str:
    whole = int(seconds)
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02}"
    return f"{whole // 3600}:{whole % 3600 // 60:02}:{whole % 60:02}" if whole < 360_000 else f"{whole // 86400} days"
