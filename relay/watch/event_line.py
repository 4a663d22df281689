"""An event of a live call as one line, with the age of the call and the milliseconds since the event before."""

from rich.text import Text

from relay.record.event_log import shown
from relay.watch.admin_client import ServerEvent

_OF_THE_CALL = ("id", "call_sid", "assistant_call_id", "state", "turn", "queued_ms")
_STYLES = {
    "call": "bold",
    "error": "bold magenta",
    "false_alarm": "red",
    "final": "green",
    "interrupt": "bold red",
    "lost": "bold magenta",
    "partial": "dim",
    "playout.hole": "magenta",
    "speech": "yellow",
    "state": "bold cyan",
}


class EventLines:
    """Writes the lines of one call, one after the other."""

    def __init__(self) -> None:
        self._before_s: float | None = None

    def line(self, event: ServerEvent) -> Text:
        """Of `call`, which comes first, only some values are shown."""
        values = dict(event.values)
        at_s = values.pop("at_s", None)
        if event.name == "call":
            at_s = values["duration_s"]
            values = {name: values.get(name) for name in _OF_THE_CALL}
        told = "  ".join(f"{name}={shown(value)}" for name, value in values.items())
        return Text(f"{self._times(at_s)}  {event.name:22}  {told}".rstrip(), _STYLES.get(event.name, ""))

    def _times(self, at_s: float | None) -> str:
        """What was lost happened at no time that is known."""
        if at_s is None:
            return " " * 22
        since = "" if self._before_s is None else f"+{(at_s - self._before_s) * 1000:.0f}"
        self._before_s = at_s
        return f"{at_s:10.3f}  {since:>7} ms" if since else f"{at_s:10.3f}{' ' * 12}"
