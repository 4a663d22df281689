"""GET /calls/{id}/events: one call as it happens, as server-sent events (WHATWG HTML, "Server-sent events").

The first event is `call`, what GET /calls/{id} says, with the `state` if there is one yet; then each event of the call
with `at_s`, the age of the call when it happened. A listener that does not keep up loses the oldest, and is told how
many by `lost`. The answer ends with the call.
"""

import json
from collections.abc import Mapping
from functools import partial
from typing import Any

import trio

from relay.call.call import Call
from relay.call.report.events import CallEvent, FalseAlarm, Interrupted, Said, Speech, StateChanged, Trouble
from relay.call.report.report import EventQueue
from relay.daemon.admin import CALLS, check_admin, find_call
from relay.daemon.endpoint_context import EndpointContext
from relay.daemon.routes import Routes
from relay.errors import RequestRefused
from relay.net.asgi_request import AsgiRequest

CONTENT_TYPE = "text/event-stream; charset=utf-8"
TOLD = (Said, Speech, StateChanged, Interrupted, FalseAlarm, Trouble)
KEEPALIVE_S = 15.0
"""Proxies close what is silent for longer, often after a minute; and only a write finds a client that is gone."""


class CallEvents:
    """Every listener shows the admin token; so many may listen to one call (`relay.call.report.report`)."""

    def __init__(self, context: EndpointContext) -> None:
        self._calls = context.calls
        self._gate = context.gate
        self._listeners = context.limits.listeners

    def add_to(self, routes: Routes) -> None:
        routes.add("GET", f"{CALLS}/*/events", self.listen)

    async def listen(self, request: AsgiRequest, call_id: str) -> None:
        """Until the call is over or the client is gone."""
        check_admin(self._gate, request.header("authorization"), request.client)
        call = find_call(self._calls, call_id)
        if request.method == "HEAD":
            await request.answer(200, b"", CONTENT_TYPE)
            return
        queue = EventQueue()

        def push(event: CallEvent) -> None:
            if isinstance(event, TOLD):
                queue.push(event)

        with self._listeners.hold(request.client), call.report.listening_guest(push) as room:
            if not room:
                raise RequestRefused(503, "BUSY", "too many listen to this call already: end one of them")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(request.cancel_when_gone, nursery.cancel_scope)
                await _tell(request, call, queue)
                nursery.cancel_scope.cancel()


async def _tell(request: AsgiRequest, call: Call, queue: EventQueue) -> None:
    began_at = trio.current_time() - call.age_s
    await request.begin(CONTENT_TYPE)
    state = call.report.status.current
    await request.send_part(_told("call", call.summary() | ({"state": state.status} if state else {})))
    over = state is not None and state.status == "ended"
    while not over:
        part = b": still here\n\n"
        with trio.move_on_after(KEEPALIVE_S):
            dropped, events = await queue.take()
            part = _told("lost", {"events": dropped}) if dropped else b""
            part += b"".join(_line(event, at - began_at) for at, event in events)
            over = any(isinstance(event, StateChanged) and event.status == "ended" for _, event in events)
        await request.send_part(part)
    await request.send_part(b"", last=True)


def _line(event: CallEvent, at_s: float) -> bytes:
    told = partial(_told, at_s=at_s)
    match event:
        case Said(role=role, text=text, final=final):
            return told("final" if final else "partial", {"role": role, "text": text})
        case Speech(role=role, started=started):
            return told("speech", {"role": role, "status": "started" if started else "stopped"})
        case StateChanged(status=status, reason=reason):
            return told("state", {"status": status, "reason": reason})
        case Interrupted():
            shown = ("turn", "by", "onset_to_clear_ms", "flushed_ms", "heard_ms")
            return told("interrupt", {name: getattr(event, name) for name in shown})
        case FalseAlarm(turn=turn):
            return told("false_alarm", {"turn": turn})
        case Trouble(leg=leg, code=code, error=error):
            return told("error", {"leg": leg, "code": code, "error": error})
    return b""


def _told(name: str, values: Mapping[str, Any], at_s: float | None = None) -> bytes:
    time = {} if at_s is None else {"at_s": round(at_s, 3)}
    return f"event: {name}\ndata: {json.dumps({**time, **values})}\n\n".encode()
