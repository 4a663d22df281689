"""What a recorded call comes to, as one object for machines: see `relay report --json` in the reference.

Times `at_s` count from the caller's first stream. Latency is what the caller felt: from the last of their speech to the
first sound of the assistant that they heard.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from relay.record.entries import FromCaller, Told
from relay.record.latency import answers
from relay.record.recorded_call import RecordedCall
from relay.record.sides import CallSides

Values = dict[str, Any]


@dataclass(frozen=True, slots=True)
class CallSummary:
    """Each list is in the order of time."""

    call_id: str
    call_sid: str
    started_at: str
    duration_s: float
    end_reason: str | None
    interruptions: list[Values] = field(default_factory=list)
    reconnects: list[Values] = field(default_factory=list)
    holes: list[Values] = field(default_factory=list)
    latency_ms: list[Values] = field(default_factory=list)
    assistant_calls: list[Values] = field(default_factory=list)
    complete: bool = True


def summarise(call: RecordedCall, sides: CallSides) -> CallSummary:
    """`sides` are those of the call."""
    ended = _end(call)
    began_at = datetime.fromtimestamp(call.header.began_at + call.start_s, UTC)
    return CallSummary(
        call_id=call.header.call_id,
        call_sid=call.header.call_sid,
        started_at=began_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        duration_s=round(max(0.0, (ended.at_s if ended else call.end_s) - call.start_s), 3),
        end_reason=ended.values["reason"] if ended else None,
        interruptions=_interruptions(call),
        reconnects=_reconnects(call),
        holes=list(_holes(call)),
        latency_ms=[answer.as_json() for answer in answers(call, sides)],
        assistant_calls=_assistant_calls(call),
        complete=call.complete,
    )


def _end(call: RecordedCall) -> Told | None:
    """The end of the call; what one process called so is none if another went on."""
    ended = None
    for event in call.events:
        if event.name in {"call.ended", "caller.attached"}:
            ended = event if event.name == "call.ended" else None
    return ended


def _assistant_calls(call: RecordedCall) -> list[Values]:
    """Of the calls with the assistant those that the provider said more of: why each ended, and what it cost."""
    found: dict[str, Values] = {}
    for event in [*call.events, *call.after_end]:
        told = {name: event.values.get(name) for name in ("ended_reason", "cost_usd")}
        assistant_call_id = event.values.get("assistant_call_id")
        if event.name not in {"webhook.accepted", "webhook.joined"} or assistant_call_id is None:
            continue
        if told := {name: value for name, value in told.items() if value is not None}:
            unknown = {"assistant_call_id": assistant_call_id, "ended_reason": None, "cost_usd": None}
            found[assistant_call_id] = {**found.get(assistant_call_id, unknown), **told}
    return list(found.values())


def _at(call: RecordedCall, at_s: float) -> float:
    return round(at_s - call.start_s, 3)


def _interruptions(call: RecordedCall) -> list[Values]:
    """Those that were cut. What is not known of one, because the call or the recording ended, is null."""
    found: list[Values] = []
    for event in call.events:
        values = event.values
        of_turn = (it for it in reversed(found) if it["turn"] == values.get("turn"))
        match event.name:
            case "bargein.flushed":
                times = {name: values[name] for name in ("onset_to_clear_ms", "decide_to_clear_ms")}
                unknown = {"clear_to_silent_ms": None, "outcome": None}
                found.append({"at_s": _at(call, event.at_s), "turn": values["turn"], **times, **unknown})
            case "bargein.silent" if it := next(of_turn, None):
                it["clear_to_silent_ms"] = values["clear_to_silent_ms"]
            case "bargein.settled" if it := next(of_turn, None):
                it["outcome"] = "settled"
            case "bargein.false" if it := next(of_turn, None):
                it["outcome"] = "false_alarm"
    return found


def agreed_at(call: RecordedCall) -> set[float]:
    """The `at_s` of those that were taken back because the caller had only agreed, as with "uh-huh"."""
    found: set[float] = set()
    cut_at: dict[Any, float] = {}
    for event in call.events:
        turn = event.values.get("turn")
        if event.name == "bargein.flushed":
            cut_at[turn] = _at(call, event.at_s)
        elif event.name == "bargein.false" and event.values.get("by") == "agreement" and turn in cut_at:
            found.add(cut_at[turn])
    return found


LEG_OF = {"assistant.reconnected": "assistant", "caller.reattached": "caller"}


def _reconnects(call: RecordedCall) -> list[Values]:
    """When each leg was lost, and how long it was away. A browser's audio is kept for it: nothing of it is dropped."""
    return [
        {
            "at_s": _at(call, event.at_s - _gap_ms(event.values) / 1000),
            "leg": leg,
            "gap_ms": _gap_ms(event.values),
            "replayed_ms": event.values.get("replayed_ms", 0),
            "dropped_ms": event.values.get("dropped_ms", 0),
        }
        for event in call.events
        if (leg := LEG_OF.get(event.name))
    ]


def _gap_ms(values: Mapping[str, Any]) -> float:
    gap_ms: float = values["gap_ms"] if "gap_ms" in values else values["away_ms"]
    return gap_ms


def _holes(call: RecordedCall) -> Iterator[Values]:
    """Silence that the caller heard in the middle of the assistant's words, and audio of the caller that never came."""
    assistant_lost_s: float | None = None
    for entry in call.entries:
        if isinstance(entry, FromCaller):
            if entry.missing:
                ms = entry.missing * call.caller_format.duration_ms(len(entry.data))
                yield {"at_s": _at(call, entry.at_s), "ms": ms, "cause": "caller_audio_missing"}
        elif isinstance(entry, Told):
            match entry.name:
                case "assistant.lost":
                    assistant_lost_s = entry.at_s
                case "assistant.reconnected":
                    assistant_lost_s = None
                case "playout.hole":
                    cause = "assistant_late" if assistant_lost_s is None else "assistant_lost"
                    yield {"at_s": _at(call, entry.at_s), "ms": entry.values["hole_ms"], "cause": cause}
