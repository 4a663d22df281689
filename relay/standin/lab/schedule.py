"""A schedule says what a bad network does and when; it can be written to a file and replayed."""

from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

EventKind = Literal["stall", "slow", "drop", "close", "half_open", "refuse"]
Distribution = Literal["uniform", "normal", "exponential", "pareto"]
Share = Annotated[float, Meta(ge=0, le=1)]
NotNegative = Annotated[float, Meta(ge=0)]
Positive = Annotated[float, Meta(gt=0)]


@dataclass(frozen=True, slots=True)
class LinkConditions:
    """What happens to everything, each way.

    `jitter_ms` is added to `delay_ms`: at most twice it ("uniform"), spread around it ("normal"), with a long tail
    ("exponential") or a very long one ("pareto"); its mean is `jitter_ms` in every case. Nothing overtakes anything,
    but for `reorder_share` of the WebSocket messages, which are held for up to `reorder_ms` more.
    """

    delay_ms: NotNegative = 0.0
    jitter_ms: NotNegative = 0.0
    distribution: Distribution = "normal"
    bandwidth_kbit_s: Positive | None = None
    reorder_share: Share = 0.0
    reorder_ms: NotNegative = 0.0


@dataclass(frozen=True, slots=True)
class NetworkEvent:
    """Something that happens `at_s` after the beginning, to every connection there is then.

    - stall: nothing moves for `for_s`, then all of it comes.
    - slow: `kbit_s` each way for `for_s`, if that is less than the link has.
    - drop: a TCP reset to both sides. With `for_s` nobody can connect for so long.
    - close: both sides see the end of the stream, after what was under way.
    - half_open: both sides stay connected, and nothing ever arrives any more.
    - refuse: for `for_s`, who connects is reset.
    """

    at_s: NotNegative
    kind: EventKind
    for_s: NotNegative = 0.0
    kbit_s: Positive | None = None


@dataclass(frozen=True, slots=True)
class Schedule:
    """`events` in the order of time, over again after each `length_s`. `seed` decides the jitter of every byte."""

    link: LinkConditions = LinkConditions()
    events: tuple[NetworkEvent, ...] = ()
    length_s: Annotated[float, Meta(ge=1)] = 3600.0
    seed: int = 0
    version: Literal[1] = 1

    def to_json(self) -> str:
        """For a file that people can read and change."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2).decode()

    @classmethod
    def from_json(cls, text: str) -> "Schedule":
        """What `to_json` wrote. Raises `ValueError` that says what is wrong."""
        try:
            schedule = msgspec.json.decode(text, type=cls)
        except msgspec.MsgspecError as error:
            raise ValueError(f"not a schedule: {error}") from None
        times = [event.at_s for event in schedule.events]
        if times != sorted(times) or (times and times[-1] >= schedule.length_s):
            raise ValueError("not a schedule: events must be in the order of time, before length_s")
        return schedule


CLEAN = Schedule()
