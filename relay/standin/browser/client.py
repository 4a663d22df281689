"""A simulated browser says audio, keeps what it hears, and moves its session from one transport to the other."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx
import trio

from relay.errors import LegLost
from relay.media.frames import FRAME_MS
from relay.net.transport import default_tls
from relay.standin.browser.links import Link, PollingLink, WebSocketLink, checked
from relay.standin.browser.record import (
    BrowserOptions,
    BrowserPlayback,
    BrowserRecord,
    BrowserRefused,
    HeardFrame,
    Ready,
    newer,
)
from relay.standin.browser.uplink import UplinkLog


class BrowserClient:
    """Made by `open_browser`. `record` keeps what was heard, `uplink` what was said, `ready` the answer to `start`.

    `said` wakes the link when there is something to send.
    """

    def __init__(self, url: str, options: BrowserOptions, http: httpx.AsyncClient, nursery: trio.Nursery) -> None:
        self.options = options
        self.record = BrowserRecord()
        self.uplink = UplinkLog()
        self.said = trio.Event()
        self.ready: Ready  # missing until the session has begun: `hasattr` asks whether there is one to resume
        self._url = url
        self._http = http
        self._nursery = nursery
        self._link: Link | None = None
        self._playback = BrowserPlayback()
        self._told: dict[int, int] = {}
        self._said_bytes = 0
        self._changed = trio.Event()

    @property
    def transport(self) -> str | None:
        """websocket, polling, or None while nothing is attached."""
        return None if self._link is None else self._link.kind

    # What it says

    async def say(self, audio: bytes, *, paced: bool = True) -> None:
        """Say audio of the declared format in messages of 20 ms, at the speed of speech or all at once.

        While no link is attached it is kept, up to ten seconds, and sent by the next one.
        """
        size = self.options.format.frame_bytes
        began_s = trio.current_time()
        for number, at in enumerate(range(0, len(audio), size)):
            if paced:
                await trio.sleep_until(began_s + number * FRAME_MS / 1000)
            self.say_message(audio[at : at + size])
        await trio.lowlevel.checkpoint()

    def say_message(self, pcm: bytes) -> int:
        """One message of any length with the next number, which is returned."""
        sequence = self.uplink.append(round(self.options.format.duration_ms(self._said_bytes)), pcm)
        self._said_bytes += len(pcm)
        self.said.set()
        self.said = trio.Event()
        return sequence

    async def send(self, message: str | bytes) -> None:
        """Send this message as it is, right or wrong. LegLost when it cannot be."""
        if self._link is None:
            raise LegLost("nothing is attached")
        await self._link.send(message)

    async def report_played(self, turn: int, ms: int) -> None:
        """Say that so much of a turn was heard. LegLost when it cannot be said."""
        await self.send(json.dumps({"type": "played", "turn": turn, "ms": ms}))

    async def stop(self) -> None:
        """End the session in order. LegLost when nothing is attached, BrowserRefused when polling is refused."""
        await self.send(json.dumps({"type": "stop"}))

    # How it is attached

    async def attach_websocket(self, **changed: Any) -> None:
        """Attach by a WebSocket, which resumes the session if there is one; `changed` overrides fields of `start`.

        Raises BrowserRefused with the relay's code, LegLost without a connection. It leaves polling before; an open
        WebSocket is the relay's to fence.
        """
        start, session_id = self.options.start(), None
        if hasattr(self, "ready"):
            start |= {"resume": self.ready.resume, "after": self.record.cursor}
            session_id = self.ready.session_id
        if isinstance(self._link, PollingLink):
            await self.lose()
        link = WebSocketLink(self, self._url, session_id)
        await self._nursery.start(self._run, link, {**start, **changed})

    async def attach_where_it_is(self) -> None:
        """As `attach_websocket`, at the process that has the session, if the first one names another."""
        try:
            await self.attach_websocket()
        except BrowserRefused as refused:
            if not refused.session_id:
                raise
            self.ready = replace(self.ready, session_id=refused.session_id)
            await self.attach_websocket()

    async def attach_polling(self) -> None:
        """Begin by polling, or go on by it; the next request fences an open WebSocket. Raises BrowserRefused."""
        if not hasattr(self, "ready"):
            answer = await self._http.post("/client", json=self.options.start())
            self.ready = Ready.of(checked(answer))
        await self._nursery.start(self._run, PollingLink(self, self._http, self.ready), None)

    async def lose(self) -> None:
        """Lose the link without a goodbye; nothing without one."""
        link, self._link = self._link, None
        if link is not None:
            await link.lose()

    async def _run(self, link: Link, start: dict[str, Any] | None, task_status: trio.TaskStatus[None]) -> None:
        try:
            if isinstance(link, WebSocketLink):
                assert start is not None
                await link.run(start, lambda ready: self._begin(link, ready), task_status)
            else:
                await self.lose()
                self._link = link
                await link.run(task_status)
        finally:
            if self._link is link:
                self._link = None
            self.news()

    def _begin(self, link: Link, ready: Ready) -> None:
        if hasattr(self, "ready") and ready.next is not None:
            self.uplink.resume_at(ready.next)
        self.ready = ready
        self._link = link

    # What it hears

    def take_audio(self, n: int, turn: int, pcm: bytes) -> None:
        """Audio came, as message `n`; from a link."""
        now_s = trio.current_time()
        late = turn <= self.record.fence
        if self.record.take_audio(HeardFrame(n, turn, pcm, now_s, late)):
            self._playback.play(turn, len(pcm) / 2 / self.ready.rate_hz, now_s)
        self.news()

    def take_text(self, message: dict[str, Any]) -> None:
        """A text message came; from a link."""
        fence = self.record.fence
        self.record.take_text(message, trio.current_time())
        if self.record.fence > fence:
            self._playback.interrupt(self.record.fence, trio.current_time())
        self.news()

    def news(self) -> None:
        """Wake whoever waits for something."""
        self._changed.set()
        self._changed = trio.Event()

    async def wait_until(self, holds: Callable[[], object], timeout_s: float = 30.0) -> None:
        """Return once `holds()`, looked at when something came or the link changed. `trio.TooSlowError` otherwise."""
        with trio.fail_after(timeout_s):
            while not holds():
                await self._changed.wait()

    async def report(self, every_s: float) -> None:
        """Say what would have been heard so far, as a page does. Until cancelled."""
        while True:
            await trio.sleep(every_s)
            for turn, ms in newer(self._playback.heard_ms(trio.current_time()), self._told):
                try:
                    await self.report_played(turn, ms)
                except LegLost:
                    break
                self._told[turn] = ms


@asynccontextmanager
async def open_browser(url: str, options: BrowserOptions | None = None) -> AsyncIterator[BrowserClient]:
    """A browser in a session with the relay at `url` (http or https); leaving loses its link.

    Raises BrowserRefused or LegLost when there is no session to be had. To send a wrong `start`, see
    `attach_websocket`.
    """
    options = options or BrowserOptions()
    headers, timeout_s = {"Origin": options.origin} if options.origin else {}, options.timeout_s + 5
    async with (
        httpx.AsyncClient(
            base_url=url, verify=default_tls(), headers=headers, timeout=timeout_s, trust_env=False
        ) as http,
        _one_error(),
        trio.open_nursery() as nursery,
    ):
        client = BrowserClient(url, options, http, nursery)
        await (client.attach_polling() if options.polling else client.attach_websocket())
        if options.report_every_s is not None:
            nursery.start_soon(client.report, options.report_every_s)
        yield client
        await client.lose()
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def _one_error() -> AsyncIterator[None]:
    """Raise what the body or the handshake raised without the nursery's group around it, where it is one error."""
    try:
        yield
    except BaseExceptionGroup as group:
        if len(group.exceptions) == 1:
            raise group.exceptions[0] from None
        raise
