"""The latency that the caller felt, from the last of their speech to the assistant's next sound, and whose it was.

| part      | from                           | to                                                               |
|-----------|--------------------------------|------------------------------------------------------------------|
| ours      | the caller's last word is here | audio behind it is sent to the assistant                         |
| assistant | then                           | its first sound is here                                          |
| ours      | then                           | that is handed to the caller's socket, and has its turn there    |
| network   | the way to the caller and back, as long as the quickest mark of the stream took; and the way to   |
|           | the assistant and back, as long as the quickest answer to a ping took in the call                 |

The network between relay and assistant is an estimate, taken from the assistant's part: nothing in their protocol says
when a message left. A call that was over before the first ping, after `session.keepalive_s`, has none: there it counts
as the assistant's, as do the time in which that makes sure that the caller has ended, and any in which it is away.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from relay.media.frames import AudioFormat, Encoding
from relay.media.silence import silence_test
from relay.record.entries import FromAssistant, PingAnswered, ToAssistant
from relay.record.recorded_call import RecordedCall
from relay.record.sides import CallSides, PlayedFrame


@dataclass(frozen=True, slots=True)
class AnswerWait:
    """`at_s` is when the caller stopped, in seconds since their first stream; `felt_ms` is the sum of the parts.
    `network_ms` is None where neither a mark nor the answer to a ping came back: then it is not known, and not in the
    sum."""

    at_s: float
    felt_ms: int
    ours_ms: int
    network_ms: int | None
    assistant_ms: int

    def as_json(self) -> dict[str, float | None]:
        return {
            "at_s": self.at_s,
            "caller_stopped_to_assistant_heard": self.felt_ms,
            "ours": self.ours_ms,
            "network": self.network_ms,
            "assistant": self.assistant_ms,
        }


def answers(call: RecordedCall, sides: CallSides) -> Iterator[AnswerWait]:
    """One for each time that the caller stopped while the assistant was silent, and the assistant spoke next."""
    speech = [event for event in call.events if event.name in {"speech.started", "speech.ended"}]
    sound = [frame for frame in sides.heard if frame.audible]
    path = _AssistantPath(call)
    at = 0
    for number, event in enumerate(speech):
        if event.name == "speech.started":
            continue
        stopped_s = event.at_s - (event.values["decided_ms"] - event.values["at_ms"]) / 1000
        stopped_ms = sides.at(stopped_s)
        while at < len(sound) and sound[at].end_ms <= stopped_ms:
            at += 1
        goes_on_ms = sides.at(speech[number + 1].at_s) if number + 1 < len(speech) else float("inf")
        if at < len(sound) and stopped_ms <= sound[at].start_ms < goes_on_ms:
            at_s = round(stopped_s - call.start_s, 3)
            path_ms = [sides.at(time_s) for time_s in path.way(stopped_s)]
            yield _divided(at_s, stopped_ms, path_ms, path.round_trip_ms, sound[at])


def _divided(
    at_s: float, stopped_ms: float, path_ms: Sequence[float], round_trip_ms: float | None, first: PlayedFrame
) -> AnswerWait:
    felt_ms = round(first.start_ms - stopped_ms)
    left_ms, came_ms = (min(time_ms, first.sent_ms) for time_ms in path_ms)
    way_ms = 0 if first.way_ms is None else min(round(first.way_ms), felt_ms)
    beyond_ms = min(round(came_ms - left_ms), felt_ms - way_ms)
    there_and_back_ms = min(round(round_trip_ms or 0.0), beyond_ms)
    network_ms = None if first.way_ms is None and round_trip_ms is None else way_ms + there_and_back_ms
    assistant_ms = beyond_ms - there_and_back_ms
    return AnswerWait(at_s, felt_ms, felt_ms - way_ms - beyond_ms, network_ms, assistant_ms)


class _AssistantPath:
    """What went to the assistant and came from it, by time."""

    def __init__(self, call: RecordedCall) -> None:
        self._sent_s = [entry.at_s for entry in call.entries if isinstance(entry, ToAssistant)]
        came = [entry for entry in call.entries if isinstance(entry, FromAssistant) and entry.has_floor]
        self._came_s = [entry.at_s for entry in came]
        asked = AudioFormat(Encoding(call.header.assistant_encoding), call.header.assistant_rate_hz)
        audio_format = _granted(call) or asked
        self._came = list(_whole_samples(came, audio_format.block_bytes))
        self._is_silent = silence_test(audio_format)
        self._away = list(_away(call))
        pings_ms = (entry.round_trip_ms for entry in call.entries if isinstance(entry, PingAnswered))
        self.round_trip_ms = min(pings_ms, default=None)
        """Of the quickest answer to a ping."""

    def way(self, stopped_s: float) -> tuple[float, float]:
        """When audio was next sent to the assistant, and when its next sound came; if none did, what was heard had come
        before and was held, and no time was the assistant's."""
        number = bisect_left(self._sent_s, stopped_s)
        left_s = self._sent_s[number] if number < len(self._sent_s) else stopped_s
        for lost_s, back_s in self._away:
            if lost_s < left_s and stopped_s < back_s:
                left_s = min(left_s, max(stopped_s, lost_s))
        behind = range(bisect_left(self._came_s, left_s), len(self._came))
        return left_s, next((self._came_s[n] for n in behind if not self._is_silent(self._came[n])), left_s)


def _whole_samples(came: Iterable[FromAssistant], block_bytes: int) -> Iterator[bytes]:
    """The audio of each message, which may be cut within a sample: the first part of that is of the next one."""
    rests: dict[int, bytes] = {}
    for entry in came:
        data = rests.pop(entry.connection, b"") + entry.data
        whole = len(data) // block_bytes * block_bytes
        rests[entry.connection] = data[whole:]
        yield data[:whole]


def _away(call: RecordedCall) -> Iterator[tuple[float, float]]:
    """When the assistant was lost, and when it was back."""
    lost_s: float | None = None
    for event in call.events:
        if event.name == "assistant.lost":
            lost_s = event.at_s
        elif event.name == "assistant.reconnected" and lost_s is not None:
            yield lost_s, event.at_s
            lost_s = None


def _granted(call: RecordedCall) -> AudioFormat | None:
    """The format that the assistant has instead of the one that was asked for."""
    event = next((it for it in call.events if it.name == "assistant.format_adopted"), None)
    if event is None:
        return None
    encoding, rate_hz, *_ = str(event.values["granted"]).split()
    return AudioFormat(Encoding(encoding), int(rate_hz))
