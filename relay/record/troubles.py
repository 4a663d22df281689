"""Notices what went wrong in a call, from its events and from the sound that is sent to the caller.

| trouble      | what happened                                                            |
|--------------|--------------------------------------------------------------------------|
| leg_lost     | a socket of the caller or of the assistant was lost                      |
| no_assistant | a call with the assistant could not be made                              |
| notes_lost   | the assistant was not told of keys that the caller pressed               |
| hole         | the caller heard over 200 ms of silence in the middle of a word          |
| false_alarm  | the assistant was cut by what was neither an interruption nor "uh-huh"   |
| slow_answer  | over 4 s passed from the caller's last word to the assistant's next      |
| stale        | audio of a turn that was cut was sent behind its `clear`                 |
| crash        | the relay failed on the call                                             |
"""

from collections.abc import Mapping
from typing import Any

HOLE_MS = 200.0
ANSWER_S = 4.0

_BY_EVENT = {
    "assistant.lost": "leg_lost",
    "caller.lost": "leg_lost",
    "client.gone": "leg_lost",
    "assistant.unavailable": "no_assistant",
    "assistant.given_up": "no_assistant",
    "assistant.notes_dropped": "notes_lost",
    "call.failed": "crash",
}


class Troubles:
    """One per call. Times are seconds, all on one clock."""

    def __init__(self) -> None:
        self._found: dict[str, None] = {}
        self._waits_since: float | None = None
        self._last_sound_at = -1.0

    @property
    def found(self) -> list[str]:
        """Each kind of trouble that there was, once, in the order in which they came."""
        return list(self._found)

    def told(self, at_s: float, name: str, values: Mapping[str, Any]) -> None:
        """An event of the call, under its name in a recording."""
        if kind := _BY_EVENT.get(name):
            self._found[kind] = None
        match name:
            case "bargein.false" if values["by"] != "agreement":
                self._found["false_alarm"] = None
            case "playout.hole" if values["hole_ms"] > HOLE_MS:
                self._found["hole"] = None
            case "speech.started":
                self._waits_since = None
            case "speech.ended":
                stopped_at = at_s - (values["decided_ms"] - values["at_ms"]) / 1000
                self._waits_since = stopped_at if self._last_sound_at < stopped_at else None
            case "call.ended":
                self._note_answer(at_s)
                if values["frames_stale"]:
                    self._found["stale"] = None

    def sound_sent(self, at_s: float) -> None:
        """A frame with sound was sent to the caller."""
        if self._waits_since is not None:
            self._note_answer(at_s)
        self._last_sound_at = at_s

    def _note_answer(self, at_s: float) -> None:
        since, self._waits_since = self._waits_since, None
        if since is not None and at_s - since > ANSWER_S:
            self._found["slow_answer"] = None
