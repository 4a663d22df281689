"""Networks are made here by name. Their numbers are chosen to be plausible and hard, not measured."""

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

from relay.standin.lab.schedule import EventKind, LinkConditions, NetworkEvent, Schedule


@dataclass(frozen=True, slots=True)
class Recurring:
    """An event that comes again after a time between the two of `every_s`, and lasts between the two of `for_s`."""

    kind: EventKind
    every_s: tuple[float, float]
    for_s: tuple[float, float] = (0.0, 0.0)
    kbit_s: float | None = None


@dataclass(frozen=True, slots=True)
class Profile:
    """What a kind of network does to everything, and what happens on it now and then."""

    link: LinkConditions
    events: tuple[Recurring, ...] = ()


PROFILES: Mapping[str, Profile] = {
    "clean": Profile(LinkConditions()),
    "home": Profile(LinkConditions(delay_ms=15, jitter_ms=3)),
    "cafe": Profile(
        LinkConditions(delay_ms=25, jitter_ms=15, distribution="exponential", bandwidth_kbit_s=4000),
        (Recurring("stall", (8, 25), (0.2, 0.8)), Recurring("slow", (30, 60), (3, 8), kbit_s=300)),
    ),
    "mobile": Profile(
        LinkConditions(delay_ms=50, jitter_ms=20, distribution="pareto", bandwidth_kbit_s=800),
        (
            Recurring("stall", (10, 30), (0.3, 1.5)),
            Recurring("slow", (20, 60), (2, 6), kbit_s=200),
            Recurring("drop", (30, 90)),
        ),
    ),
    "train": Profile(
        LinkConditions(delay_ms=70, jitter_ms=40, distribution="pareto", bandwidth_kbit_s=500),
        (
            Recurring("stall", (6, 20), (0.5, 3)),
            Recurring("slow", (15, 40), (3, 10), kbit_s=150),
            Recurring("drop", (40, 90), (0.5, 4)),
            Recurring("half_open", (90, 240)),
        ),
    ),
    "tangled": Profile(LinkConditions(delay_ms=30, jitter_ms=10, reorder_share=0.1, reorder_ms=60)),
}
LENGTH_S = 3600.0


def scheduled(name: str, seed: int, *, length_s: float = LENGTH_S) -> Schedule:
    """The schedule of the profile `name`, the same for the same seed. Raises KeyError for an unknown one."""
    profile = PROFILES[name]
    rng = Random(f"{name} {seed}")
    events = [event for recurring in profile.events for event in _occurrences(recurring, rng, length_s)]
    events.sort(key=lambda event: event.at_s)
    return Schedule(profile.link, tuple(events), length_s, seed)


def _occurrences(recurring: Recurring, rng: Random, length_s: float) -> list[NetworkEvent]:
    events = []
    at_s = rng.uniform(*recurring.every_s)
    while at_s < length_s:
        events.append(
            NetworkEvent(round(at_s, 3), recurring.kind, round(rng.uniform(*recurring.for_s), 3), recurring.kbit_s)
        )
        at_s += rng.uniform(*recurring.every_s)
    return [event for event in events if event.at_s < length_s]
