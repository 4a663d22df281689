#!/usr/bin/env python3
"""Measure what Vapi's webhooks cost a relay beside live calls, and what the calls notice of them.

Each round runs the same calls twice on a relay of its own, without and with webhooks, and prints a line: how many were
accepted and passed on a second, how long an answer took from the moment at which the webhook was due, what one cost of
the relay's CPU, and what became of the audio both times.
"""

import asyncio
import json
import multiprocessing
import os
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from multiprocessing.connection import Connection
from statistics import median
from typing import Any

import click

from relay.bench.load import WARM_UP_S, LoadResult, LoadSpec
from relay.bench.machine import cores
from relay.bench.process import counted_between, cpu_s, scrape
from relay.bench.relay_process import WEBHOOK_SECRET, RelayProcess
from relay.bench.run import relay_to_load, run_load
from relay.bench.scores import percentiles

CONNECTIONS = 32
AROUND_S = 1.5
"""So much longer than the calls are looked at they come, before and after."""
PASSED_ON_S = 60.0
"""At most, behind the last one."""
CALLS_OF_EVENTS = 50
"""Of how many calls the webhooks are: those of one are passed on one after the other."""
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


def body(number: int) -> bytes:
    """A webhook of some 3 kB, as Vapi's are of a short call."""
    call = f"call-{number % CALLS_OF_EVENTS}"
    said = [{"role": "bot", "message": f"word {it} " * 10, "time": it, "secondsFromStart": it} for it in range(12)]
    message = {
        "type": ("status-update", "user-interrupted", "speech-update", "transfer-update")[number % 4],
        "timestamp": 1_800_000_000_000 + number,
        "status": "in-progress",
        "turnId": str(number),
        "call": {"id": call, "type": "vapi.websocketCall", "status": "in-progress", "monitor": {"listenUrl": "x" * 80}},
        "assistant": {"id": "a", "name": "desk", "model": {"messages": [{"role": "system", "content": "p" * 500}]}},
        "artifact": {"messages": said},
    }
    return json.dumps({"message": message}).encode()


def message_bytes(received: bytes) -> int:
    """How long the message is that begins so; 0 before its head is there."""
    head, end, _ = received.partition(b"\r\n\r\n")
    lengths = [int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return len(head) + len(end) + sum(lengths) if end else 0


class Sender(asyncio.Protocol):
    """One connection of Vapi's, which sends a webhook, and the next when that is answered."""

    def __init__(self, run: "Sending") -> None:
        self._run = run
        self._due_s = 0.0
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._run.free(self)

    def send(self, due_s: float, content: bytes) -> None:
        self._due_s = due_s
        head = f"POST /vapi/events HTTP/1.1\r\nHost: x\r\nX-Vapi-Secret: {WEBHOOK_SECRET}\r\nContent-Type: "
        self._transport.write(f"{head}application/json\r\nContent-Length: {len(content)}\r\n\r\n".encode() + content)

    def data_received(self, data: bytes) -> None:
        self._received += data
        if message_bytes(self._received) == len(self._received):
            self._run.answered(self._due_s, int(self._received[9:12]))
            self._received = b""
            self._run.free(self)

    def connection_lost(self, _exc: Exception | None) -> None:
        self._run.lost += 1


class Sending:
    """`rate` webhooks a second are due, whether those before them were answered or not."""

    def __init__(self, port: int, rate: float, seconds: float) -> None:
        self._port, self._rate, self._seconds = port, rate, seconds
        self._free: deque[Sender] = deque()
        self._due: deque[tuple[float, bytes]] = deque()
        self._latencies_ms: list[float] = []
        self._refused: Counter[int] = Counter()
        self.lost = 0
        """Connections that were closed."""

    async def run(self) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        contents = [body(number) for number in range(round(self._rate * self._seconds))]
        opened = [
            await loop.create_connection(lambda: Sender(self), "127.0.0.1", self._port) for _ in range(CONNECTIONS)
        ]
        began, sent = time.monotonic(), 0
        while sent < len(contents):
            while sent < len(contents) and (due := began + sent / self._rate) <= time.monotonic():
                self._due.append((due, contents[sent]))
                sent += 1
            self._send()
            await asyncio.sleep(0.001)
        while self._due or (  # noqa: ASYNC110 - so it is with what is due
            len(self._latencies_ms) + self._refused.total() < len(contents) and not self.lost
        ):
            await asyncio.sleep(0.001)
        took_s = time.monotonic() - began
        for transport, _ in opened:
            transport.close()
        answered = percentiles(self._latencies_ms, 50, 99)
        figures = {"accepted_per_s": len(self._latencies_ms) / took_s, "refused": dict(self._refused), "took_s": took_s}
        return {**figures, "accepted": len(self._latencies_ms), "answer_ms": answered}

    def free(self, sender: Sender) -> None:
        self._free.append(sender)
        self._send()

    def answered(self, due_s: float, status: int) -> None:
        if status == HTTPStatus.OK:
            self._latencies_ms.append((time.monotonic() - due_s) * 1000)
        else:
            self._refused[status] += 1

    def _send(self) -> None:
        while self._due and self._free:
            self._free.popleft().send(*self._due.popleft())


class Endpoint(asyncio.Protocol):
    """The operator's endpoint, which answers 200 to every request."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._received = b""

    def data_received(self, data: bytes) -> None:
        self._received += data
        while 0 < (n_bytes := message_bytes(self._received)) <= len(self._received):
            self._received = self._received[n_bytes:]
            self._transport.write(ANSWER)


async def _serve(told: Connection) -> None:
    server = await asyncio.get_running_loop().create_server(Endpoint, "127.0.0.1", 0)
    told.send(server.sockets[0].getsockname()[1])
    await server.serve_forever()


def _endpoint(told: Connection) -> None:
    _to_load_core()
    asyncio.run(_serve(told))


def _sending(told: Connection, relay: tuple[int, int], rate: float, seconds: float, after_s: float) -> None:
    """What the webhooks cost is what the relay's CPU took meanwhile; the calls' own part is taken off later."""
    _to_load_core()
    time.sleep(after_s)
    pid, port = relay
    before, cpu_before, began = scrape(port), cpu_s(pid), time.monotonic()
    figures = asyncio.run(Sending(port, rate, seconds).run())
    while (
        scrape(port).counters["relay_events_waiting"][""] and time.monotonic() - began < figures["took_s"] + PASSED_ON_S
    ):
        time.sleep(0.2)
    figures["wall_s"], figures["cpu_s"] = time.monotonic() - began, cpu_s(pid) - cpu_before
    forwarded = counted_between(before, scrape(port), "relay_events_forwarded_total")
    told.send({**figures, "forwarded_per_s": sum(forwarded.values()) / figures["wall_s"]})


def _to_load_core() -> None:
    _, core = cores()
    if core is not None:
        os.sched_setaffinity(0, {core})


@contextmanager
def endpoint() -> Iterator[str]:
    """The address of an endpoint in a process of its own."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.Process(target=_endpoint, args=(there,), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{here.recv()}/events"
    finally:
        process.terminate()
        process.join()


def measured(calls: int, seconds: float, rate: float) -> dict[str, Any]:
    """One run. `rate` 0: no webhooks. Without calls there is nothing but webhooks."""
    with endpoint() as url, relay_to_load(max(calls, 1), seconds, "mulaw", max_calls=calls + 1, forward_url=url) as it:
        relay, spec = it
        here, there = multiprocessing.Pipe()
        settled_s = WARM_UP_S - AROUND_S + 0.06 * calls if calls else 0.5
        arguments = (there, (relay.pid, relay.port), rate, seconds + 2 * AROUND_S, settled_s)
        process = multiprocessing.Process(target=_sending, args=arguments, daemon=True)
        if rate:
            process.start()
        load = _calls(spec, relay) if calls else None
        figures = here.recv() if rate else {}
        events = [line.get("event") for line in relay.lines()]
        return {**figures, **(_heard(load) if load else {}), "holes": events.count("playout.hole")}


def _calls(spec: LoadSpec, relay: RelayProcess) -> LoadResult:
    return run_load("relay.bench.load", spec, relay, LoadResult)


def _heard(load: LoadResult) -> dict[str, Any]:
    return {
        "calls_cpu_s_per_s": load.cpu_s / load.wall_s,
        "up_p99_ms": load.up.added_ms["p99"],
        "down_p99_ms": load.down.added_ms["p99"],
        "lag_p99_ms": load.loop_lag_p99_ms,
        "frames_lost": load.up.lost + load.down.lost,
        "load_late": load.load_late,
    }


@click.command()
@click.option("--calls", type=click.IntRange(0, 200), default=20, show_default=True, help="Live calls beside them.")
@click.option("--rate", type=click.FloatRange(1, 2000), default=500.0, show_default=True, help="Webhooks a second.")
@click.option("--seconds", type=click.FloatRange(2, 600), default=10.0, show_default=True, help="How long they come.")
@click.option("--rounds", type=click.IntRange(1, 20), default=3, show_default=True, help="How often.")
def main(calls: int, rate: float, seconds: float, rounds: int) -> None:
    """Measure, and print a line of JSON for each round, and the medians."""
    results = []
    for _ in range(rounds):
        without = measured(calls, seconds, 0.0) if calls else {}
        result = measured(calls, seconds, rate)
        own_s = without.get("calls_cpu_s_per_s", 0.0) * result["wall_s"]
        result["cpu_ms_per_event"] = (result.pop("cpu_s") - own_s) * 1000 / max(1, result["accepted"])
        result |= {f"{name}_without": value for name, value in without.items()}
        results.append(result)
        click.echo(json.dumps({name: _short(value) for name, value in result.items()}))
    names = ("accepted_per_s", "forwarded_per_s", "cpu_ms_per_event", "holes", "down_p99_ms", "lag_p99_ms")
    found = {name: [it[name] for it in results] for name in names if name in results[0]}
    click.echo(json.dumps({f"median_{name}": _short(median(values)) for name, values in found.items()}))


def _short(value: Any) -> Any:
    return round(value, 3) if isinstance(value, float) else value


if __name__ == "__main__":
    main()
