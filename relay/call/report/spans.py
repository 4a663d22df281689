"""Makes spans of what a call tells: stretches of time, each with a name, in the order in which they end.

| span         | opens at                   | closes at                                           | below        |
|--------------|----------------------------|-----------------------------------------------------|--------------|
| call         | the call begins            | it ends                                             |              |
| dial         | an assistant is dialled    | it is ready, or cannot be had                       | reconnect of |
|              |                            |                                                     | it, or call  |
| reconnect    | a leg is lost              | it is back, or given up                             | call         |
| turn         | a side begins to speak     | it stops                                            | call         |
| interruption | the onset of the caller's  | it is settled, or was a false alarm                 | call         |
|              | speech, if the detector    |                                                     |              |
|              | noticed                    |                                                     |              |

What opens again while it is open closes first, and what is open when the call ends closes with it: so no more spans are
open than there are kinds. Attributes are ids, codes and numbers of the call; no words, no telephone numbers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from relay.call.report.assistant_events import (
    AssistantGivenUp,
    AssistantLost,
    AssistantReady,
    AssistantReconnected,
    DialFailed,
    Dialing,
)
from relay.call.report.events import (
    BrowserLost,
    BrowserReattached,
    CallEnded,
    CallerLost,
    CallerNotBack,
    CallerPaused,
    CallerReattached,
    CallerSpoke,
    CallEvent,
    CallStarted,
    Speech,
)
from relay.call.report.interruption_events import CallerSilenced, FalseAlarm, Interrupted, InterruptionSettled

SpanName = Literal["call", "dial", "reconnect", "turn", "interruption"]
Attribute = str | int | float | bool
FAILURES = ("error", "assistant_unavailable", "caller_lost", "protocol_error")
"""The end reasons of a call that failed."""


@dataclass(slots=True)
class Span:
    """`number` counts the spans of a call from 0, its own; `parent` is the number of the one it is in. Times are in
    seconds since the call began. `failed` says by a code, or in two words, what went wrong."""

    name: SpanName
    number: int
    parent: int | None
    began_at_s: float
    ended_at_s: float = 0.0
    failed: str | None = None
    attributes: dict[str, Attribute] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TracedSpan:
    """A span of a call. `began_at` is when that began, in seconds since 1970; `first_id` is the id of its own span."""

    call_id: str
    first_id: int
    began_at: float
    span: Span

    def id_of(self, number: int) -> int:
        """Of a span of the call, in 64 bits: never 0, which means none."""
        return (self.first_id + number) % (2**64 - 1) + 1


class CallSpans:
    """One per call; it does not read a clock."""

    def __init__(self) -> None:
        self._open: dict[str, Span] = {}
        self._ended: list[Span] = []
        self._number = 0

    def note(self, event: CallEvent, at_s: float) -> list[Span]:
        """The spans that close by this event, which happened at `at_s`."""
        self._take(event, at_s)
        ended, self._ended = self._ended, []
        return ended

    def _take(self, event: CallEvent, at_s: float) -> None:
        match event:
            case CallStarted(call_sid=sid, generation=generation):
                self._begin("call", at_s, {"call_sid": sid, "generation": generation})
            case Dialing(assistant=assistant, audio=audio):
                self._begin("dial", at_s, {"assistant": assistant, "audio": audio}, inside="reconnect assistant")
            case AssistantReady(assistant_call_id=call_id):
                self._end("dial", at_s, {"assistant_call_id": call_id})
            case DialFailed(code=code):
                self._end("dial", at_s, failed=code)
            case AssistantLost():
                self._begin("reconnect", at_s, {"leg": "assistant"}, of="assistant")
            case AssistantReconnected(attempt=attempt, replayed_ms=replayed_ms, dropped_ms=dropped_ms):
                values = {"attempt": attempt, "replayed_ms": replayed_ms, "dropped_ms": dropped_ms}
                self._end("reconnect assistant", at_s, values)
            case AssistantGivenUp():
                self._end("reconnect assistant", at_s, failed="given up")
            case CallerLost() | BrowserLost():
                self._begin("reconnect", at_s, {"leg": "caller"}, of="caller")
            case CallerReattached(replayed_ms=replayed_ms):
                self._end("reconnect caller", at_s, {"replayed_ms": replayed_ms})
            case BrowserReattached(transport=transport):
                self._end("reconnect caller", at_s, {"transport": transport})
            case CallerNotBack():
                self._end("reconnect caller", at_s, failed="not back")
            case CallerSpoke(onset_ms=onset_ms, decided_ms=decided_ms):
                self._begin("turn", at_s - (decided_ms - onset_ms) / 1000, {"role": "user"}, of="user")
            case CallerPaused(at_ms=stopped_ms, decided_ms=decided_ms):
                self._end("turn user", at_s - (decided_ms - stopped_ms) / 1000)
            case Speech(role=role, started=True):
                self._begin("turn", at_s, {"role": role}, of=role)
            case Speech(role=role):
                self._end(f"turn {role}", at_s)
            case Interrupted(onset_to_clear_ms=onset_to_clear_ms):
                self._begin("interruption", at_s - onset_to_clear_ms / 1000, event.log_values())
            case CallerSilenced(onset_to_silent_ms=onset_to_silent_ms) if "interruption" in self._open:
                self._open["interruption"].attributes["onset_to_silent_ms"] = onset_to_silent_ms
            case InterruptionSettled(by=by):
                self._end("interruption", at_s, {"outcome": "settled", "settled_by": by})
            case FalseAlarm(by=by):
                self._end("interruption", at_s, {"outcome": "false_alarm", "settled_by": by})
            case CallEnded(reason=reason):
                for key in [key for key in self._open if key != "call"]:
                    self._end(key, at_s)
                self._end("call", at_s, {"end_reason": str(reason)}, failed=reason if reason in FAILURES else None)

    def _begin(
        self, name: SpanName, at_s: float, attributes: Mapping[str, Attribute], of: str = "", inside: str = "call"
    ) -> None:
        key = f"{name} {of}".strip()
        self._end(key, at_s)
        call = self._open.get("call")
        parent = self._open.get(inside, call)
        began_at_s = at_s if call is None else max(at_s, call.began_at_s)
        number = parent.number if parent else None
        self._open[key] = Span(name, self._number, number, began_at_s, attributes=dict(attributes))
        self._number += 1

    def _end(
        self,
        key: str,
        at_s: float,
        attributes: Mapping[str, Attribute] = MappingProxyType({}),
        failed: str | None = None,
    ) -> None:
        span = self._open.pop(key, None)
        if span is None:
            return
        span.ended_at_s, span.failed = max(at_s, span.began_at_s), failed
        span.attributes.update(attributes)
        self._ended.append(span)
