"""What records cost a real Redis, and the process that writes them: the figures of docs/capacity.md."""

import time
from collections.abc import Callable
from functools import partial
from statistics import median

from relay.bench.process import cpu_s
from relay.state.redis import RedisBackend
from tests.support.redis_server import RedisServer

WRITES, ROUNDS = 2000, 5
CALLS = 20
SIZES = (1024, 4096, 16384)


def test_what_a_record_and_a_beat_cost(redis_server: RedisServer) -> None:
    backend = RedisBackend("process", redis_server.url)
    sids = [f"CA{number:032}" for number in range(CALLS)]
    expires_at = backend.now() + 3600

    def writes(record: bytes) -> None:
        for number in range(WRITES):
            assert backend.save(sids[number % CALLS], record, expires_at)

    def beats() -> None:
        for _ in range(WRITES // 2):
            backend.beat()
            backend.now()
            assert all(backend.owns(sids))

    for size in SIZES:
        print(f"\na record of {size} bytes: {cost(redis_server, WRITES, partial(writes, bytes(size)))}", end="")
    print(f"\na beat of a process with {CALLS} calls: {cost(redis_server, WRITES // 2, beats)}")
    backend.close()


def cost(server: RedisServer, operations: int, work: Callable[[], None]) -> str:
    """CPU of each operation in us, there and here: the median of some rounds, and how far they lie apart."""
    assert server.process is not None
    there, here = list[float](), list[float]()
    for _ in range(ROUNDS):
        began = cpu_s(server.process.pid), time.process_time()
        work()
        ended = cpu_s(server.process.pid), time.process_time()
        there.append((ended[0] - began[0]) * 1e6 / operations)
        here.append((ended[1] - began[1]) * 1e6 / operations)
    return f"Redis {shown(there)} us, the process {shown(here)} us"


def shown(figures: list[float]) -> str:
    return f"{median(figures):.0f} ({min(figures):.0f} to {max(figures):.0f})"
