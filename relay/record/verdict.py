"""Says in plain sentences what went wrong in a recorded call, the worst first, and how the call was beside that."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from relay.record.entries import Told
from relay.record.event_log import printable
from relay.record.recorded_call import RecordedCall
from relay.record.summary import LEG_OF, CallSummary, Values, agreed_at
from relay.record.troubles import ANSWER_S, HOLE_MS

WORST = 3
FATAL, SERIOUS = 1_000_000.0, 100_000.0
"""Weights beside those of moments that only take time, which weigh their milliseconds."""
MISSING_MS = 60.0
"""Less of the caller's audio is not missed by anybody."""

ENDS = {
    "caller_hangup": "The caller hung up",
    "assistant_ended": "The assistant ended the call",
    "transferred": "The assistant had the caller connected to somebody else",
    "idle": "Nobody spoke any more, and the call ended",
    "max_duration": "The call reached its greatest length",
    "caller_lost": "The caller was lost for good",
    "protocol_error": "The caller's side sent messages that nobody could read, and the call ended",
    "assistant_unavailable": "The call ended because no assistant could be had",
    "admin": "An operator ended the call",
    "drain": "The relay was stopped",
    "error": "The relay failed on the call",
}


@dataclass(frozen=True, slots=True)
class BadMoment:
    """A moment at which something went wrong. `weight`: how bad it was."""

    at_s: float
    what: str
    cause: str
    weight: float

    @property
    def sentence(self) -> str:
        return printable(f"At {clock(self.at_s)} {self.what}: {self.cause}.")

    def as_json(self) -> dict[str, Any]:
        return {"at_s": self.at_s, "what": self.what, "cause": self.cause}


def moments(call: RecordedCall, summary: CallSummary) -> list[BadMoment]:
    """All such moments, the worst first."""
    found = [*_of_reconnects(call, summary), *_of_events(call), *_of_sound(summary), *_of_false_alarms(call, summary)]
    return sorted(found, key=lambda moment: (-moment.weight, moment.at_s))


def verdict(call: RecordedCall, summary: CallSummary, *, is_live: bool = False) -> list[str]:
    """The sentences: what went wrong, or that nothing did; then how it ended, and how well the rest went.

    `is_live`: the call still goes on, and the recording ends where it is now.
    """
    bad = [moment.sentence for moment in moments(call, summary)]
    if is_live and summary.end_reason is None:
        goes_on = f"The call goes on: this is what was recorded until {clock(summary.duration_s)}."
        return [*(bad or ["Nothing has gone wrong so far."]), goes_on, *_of_the_rest(call, summary)]
    end = _of_the_end(summary)
    return [*_of_the_file(summary), *(bad or ["Nothing went wrong."]), end, *_of_the_rest(call, summary)]


def clock(at_s: float) -> str:
    """Minutes and seconds, as 02:13.4."""
    tenths = round(max(0.0, at_s) * 10)
    return f"{tenths // 600:02}:{tenths % 600 / 10:04.1f}"


def _of_the_file(summary: CallSummary) -> Iterator[str]:
    if not summary.complete:
        yield f"The recording is cut short after {clock(summary.duration_s)}: what came behind is not known."


def _of_the_end(summary: CallSummary) -> str:
    if summary.end_reason is None:
        return f"The recording has no end of the call; it goes to {clock(summary.duration_s)}."
    return (
        f"{ENDS.get(summary.end_reason, f'The call ended ({summary.end_reason})')} after {clock(summary.duration_s)}."
    )


def _of_the_rest(call: RecordedCall, summary: CallSummary) -> Iterator[str]:
    answers = [it["caller_stopped_to_assistant_heard"] for it in summary.latency_ms]
    if answers:
        yield f"The caller heard {_number(len(answers), 'answer')}, after {median(answers) / 1000:.1f} s at the median."
    silent = [
        it["onset_to_clear_ms"] + it["clear_to_silent_ms"]
        for it in summary.interruptions
        if it["outcome"] == "settled" and it["clear_to_silent_ms"] is not None
    ]
    if silent:
        times = _number(len(silent), "time")
        yield f"The caller interrupted {times}, and heard nothing more {max(silent):.0f} ms later at most."
    if agreed := len(agreed_at(call)):
        times = _number(agreed, "time")
        yield f"The caller only agreed {times}, and the assistant went on with what they had not heard."
    if told := summary.assistant_calls:
        reasons = ", then ".join(it["ended_reason"] or "not told" for it in told)
        costs = [it["cost_usd"] for it in told if it["cost_usd"] is not None]
        cost = f", and cost ${sum(costs):.4f}{' in all' if len(costs) > 1 else ''}" if costs else ""
        calls = "call" if len(told) == 1 else f"{len(told)} calls"
        yield printable(f"At the provider the assistant's {calls} ended with {reasons}{cost}.")


def _of_reconnects(call: RecordedCall, summary: CallSummary) -> Iterator[BadMoment]:
    reconnects = iter(summary.reconnects)
    why = {"assistant": "", "caller": ""}
    for event in call.events:
        if event.name in {"assistant.lost", "caller.lost"}:
            why[event.name.partition(".")[0]] = str(event.values.get("error", "no connection"))
        elif event.name in LEG_OF:
            yield _of_reconnect(next(reconnects), why[LEG_OF[event.name]], event.values)


def _of_reconnect(it: Values, why: str, values: Mapping[str, Any]) -> BadMoment:
    gap_s, dropped_ms = it["gap_ms"] / 1000, it["dropped_ms"]
    if it["leg"] == "caller":
        return BadMoment(
            it["at_s"], f"the caller was away for {gap_s:.1f} s", f"their stream was lost, {why}", it["gap_ms"]
        )
    kept = f"{dropped_ms} ms of the caller could not be sent again" if dropped_ms else "nothing of the caller was lost"
    cause = f"its socket was lost, {why}; try {values['attempt']} brought it back, and {kept}"
    return BadMoment(it["at_s"], f"the assistant was away for {gap_s:.1f} s", cause, it["gap_ms"] + 10 * dropped_ms)


def _of_events(call: RecordedCall) -> Iterator[BadMoment]:
    for event in call.events:
        at_s = round(event.at_s - call.start_s, 3)
        match event:
            case Told(name="call.failed"):
                yield BadMoment(at_s, "the relay failed on this call", "its log says why", FATAL)
            case Told(name="assistant.given_up", values=values):
                tries = _number(values["attempts"], "try", "tries")
                yield BadMoment(at_s, "no assistant could be had", f"given up after {tries}", FATAL)
            case Told(name="caller.not_back"):
                yield BadMoment(at_s, "the caller was given up", "no new stream of theirs came in time", FATAL)
            case Told(name="client.gone"):
                yield BadMoment(at_s, "the browser was given up", "it did not come back in time", FATAL)
            case Told(name="assistant.unavailable", values=values):
                cause = f"{values['error']} ({values['code']})"
                yield BadMoment(at_s, "a call with the assistant could not be made", cause, SERIOUS)
            case Told(name="assistant.notes_dropped", values=values):
                what = "the assistant was not told of everything that the caller pressed"
                yield BadMoment(at_s, what, values["error"], SERIOUS)
            case Told(name="call.ended", values=values) if values["frames_stale"]:
                frames = _number(values["frames_stale"], "frame")
                what = f"{frames} of a turn that was cut had been sent all the same"
                yield BadMoment(at_s, what, "a fault of the relay", FATAL)


def _of_sound(summary: CallSummary) -> Iterator[BadMoment]:
    for it in summary.holes:
        ms = it["ms"]
        if it["cause"] == "caller_audio_missing":
            if ms >= MISSING_MS:
                yield BadMoment(it["at_s"], f"{ms:.0f} ms of the caller's audio were missing", "they never came", ms)
        elif ms > HOLE_MS:
            late = "the assistant was lost" if it["cause"] == "assistant_lost" else "the assistant's audio came late"
            yield BadMoment(
                it["at_s"], f"the caller heard {ms:.0f} ms of silence in the middle of a word", late, 2 * ms
            )
    for it in summary.latency_ms:
        waited_s = it["caller_stopped_to_assistant_heard"] / 1000
        if waited_s > ANSWER_S:
            what = f"the caller waited {waited_s:.1f} s for an answer"
            yield BadMoment(it["at_s"], what, _of_the_wait(summary, it), waited_s * 1000)


def _of_false_alarms(call: RecordedCall, summary: CallSummary) -> Iterator[BadMoment]:
    agreed = agreed_at(call)
    for it in summary.interruptions:
        if it["outcome"] == "false_alarm" and it["at_s"] not in agreed:
            cause = "it went on as if nobody had interrupted it"
            yield BadMoment(it["at_s"], "the assistant was cut by a false alarm", cause, 1000.0)


def _of_the_wait(summary: CallSummary, answer: Values) -> str:
    """Whose most of it was."""
    until_s = answer["at_s"] + answer["caller_stopped_to_assistant_heard"] / 1000
    for it in summary.reconnects:
        if it["leg"] == "assistant" and it["at_s"] < until_s and answer["at_s"] < it["at_s"] + it["gap_ms"] / 1000:
            return "the assistant was away"
    whose = {"assistant": "the assistant", "ours": "the relay", "network": "the network"}
    most = max(whose, key=lambda name: answer[name] or 0)
    return f"{whose[most]} took {answer[most] / 1000:.1f} s of it"


def _number(count: int, noun: str, plural: str = "") -> str:
    return f"1 {noun}" if count == 1 else f"{count} {plural or noun + 's'}"
