"""A daemon is killed in the middle of calls, again and again: they go on in the next process, with what was said.

$ENDURANCE_KILLS says how many times with each store (`make endurance`: 20); without it twice.
"""

import os
from itertools import cycle, islice
from pathlib import Path
from random import Random

from relay.standin.assistant import Assistant, Behaviour
from tests.support.cuts import median_and_p95
from tests.support.killed_calls import GOES_ON_S, MOMENTS, Moment, kill_once
from tests.support.places import Place, balanced_place, socket_place
from tests.support.redis_server import RedisServer

FEW = 2
CALLS_EACH = 2
BEHAVIOUR = Behaviour(concurrency_limit=1000, answer_interruption=True)


async def kill_often(place: Place, assistant: Assistant) -> list[float]:
    dice, gaps = Random(1), list[float]()
    kills = int(os.environ.get("ENDURANCE_KILLS") or FEW)
    moments = islice(cycle(MOMENTS), kills * CALLS_EACH)
    for of_kill in _in_groups(list(moments)):
        gaps += await kill_once(place, assistant, of_kill, dice)
    return gaps


def _in_groups(moments: list[Moment]) -> list[list[Moment]]:
    return [moments[at : at + CALLS_EACH] for at in range(0, len(moments), CALLS_EACH)]


def report(name: str, place: Place, gaps: list[float]) -> None:
    median, p95 = median_and_p95(gaps)
    start, slow = median_and_p95(place.starts_s)
    print(
        f"\n{name}: {len(gaps)} calls, {len(gaps) // CALLS_EACH} kills; from the next process being ready to the "
        f"next stream: median {median:.2f} s, p95 {p95:.2f} s, at most {max(gaps):.2f} s; "
        f"start of a process: median {start:.2f} s, p95 {slow:.2f} s"
    )


async def test_killed_on_one_socket_with_a_file(tmp_path: Path) -> None:
    async with socket_place(tmp_path, BEHAVIOUR) as (place, assistant):
        gaps = await kill_often(place, assistant)
    report("sqlite, one socket", place, gaps)
    assert max(gaps) < GOES_ON_S


async def test_killed_behind_a_load_balancer_with_redis(redis_server: RedisServer) -> None:
    async with balanced_place(redis_server.url, BEHAVIOUR) as (place, assistant):
        gaps = await kill_often(place, assistant)
        report("redis, two processes", place, gaps)
    assert max(gaps) < GOES_ON_S
