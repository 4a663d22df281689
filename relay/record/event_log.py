"""The event log of a recorded call as text: one line for each event, with the milliseconds since the one before."""

import json
from collections.abc import Iterator

from relay.record.recorded_call import RecordedCall


def event_log(call: RecordedCall) -> Iterator[str]:
    """The lines, under the names of the log. Seconds count from the caller's first stream, and may be negative."""
    before_s = call.events[0].at_s if call.events else 0.0
    for event in [*call.events, *call.after_end]:
        at_s, since_ms = event.at_s - call.start_s, (event.at_s - before_s) * 1000
        before_s = event.at_s
        values = "  ".join(f"{name}={shown(value)}" for name, value in event.values.items())
        yield f"{at_s:10.3f}  {f'+{since_ms:.0f}':>7} ms  {event.name:24}  {values}".rstrip()


def shown(value: object) -> str:
    """A value of an event as it stands in a line: a word as it is, anything else as JSON."""
    return (
        value if isinstance(value, str) and value.isidentifier() else printable(json.dumps(value, ensure_ascii=False))
    )


def printable(text: str) -> str:
    """The text without what would move a terminal's cursor, or do worse: others have written it."""
    return "".join(character if character.isprintable() else "?" for character in text)
