"""A Twilio media stream as the call's caller."""

from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import Literal

import trio
from msgspec.structs import replace

from relay.call.caller.leg import CallerAudio, CallerEvent, CallerGone, Dropped, Heard, KeyPressed
from relay.errors import LegClosed, LegLost
from relay.logic.caller.reorder import ReorderStatistics
from relay.logic.caller.stream_order import InOrder, StreamOrder
from relay.media.frames import TELEPHONE
from relay.net.outbox import Outbox
from relay.net.sockets import Found, MessageSocket
from relay.wire import twilio


class TwilioLeg:
    """A `<Connect><Stream>` after its `start` message (Twilio Media Streams), which had the number before `first`.

    Audio that overtook other messages waits for them, for `reorder_ms` at most.
    """

    format = TELEPHONE
    joins_frames = True

    def __init__(
        self, socket: MessageSocket, outbox: Outbox, stream_sid: str, *, first: int, reorder_ms: float
    ) -> None:
        self.outbox = outbox
        self.audio = partial(twilio.media, stream_sid)
        self._clear = twilio.clear(stream_sid)
        self._stream_sid = stream_sid
        self._socket = socket
        self._order = StreamOrder[CallerAudio](reorder_ms, first)
        self._ready: deque[CallerEvent] = deque()

    def order(self) -> ReorderStatistics:
        return self._order.statistics()

    async def receive(self) -> CallerEvent | None:
        if self._ready:
            await trio.lowlevel.checkpoint()
            return self._ready.popleft()
        deadline = self._order.deadline
        try:
            message = await (self._socket.receive() if deadline is None else self._receive_until(deadline))
        except (LegLost, LegClosed):
            self._make_ready(self._order.end())
            if not self._ready:
                raise
            return self._ready.popleft()
        if message is None:
            self._make_ready(self._order.expire(trio.current_time()))
            return self._ready.popleft() if self._ready else None
        return self._take(twilio.parse(message))

    async def receive_each(self, take: Callable[[CallerEvent], Found | None]) -> Found:
        while True:
            event = await self.receive()
            found = None if event is None else take(event)
            if found is None and not self._waits:
                found = await self._take_each(take)
            if found is not None:
                return found

    @property
    def _waits(self) -> bool:
        """Whether there is something for `receive` besides the next message."""
        return bool(self._ready) or self._order.deadline is not None

    async def _take_each(self, take: Callable[[CallerEvent], Found | None]) -> Found | None:
        """Give each event to `take` as it comes. None: what is next is for `receive`."""
        found: Found | None = None

        def take_message(message: str | bytes) -> Literal[True] | None:
            nonlocal found
            parsed = twilio.parse(message)
            if isinstance(parsed, twilio.Media) and self._order.take_turn(parsed.sequence, parsed.timestamp_ms):
                found = take(CallerAudio(parsed.timestamp_ms, parsed.payload, trio.current_time()))
                return None if found is None else True  # as nearly always; nothing waits
            event = self._take(parsed)
            found = None if event is None else take(event)
            return True if found is not None or self._waits else None

        with suppress(LegLost, LegClosed):  # `receive` tells, behind what still waits
            await self._socket.receive_each(take_message)
        return found

    async def _receive_until(self, deadline: float) -> str | bytes | None:
        """None when audio has waited long enough for what is missing."""
        with trio.move_on_at(deadline):
            return await self._socket.receive()
        return None

    def _take(self, event: twilio.Event) -> CallerEvent | None:
        now = trio.current_time()
        if isinstance(event, twilio.Media):
            return self._take_audio(event.sequence, event.timestamp_ms, event.payload, now)
        match event:
            case twilio.MarkEcho() | twilio.Dtmf() | twilio.StreamStop():
                self._make_ready(self._order.other(event.sequence, now))
        match event:
            case twilio.MarkEcho(name=name):
                mark = twilio.parse_mark(name)
                return Heard(*mark) if mark else None
            case twilio.Dtmf(digit=digit):
                return KeyPressed(digit)
            case twilio.StreamStop():
                return CallerGone()
        return None

    def _take_audio(self, number: int, stamp_ms: int, payload: bytes, now: float) -> CallerEvent | None:
        taken = self._order.audio(number, stamp_ms, CallerAudio(stamp_ms, payload, now), now)
        self._make_ready(taken.ready)
        if taken.dropped:
            return Dropped(taken.dropped)
        return self._ready.popleft() if self._ready else None

    def _make_ready(self, in_order: Iterable[InOrder[CallerAudio]]) -> None:
        for audio, missing in in_order:
            self._ready.append(replace(audio, missing=missing) if missing else audio)

    def clear(self) -> str:
        return self._clear

    def mark(self, turn: int, position_ms: int) -> str:
        return twilio.mark(self._stream_sid, twilio.mark_name(turn, position_ms))
