"""Makes a trace of a recorded call for Perfetto and Chrome's tracing, in their JSON ("Trace Event Format").

Times there are microseconds. The call is one process, with a thread for each track; what is measured are counters.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from relay.record.timeline import NONE_8, NONE_16, Timeline

PROCESS = 1
THREADS = ("caller", "assistant, as heard", "pauses and cuts", "holes", "connections", "answers", "words", "events")
COUNTERS = {
    "speech": ("speech probability", NONE_8, 1 / 200),
    "queued": ("buffer, ms", NONE_16, 1.0),
    "target": ("target of the buffer, ms", NONE_16, 1.0),
    "ahead": ("sent and not heard, ms", NONE_16, 1.0),
}

TraceEvent = dict[str, Any]


def trace(timeline: Timeline) -> dict[str, Any]:
    """The whole trace, to be written as JSON."""
    summary = timeline.summary
    return {
        "traceEvents": [*_names(summary.call_id), *_spans(timeline), *_moments(timeline), *_counters(timeline)],
        "displayTimeUnit": "ms",
        "otherData": {
            "call_id": summary.call_id,
            "call_sid": summary.call_sid,
            "started_at": summary.started_at,
            "verdict": list(timeline.verdict),
        },
    }


def _names(call_id: str) -> Iterator[TraceEvent]:
    yield {"ph": "M", "pid": PROCESS, "name": "process_name", "args": {"name": f"call {call_id}"}}
    for number, name in enumerate(THREADS, 1):
        yield {"ph": "M", "pid": PROCESS, "tid": number, "name": "thread_name", "args": {"name": name}}
        yield {"ph": "M", "pid": PROCESS, "tid": number, "name": "thread_sort_index", "args": {"sort_index": number}}


def _spans(timeline: Timeline) -> Iterator[TraceEvent]:
    lists = timeline.lists
    for it in lists["speech"]:
        yield _span("caller", "speaks", it)
    for it in lists["turns"]:
        yield _span("assistant, as heard", f"turn {it['turn']}", it)
    for it in lists["pauses"]:
        yield _span("pauses and cuts", f"paused, then {it['then']}", it)
    for it in lists["holes"]:
        yield _span("holes", it["cause"], it)
    for it in lists["away"]:
        yield _span("connections", f"{it['leg']} away", it)
    for it in lists["answers"]:
        begin = it["at"]
        for name in ("assistant", "ours", "network"):
            end = begin + (it[name] or 0)
            yield _span("answers", name, {"from": begin, "to": end})
            begin = end
    for it in lists["said"]:
        yield _span("words", f"{it['role']}: {it['text']}", it)


def _moments(timeline: Timeline) -> Iterator[TraceEvent]:
    for it in timeline.lists["cuts"]:
        yield _instant("pauses and cuts", f"clear, turn {it['turn']}", it["at"], it)
        if it["last"] is not None:
            yield _instant("pauses and cuts", f"last audible byte, turn {it['turn']}", it["last"], {})
    for it in timeline.lists["events"]:
        yield _instant("events", it["name"], it["at"], {"values": it["values"]})


def _counters(timeline: Timeline) -> Iterator[TraceEvent]:
    """A value where it changes; what is not known counts as nothing."""
    for name, (title, unknown, unit) in COUNTERS.items():
        track = timeline.tracks[name]
        values = np.where(track.values == unknown, 0, track.values)
        for step in np.flatnonzero(np.diff(values, prepend=-1)):
            at = {"ph": "C", "pid": PROCESS, "name": title, "ts": int(step) * track.step_ms * 1000}
            yield {**at, "args": {"value": round(float(values[step]) * unit, 3)}}


def _span(thread: str, name: str, values: Mapping[str, Any]) -> TraceEvent:
    args = {key: value for key, value in values.items() if key not in {"from", "to"}}
    times = {"ts": round(values["from"] * 1000), "dur": max(0, round((values["to"] - values["from"]) * 1000))}
    return {
        "ph": "X",
        "pid": PROCESS,
        "tid": THREADS.index(thread) + 1,
        "name": name,
        "cat": thread,
        **times,
        "args": args,
    }


def _instant(thread: str, name: str, at_ms: float, args: Mapping[str, Any]) -> TraceEvent:
    place = {"pid": PROCESS, "tid": THREADS.index(thread) + 1, "ts": round(at_ms * 1000)}
    return {"ph": "i", "s": "t", "name": name, "cat": thread, **place, "args": dict(args)}
