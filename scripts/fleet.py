"""Simulates what many machines do together: a rolling deploy, the loss of a Redis. docs/capacity.md has the results.

Machines stand in cells. A cell has one HAProxy address and one Redis, and its calls never leave it. A process is in one
of these states, as docs/operate.md has them; a machine's processes are in the same one:

| state    | new calls | its own calls                                   | leaves when                        |
|----------|-----------|-------------------------------------------------|------------------------------------|
| taking   | yes       | go on                                           | the deploy comes to it -> draining |
| draining | no        | go on, and end                                  | `drain_s` -> down                  |
| down     | no        | are handed over: each goes on at the machine of | `restart_s` -> taking              |
|          |           | its cell with the fewest                        |                                    |

Times are simulated seconds. The same seed gives the same figures. `python -m scripts.fleet` prints the tables.
"""

import heapq
import math
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from random import Random

REDIRECT_S = 1.0
"""How long the caller of a call that is handed over waits before asking again: `RESUME_PAUSE_S` of the daemon."""
REQUEST_S = (0.05, 0.3)
"""A request of Twilio's, from its being due to its answer: assumed."""
DIAL_MEDIAN_S, DIAL_SIGMA = 0.8, 0.5
"""A new call with the assistant, from its request to its open socket, log-normal: assumed; p99 is 2.6 s."""
SAVES_PER_CALL_S = 1.2
"""Writes of a call's record, at most: one a second while the caller hears the assistant, and one for each sentence."""
BEATS_PER_S = 2.0
TAKE_OPERATIONS = 4
"""Of a call that goes on elsewhere: load, take, the record with its tokens, the record with its assistant."""
FIRST_PAUSE_S, LONGEST_PAUSE_S, DOUBLINGS_MAX = 0.2, 4.0, 5
"""Of a process whose store fails: see relay/state/write_behind.py."""
ROUND_TRIP_S = 0.0005
"""A write of a record to Redis and its answer, in one data centre: assumed. A process has one under way at a time."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """So many machines in cells of equal size; `calls` at a time, when nothing is deployed."""

    machines: int = 500
    machines_per_cell: int = 10
    processes: int = 14
    calls_per_process: int = 20
    calls: int = 100_000
    mean_call_s: float = 180.0

    @property
    def room(self) -> int:
        """The calls that a machine takes."""
        return self.processes * self.calls_per_process

    @property
    def rings_per_s(self) -> float:
        """How many calls begin, and end, each second."""
        return self.calls / self.mean_call_s


@dataclass(frozen=True, slots=True)
class Deploy:
    """`at_once` machines are out at a time, each of another cell as far as there are so many. They begin together, or
    `staggered`: one after the other, evenly."""

    at_once: int = 10
    drain_s: float = 30.0
    restart_s: float = 5.0
    staggered: bool = True

    @property
    def cycle_s(self) -> float:
        """For how long a machine takes no calls."""
        return self.drain_s + self.restart_s

    def begins_s(self, place: int) -> float:
        """When the machine in this place of the order begins to drain."""
        return self.cycle_s * (place / self.at_once if self.staggered else place // self.at_once)


@dataclass(slots=True)
class DeployResult:
    """What a rolling deploy did."""

    duration_s: float
    rung: int = 0
    """Calls that began meanwhile, with those that were refused."""
    refused: int = 0
    lost: int = 0
    """Calls whose machine stopped while no other of the cell took any."""
    moves: Counter[int] = field(default_factory=Counter)
    """By call."""
    silences_s: list[float] = field(default_factory=list)
    """Of each move: how long the caller hears nothing."""
    dials: Counter[int] = field(default_factory=Counter)
    """At the assistant's provider, by second."""
    asked: Counter[tuple[int, int]] = field(default_factory=Counter)
    """Calls that are taken over, by cell and second."""

    @property
    def most_dials_per_s(self) -> int:
        return max(self.dials.values())

    @property
    def most_taken_per_s(self) -> int:
        """In one cell."""
        return max(self.asked.values(), default=0)

    def silence_s(self, quantile: float) -> float:
        """1 is the longest. 0 where no call was moved."""
        ordered = sorted(self.silences_s) or [0.0]
        return ordered[round(quantile * (len(ordered) - 1))]


class _Machines:
    """Who has which call, and who takes one."""

    def __init__(self, fleet: Fleet) -> None:
        self._room = fleet.room
        self._size = fleet.machines_per_cell
        self.calls: list[set[int]] = [set() for _ in range(fleet.machines)]
        self.taking = [True] * fleet.machines
        self.of: dict[int, int] = {}
        self.cells = math.ceil(fleet.machines / self._size)

    def place(self, call: int, cell: int, *, goes_on: bool = False) -> bool:
        """The call goes to the machine of the cell with the fewest, if that has room; one that goes on takes no new
        place. False where nobody takes it."""
        first = cell * self._size
        takers = [it for it in range(first, min(first + self._size, len(self.calls))) if self.taking[it]]
        machine = min(takers, key=lambda it: len(self.calls[it]), default=None)
        if machine is None or (len(self.calls[machine]) >= self._room and not goes_on):
            return False
        self.calls[machine].add(call)
        self.of[call] = machine
        return True

    def end(self, call: int) -> None:
        self.calls[self.of.pop(call)].discard(call)

    def leave(self, machine: int) -> list[int]:
        """The calls of a machine that stops, which are nobody's now."""
        left = sorted(self.calls[machine])
        self.calls[machine].clear()
        for call in left:
            del self.of[call]
        return left

    def cell_of(self, machine: int) -> int:
        return machine // self._size


def order(fleet: Fleet) -> list[int]:
    """The machines in the order of the deploy: one of each cell, then the next of each."""
    return sorted(range(fleet.machines), key=lambda it: (it % fleet.machines_per_cell, it))


def rolling_deploy(fleet: Fleet, deploy: Deploy, seed: int) -> DeployResult:
    """Deploy to every machine once, under calls that begin and end at random."""
    dice, machines = Random(seed), _Machines(fleet)
    result = DeployResult(deploy.begins_s(fleet.machines - 1) + deploy.cycle_s)
    ends: list[tuple[float, int]] = []

    def begin(call: int, now_s: float) -> None:
        if machines.place(call, dice.randrange(machines.cells)):
            heapq.heappush(ends, (now_s + dice.expovariate(1 / fleet.mean_call_s), call))
        else:
            result.refused += 1

    for call in range(fleet.calls):
        begin(call, 0.0)
    call, ring_s = fleet.calls, dice.expovariate(fleet.rings_per_s)
    for at_s, machine, what in [*_steps(fleet, deploy), (result.duration_s, 0, "over")]:
        while (next_s := min(ring_s, ends[0][0] if ends else math.inf)) < at_s:
            if next_s == ring_s:
                result.rung += 1
                result.dials[int(next_s)] += 1
                begin(call, next_s)
                call, ring_s = call + 1, next_s + dice.expovariate(fleet.rings_per_s)
            elif (ended := heapq.heappop(ends)[1]) in machines.of:
                machines.end(ended)
        if what == "leave":
            _hand_over(machines, machine, at_s, dice, result)
        elif what != "over":
            machines.taking[machine] = what == "take"
    return result


def _steps(fleet: Fleet, deploy: Deploy) -> list[tuple[float, int, str]]:
    """What becomes of which machine when, in the order of time."""
    steps = []
    for place, machine in enumerate(order(fleet)):
        begins_s = deploy.begins_s(place)
        steps += [(begins_s, machine, "drain"), (begins_s + deploy.drain_s, machine, "leave")]
        steps.append((begins_s + deploy.cycle_s, machine, "take"))
    return sorted(steps)


def _hand_over(machines: _Machines, machine: int, at_s: float, dice: Random, result: DeployResult) -> None:
    for call in machines.leave(machine):
        asks_s = dice.uniform(*REQUEST_S) + REDIRECT_S + dice.uniform(*REQUEST_S)
        dial_s = dice.lognormvariate(math.log(DIAL_MEDIAN_S), DIAL_SIGMA)
        if not machines.place(call, machines.cell_of(machine), goes_on=True):
            result.lost += 1
            continue
        result.moves[call] += 1
        result.silences_s.append(asks_s + max(dial_s, dice.uniform(*REQUEST_S)))
        result.dials[int(at_s + asks_s)] += 1
        result.asked[machines.cell_of(machine), int(at_s + asks_s)] += 1


# -- the store


def of_a_cell(fleet: Fleet) -> tuple[int, int]:
    """Its calls and its processes."""
    return round(fleet.calls * fleet.machines_per_cell / fleet.machines), fleet.machines_per_cell * fleet.processes


def operations_per_s(calls: int, processes: int, moved_per_s: float = 0.0) -> float:
    """Commands that Redis gets: the records, and of each process a lease, a look at the clock, one at each owner."""
    beats = BEATS_PER_S * (2 * processes + calls)
    return calls * SAVES_PER_CALL_S + beats + moved_per_s * TAKE_OPERATIONS


@dataclass(frozen=True, slots=True)
class LossResult:
    """What the loss of a cell's Redis does. Nobody hears it: a call goes on without the store."""

    calls: int
    back_s: float
    """From its return until every record is in it again."""
    most_saves_per_s: int
    """Of the records that it had lost, in the busiest second."""
    unprotected: float
    """Calls that end with their process, for so many that die meanwhile."""


def loss_of_redis(fleet: Fleet, outage_s: float, seed: int, *, deaths_per_process_day: float = 0.1) -> LossResult:
    """A cell's Redis is gone for so long, and returns empty. Each process looks again after pauses of its own."""
    dice = Random(seed)
    calls, processes = of_a_cell(fleet)
    saved_s: list[float] = []
    for process in range(processes):
        looks_s = _first_look_after(outage_s, dice)
        mine = calls // processes + (process < calls % processes)
        saved_s += [looks_s - outage_s + ROUND_TRIP_S * (3 + number) for number in range(mine)]
    by_second = Counter(int(at_s) for at_s in saved_s)
    dead = processes * deaths_per_process_day * (outage_s + max(saved_s)) / 86400
    return LossResult(calls, max(saved_s), max(by_second.values()), dead * calls / processes)


def _first_look_after(outage_s: float, dice: Random) -> float:
    """When a process that has tried since 0 finds the store again."""
    at_s, failures = dice.uniform(0, 1 / BEATS_PER_S), 0
    while at_s < outage_s:
        limit_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(failures, DOUBLINGS_MAX))
        at_s, failures = at_s + dice.uniform(FIRST_PAUSE_S / 2, limit_s), failures + 1
    return at_s


# -- the tables

LOADED = Fleet(calls=126_000)
"""90 % full."""
DEPLOYS = (
    ("10 together, drain 30 s", Fleet(), Deploy(staggered=False)),
    ("10 at a time, evenly, drain 30 s", Fleet(), Deploy()),
    ("50 at a time, evenly, drain 30 s", Fleet(), Deploy(at_once=50)),
    ("50 at a time, evenly, drain 300 s", Fleet(), Deploy(at_once=50, drain_s=300.0)),
    ("50 at a time, evenly, drain 30 s, 90 % full", LOADED, Deploy(at_once=50)),
    ("100 at a time, evenly, drain 30 s, 90 % full", LOADED, Deploy(at_once=100)),
)
OUTAGES_S = (5.0, 60.0, 600.0)


def deploy_table(deploys: Iterable[tuple[str, Fleet, Deploy]], seed: int) -> Iterator[str]:
    """The lines of a Markdown table."""
    yield (
        "| machines | takes | calls moved; twice or more | silence: longest; 99 % | dials a second, at most "
        "| commands a second, one Redis, at most | refused; lost |"
    )
    yield "|---|---|---|---|---|---|---|"
    for name, fleet, deploy in deploys:
        result = rolling_deploy(fleet, deploy, seed)
        often = sum(count > 1 for count in result.moves.values())
        calls, processes = of_a_cell(fleet)
        commands = operations_per_s(calls, processes, result.most_taken_per_s)
        yield (
            f"| {name} | {result.duration_s / 60:.0f} min | {len(result.moves):,} of {fleet.calls + result.rung:,}; "
            f"{often:,} | {result.silence_s(1):.1f} s; {result.silence_s(0.99):.1f} s | {result.most_dials_per_s:,} "
            f"| {commands:,.0f} | {result.refused:,}; {result.lost:,} |"
        )


def loss_table(fleet: Fleet, seed: int) -> Iterator[str]:
    """The lines of a Markdown table."""
    yield "| Redis is gone for | calls | all written again after | writes a second, at most | calls lost on average |"
    yield "|---|---|---|---|---|"
    for outage_s in OUTAGES_S:
        result = loss_of_redis(fleet, outage_s, seed)
        yield (
            f"| {outage_s:.0f} s | {result.calls:,} | {result.back_s:.1f} s | {result.most_saves_per_s:,} | "
            f"{result.unprotected:.2f} |"
        )


def main() -> None:
    """Print both tables; it takes a minute."""
    for lines in (deploy_table(DEPLOYS, 1), loss_table(Fleet(), 1)):
        for line in lines:
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()
        sys.stdout.write("\n")


if __name__ == "__main__":
    main()
