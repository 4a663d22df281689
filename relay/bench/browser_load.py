"""The load of browsers is a process of its own, `python -m relay.bench.browser_load SPEC`, as `relay.bench.load` is.

The browsers are those of `relay.standin`: first all of them over a WebSocket, then as many by polling,
against the same relay and measured in the same way. Prints a list of `TransportResult`.
"""

import gc
import math
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import msgspec
import trio

from relay.bench.assistant import AssistantListener, LoadAssistant
from relay.bench.caller import FRAME_S, SETUP_TIMEOUT_S, CallerRecord
from relay.bench.load import DRAIN_S, RAMP_S, WARM_UP_S, DelayResult, LoadSpec, delay_result, offsets, sampled
from relay.bench.process import cpu_s
from relay.bench.reactor import Reactor
from relay.bench.relay_process import PUBLIC_URL
from relay.bench.scores import Direction, SampleWindow, percentiles, score_down, score_up
from relay.bench.sounds import CallerTrack, caller_track, reference, wideband
from relay.errors import LegLost
from relay.standin.browser import BrowserClient, BrowserOptions, BrowserRefused, open_browser

TRANSPORTS = ("websocket", "polling")


class TransportResult(msgspec.Struct):
    """What one transport did. `up` counts from when a browser says something; when it polls it first collects that."""

    transport: str
    cpu_ms_per_call_second: float
    up: DelayResult
    down: DelayResult
    calls_lost: int
    load_late_p99_ms: float


@dataclass(slots=True)
class BrowserPosition:
    """Where in the track a browser is. `offset` is where it began."""

    track: CallerTrack
    offset: int
    frames_sent: int = 0

    @property
    def place(self) -> int:
        """The frame that is said next."""
        return (self.offset + self.frames_sent) % len(self.track.frames)


@dataclass(frozen=True, slots=True)
class Browser:
    """One call: the browser, its assistant, and what is known of its audio."""

    client: BrowserClient
    speaker: BrowserPosition
    assistant: LoadAssistant
    record: CallerRecord = field(default_factory=CallerRecord)

    @property
    def lost(self) -> bool:
        """Whether one of its two sockets is gone."""
        return self.client.transport is None or self.assistant.lost

    async def leave(self) -> None:
        """End the session, if it is still there."""
        with suppress(LegLost, BrowserRefused):
            await self.client.stop()

    def heard(self) -> CallerRecord:
        """The record with what came down, on the monotonic clock; call it once.

        What was interrupted before it came is not heard.
        """
        ahead_s = time.monotonic() - trio.current_time()
        heard = self.client.record
        self.record.received += [(frame.at_s + ahead_s, frame.pcm) for frame in heard.frames if not frame.late]
        self.record.clears += [at_s + ahead_s for at_s in heard.interrupted_at_s.values()]
        return self.record


class BrowserLoad:
    """Both runs: all browsers over a WebSocket, then as many by polling."""

    def __init__(self, spec: LoadSpec) -> None:
        self._spec = spec
        self._reactor = Reactor()
        self._track = caller_track()
        self._frames = wideband(self._track)
        self._reference = reference(spec.audio)
        self._waiting: list[tuple[LoadAssistant, trio.Event]] = []
        self._url = f"http://127.0.0.1:{spec.relay_port}"

    async def run(self) -> list[TransportResult]:
        """Raises BrowserRefused, LegLost, or trio.TooSlowError when the relay does not dial the assistant."""
        AssistantListener(socket.socket(fileno=self._spec.listener_fd), self._reactor, self._attach)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._serve_assistants)
            results = [await self._measure(transport) for transport in TRANSPORTS]
            nursery.cancel_scope.cancel()
        return results

    async def _serve_assistants(self) -> None:
        while True:
            due_at = self._reactor.work()
            with trio.move_on_after(math.inf if due_at is None else max(0.0, due_at - time.monotonic())):
                await trio.lowlevel.wait_readable(self._reactor.fileno())

    def _attach(self, sock: socket.socket, early: bytes) -> None:
        assistant, attached = self._waiting.pop(0)
        assistant.attach(sock, self._reactor, early)
        attached.set()

    async def _measure(self, transport: str) -> TransportResult:
        spec, late_s = self._spec, self._reactor.late_s
        async with trio.open_nursery() as nursery:
            browsers: list[Browser] = []
            for number in range(spec.calls):
                browsers.append(await nursery.start(self._browse, number, transport))
                await trio.sleep(RAMP_S + number % 20 / 1000)
            gc.freeze()  # what is there now stays: the collector need not look at it while it is measured
            await trio.sleep(WARM_UP_S)
            late_s.clear()
            self._reactor.measuring = True
            cpu_before, start = cpu_s(spec.relay_pid), time.monotonic()
            await trio.sleep(spec.seconds)
            cpu, window = cpu_s(spec.relay_pid) - cpu_before, SampleWindow(start, time.monotonic())
            self._reactor.measuring = False
            late_ms = [seconds * 1000 for seconds in late_s]
            await trio.sleep(DRAIN_S)
            lost = sum(browser.lost for browser in browsers)
            for browser in browsers:
                await browser.leave()
            nursery.cancel_scope.cancel()
        await trio.sleep(DRAIN_S)
        up, down = self._score(browsers, window)
        return TransportResult(
            transport=transport,
            cpu_ms_per_call_second=round(cpu * 1000 / (window.end - window.start) / spec.calls, 2),
            up=delay_result(up, 0),
            down=delay_result(down, max(0, spec.target_ms - spec.lead_ms)),
            calls_lost=lost,
            load_late_p99_ms=percentiles(late_ms, 99)["p99"] or 0.0,
        )

    async def _browse(
        self, number: int, transport: str, task_status: trio.TaskStatus[Browser] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """One call until its session is over. Raises BrowserRefused if it never began."""
        offset, at = offsets(number, self._track)
        speaker, attached = BrowserPosition(self._track, offset), trio.Event()
        assistant = LoadAssistant(
            speaker, self._track, self._reference, at, sampled=number in sampled(self._spec.calls)
        )
        self._waiting.append((assistant, attached))
        options = BrowserOptions(origin=PUBLIC_URL, polling=transport == "polling")
        try:
            async with open_browser(self._url, options) as client:
                with trio.fail_after(SETUP_TIMEOUT_S):
                    await attached.wait()
                browser = Browser(client, speaker, assistant)
                task_status.started(browser)
                await self._speak(browser)
        except* BrowserRefused:
            if not attached.is_set():
                raise

    async def _speak(self, browser: Browser) -> None:
        start = trio.current_time() + FRAME_S
        while True:
            due = start + browser.speaker.frames_sent * FRAME_S
            await trio.sleep_until(due)
            if self._reactor.measuring:
                self._reactor.late_s.append(trio.current_time() - due)
            browser.client.say_message(self._frames[browser.speaker.place])
            browser.record.sent.append(time.monotonic())
            browser.speaker.frames_sent += 1

    def _score(self, browsers: Sequence[Browser], window: SampleWindow) -> tuple[Direction, Direction]:
        spec, up, down = self._spec, Direction(), Direction()
        for number in sampled(spec.calls):
            browser = browsers[number]
            caller, assistant, offset = browser.heard(), browser.assistant.record, browser.speaker.offset
            score_up(caller, assistant, self._track, offset, into=[(window, up)], mulaw=spec.audio == "mulaw")
            score_down(caller, assistant, self._reference, spec.target_ms, into=[(window, down)], mulaw=False)
        return up, down


def main() -> int:
    """Run the load that the first argument describes, and print its results; 1 when the relay did not take it."""
    spec = msgspec.json.decode(sys.argv[1], type=LoadSpec)
    results: list[TransportResult] = []
    try:
        results += trio.run(BrowserLoad(spec).run)
    except* (BrowserRefused, LegLost, trio.TooSlowError, OSError) as failed:
        sys.stderr.write(f"load: {failed.exceptions}\n")
    sys.stdout.write(msgspec.json.encode(results).decode() + "\n")
    return 0 if results else 1


if __name__ == "__main__":
    sys.exit(main())
