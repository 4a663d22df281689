"""Writes events of calls as server-sent events (WHATWG HTML, "Server-sent events").

What a browser is told too has the name that it has there. Everything else has its name in the log.
"""

import json
from collections.abc import Mapping
from typing import Any

from relay.call.report.assistant_events import Said
from relay.call.report.events import CallerPaused, CallerSpoke, CallEvent, Speech, StateChanged, Trouble
from relay.call.report.interruption_events import FalseAlarm, Interrupted
from relay.call.report.listeners import CallNews

CONTENT_TYPE = "text/event-stream; charset=utf-8"


def event_block(name: str, values: Mapping[str, Any]) -> bytes:
    """One event: its data is a JSON object, in one line and in ASCII."""
    return f"event: {name}\ndata: {json.dumps(dict(values))}\n\n".encode()


def news_block(news: CallNews, *, of_one: bool) -> bytes:
    """An event of a call. Whoever listens to one call needs no `call_id`."""
    name, values = _told(news.event)
    call = {} if of_one else {"call_id": news.call_id}
    return event_block(name, {**call, "at_s": round(news.at_s, 3), **values})


def _told(event: CallEvent) -> tuple[str, dict[str, Any]]:
    match event:
        case Said(role=role, text=text, final=final):
            return "final" if final else "partial", {"role": role, "text": text}
        case Speech(role=role, started=started):
            details = event.log_values() if isinstance(event, CallerSpoke | CallerPaused) else {}
            return "speech", {"role": role, "status": "started" if started else "stopped", **details}
        case StateChanged(status=status, reason=reason):
            return "state", {"status": status, "reason": reason}
        case Interrupted():
            shown = ("turn", "by", "onset_to_clear_ms", "flushed_ms", "heard_ms")
            return "interrupt", {name: getattr(event, name) for name in shown}
        case FalseAlarm(turn=turn):
            return "false_alarm", {"turn": turn}
        case Trouble(leg=leg, code=code, error=error):
            return "error", {"leg": leg, "code": code, "error": error}
    return event.recorded()
