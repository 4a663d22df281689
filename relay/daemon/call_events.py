"""GET /calls/{id}/events and GET /events: one call, or all of them, as server-sent events while they happen.

The first event says what runs: `call`, what GET /calls/{id} says, or `calls`, what GET /calls says. Then comes each
event of the call, or of any call with its `call_id`, with `at_s`, the age of that call when it happened. A listener
that does not keep up loses the oldest, and is told how many by `lost`. The answer ends with the call, or when the relay
has stopped taking calls and the last one is over.
"""

from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager

import trio

from relay.call.call import Call
from relay.call.report.events import CallEvent, StateChanged
from relay.call.report.listeners import WAITING_MAX, CallNews, NewsQueue
from relay.daemon.admin import CALLS, check_admin, find_call, summaries
from relay.daemon.endpoint_context import EndpointContext
from relay.daemon.event_stream import CONTENT_TYPE, event_block, news_block
from relay.daemon.routes import Routes
from relay.errors import RequestRefused
from relay.net.asgi_request import AsgiRequest

EVENTS = "/events"
WAITING_OF_ALL_MAX = 4096
"""Of 50 lively calls, ten seconds."""
KEEPALIVE_S = 15.0
"""Proxies close what is silent for longer, often after a minute; and only a write finds a client that is gone."""
STILL_HERE = b": still here\n\n"


class CallEvents:
    """Every listener shows the admin token; so many may listen at a time (`relay.call.report.listeners`)."""

    def __init__(self, context: EndpointContext) -> None:
        self._calls = context.calls
        self._gate = context.gate
        self._listeners = context.limits.listeners

    def add_to(self, routes: Routes) -> None:
        routes.add("GET", EVENTS, self.listen_to_all)
        routes.add("GET", f"{CALLS}/*/events", self.listen)

    async def listen(self, request: AsgiRequest, call_id: str) -> None:
        """Until the call is over or the client is gone."""
        check_admin(self._gate, request.header("authorization"), request.client)
        call = find_call(self._calls, call_id)
        queue = NewsQueue[CallNews](WAITING_MAX)

        def push(event: CallEvent) -> None:
            queue.push(CallNews(call.id, call.age_s, event))
            if isinstance(event, StateChanged) and event.status == "ended":
                queue.close()

        async def first() -> bytes:
            if _has_ended(call):
                queue.close()
            return event_block("call", call.summary())

        await self._stream(request, queue, call.report.listeners.listening_guest(push), first, of_one=True)

    async def listen_to_all(self, request: AsgiRequest, _part: str) -> None:
        """Until the relay has stopped taking calls and the last one is over, or the client is gone."""
        check_admin(self._gate, request.header("authorization"), request.client, EVENTS)
        queue = NewsQueue[CallNews](WAITING_OF_ALL_MAX)

        async def first() -> bytes:
            return event_block("calls", {"calls": await summaries(self._calls)})

        await self._stream(request, queue, self._calls.listeners.listening_guest(queue.push), first, of_one=False)

    async def _close_when_drained(self, queue: NewsQueue[CallNews]) -> None:
        await self._calls.wait_drained()
        queue.close()

    async def _stream(
        self,
        request: AsgiRequest,
        queue: NewsQueue[CallNews],
        listening: AbstractContextManager[bool],
        first: Callable[[], Awaitable[bytes]],
        *,
        of_one: bool,
    ) -> None:
        if request.method == "HEAD":
            await request.answer(200, b"", CONTENT_TYPE)
            return
        with self._listeners.hold(request.client), listening as room:
            if not room:
                raise RequestRefused(503, "BUSY", "too many listen to this already: end one of them")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(request.cancel_when_gone, nursery.cancel_scope)
                nursery.start_soon(self._close_when_drained, queue)
                await request.begin(CONTENT_TYPE)
                await request.send_part(await first())
                await _tell(request, queue, of_one=of_one)
                nursery.cancel_scope.cancel()


async def _tell(request: AsgiRequest, queue: NewsQueue[CallNews], *, of_one: bool) -> None:
    while True:
        part = STILL_HERE
        with trio.move_on_after(KEEPALIVE_S):
            try:
                dropped, news = await queue.take()
            except trio.EndOfChannel:
                break
            part = event_block("lost", {"events": dropped}) if dropped else b""
            part += b"".join([news_block(it, of_one=of_one) for it in news])
        await request.send_part(part)
    await request.send_part(b"", last=True)


def _has_ended(call: Call) -> bool:
    state = call.report.status.current
    return state is not None and state.status == "ended"
