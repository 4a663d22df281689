"""Measures the rounds of an event loop: how much CPU time passes between two looks at the sockets, and who had it.

A call hears and sends nothing within a round. CPU time is the same on a busy machine and on a quiet one.
"""

import gc
import heapq
import time
from collections import Counter
from itertools import count

import msgspec
import trio

WORST = 10
"""So many of the longest rounds are told with their tasks."""
STEP_S = 1e-5
"""Rounds are counted in steps of so long: a list of them would grow by 4 KB with each short call of the relay, whose
memory is looked at."""


class Round(msgspec.Struct):
    """One round. tasks: CPU time in ms by the name of the task, with how many steps it was."""

    ms: float
    steps: int
    tasks: dict[str, str]


class Rounds(msgspec.Struct):
    """All rounds since the last look. ms: CPU time of a round, by quantile. worst, total_ms: by the name of a task, if
    tasks are measured.

    collections_ms: the longest pause of the garbage collector, by its generation.
    """

    count: int
    ms: dict[str, float]
    worst: list[Round]
    total_ms: dict[str, float]
    collections_ms: dict[str, float]


class RoundsInstrument(trio.abc.Instrument):
    """Measures the loop that it is given to. `tell` may be called in another thread."""

    def __init__(self) -> None:
        self._number = count()
        self._reset()
        self._collects_since = 0.0
        gc.callbacks.append(self._collects)

    def _reset(self) -> None:
        self._rounds: Counter[int] = Counter()
        self._worst: list[tuple[float, int, Counter[str], Counter[str]]] = []
        self._total: Counter[str] = Counter()
        self._collections: Counter[str] = Counter()
        self._began_s: float | None = None
        self._cost: Counter[str] = Counter()
        self._steps: Counter[str] = Counter()

    def tell(self) -> Rounds:
        """What was measured since the last time."""
        rounds, worst, total, collections = self._rounds, self._worst, self._total, self._collections
        self._reset()
        return Rounds(
            count=rounds.total(),
            ms={f"p{q:g}": round(quantile_steps(rounds, q) * STEP_S * 1000, 2) for q in (50, 99, 99.9, 100)},
            worst=[
                Round(
                    round(cost_s * 1000, 2),
                    sum(steps.values()),
                    {name: f"{used_s * 1000:.2f} in {steps[name]}" for name, used_s in costs.most_common(8)},
                )
                for cost_s, _, costs, steps in sorted(worst, reverse=True)
                if costs
            ],
            total_ms={name: round(used_s * 1000, 1) for name, used_s in total.most_common(15)},
            collections_ms={generation: round(used_s * 1000, 2) for generation, used_s in collections.items()},
        )

    def after_io_wait(self, timeout: float) -> None:
        self._cost, self._steps = Counter(), Counter()
        self._began_s = time.thread_time()

    def before_io_wait(self, timeout: float) -> None:
        if self._began_s is None:
            return
        used_s = time.thread_time() - self._began_s
        self._rounds[round(used_s / STEP_S)] += 1
        self._total.update(self._cost)
        entry = (used_s, next(self._number), self._cost, self._steps)
        if len(self._worst) < WORST:
            heapq.heappush(self._worst, entry)
        elif used_s > self._worst[0][0]:
            heapq.heapreplace(self._worst, entry)

    def _collects(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self._collects_since = time.thread_time()
            return
        generation, took_s = str(info["generation"]), time.thread_time() - self._collects_since
        self._collections[generation] = max(self._collections[generation], took_s)  # type: ignore[assignment]


class TasksInstrument(RoundsInstrument):
    """Measures the tasks, too, which makes the loop half as slow again."""

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._step_s = time.thread_time()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self._cost[task.name] += time.thread_time() - self._step_s  # type: ignore[assignment]
        self._steps[task.name] += 1


def quantile_steps(rounds: Counter[int], percent: float) -> int:
    """The length, in steps, that so many of the rounds do not exceed."""
    rank, so_far = int(rounds.total() * percent / 100), 0
    for steps in sorted(rounds):
        so_far += rounds[steps]
        if so_far > rank:
            return steps
    return max(rounds, default=0)
