"""How much of each attack there is: in a row, and at once, from one address and from many."""

from collections.abc import Iterator
from dataclasses import dataclass

from tests.hostile.attacker import AttackSpec
from tests.hostile.attacks import BY_NAME

MANY = 40
IN_CALLS_MAX = 20
"""Connections at once that are let in: ten by telephone, and ten by browser, which is the share of one address. More of
them would show what so many calls cost, and not what a flood does."""


def addresses(count: int) -> list[str]:
    """So many addresses of the loopback network, none of which the relay trusts as a proxy."""
    return [f"127.0.1.{number}" for number in range(1, count + 1)]


@dataclass(frozen=True, slots=True)
class Dose:
    """How much there is of each attack.

    in_a_row, row_per_s: how many connections, none of which is let in, and how many of them in a second. at_once: how
    many stay open, for `hold_s`; one that the relay closes is followed by another, until twice as many were made.
    spreads: from how many addresses. rest_s: how long the calls are measured without an attack. short_calls: after how
    many the memory is looked at. added_max_ms: how much later than without an attack 99 % of the audio may be.
    """

    rest_s: float
    in_a_row: int
    row_per_s: float
    at_once: int
    hold_s: float
    spreads: tuple[int, ...]
    short_calls: tuple[int, ...]
    added_max_ms: float
    flood_bytes_per_s: float = 4_000_000.0

    def attacks(self, name: str) -> Iterator[tuple[str, AttackSpec]]:
        """Each with how it is carried out, in words."""
        in_call = BY_NAME[name].in_call or BY_NAME[name].polls
        at_once = min(self.at_once, IN_CALLS_MAX) if in_call else self.at_once
        if self.in_a_row and not in_call:
            yield (
                f"{self.in_a_row:,} in a row",
                self._spec(
                    name, 1, self.in_a_row, 20, self.row_per_s, hold_s=0.1, seconds=3 * self.in_a_row / self.row_per_s
                ),
            )
        for spread in self.spreads:
            where = "one address" if spread == 1 else f"{spread} addresses"
            spec = self._spec(
                name,
                spread,
                2 * at_once,
                at_once,
                per_s=at_once,
                hold_s=self.hold_s,
                seconds=self.hold_s + 1.0,
            )
            yield f"{at_once:,} at once, {where}", spec

    def warm_up(self) -> AttackSpec:
        """As many connections as any attack has at once, which do nothing."""
        *_, (_, wave) = self.attacks("silent")
        return wave

    def _spec(
        self, name: str, spread: int, total: int, at_once: int, per_s: float, *, hold_s: float, seconds: float
    ) -> AttackSpec:
        return AttackSpec(
            name=name,
            port=0,
            addresses=addresses(spread),
            total=total,
            at_once=at_once,
            per_s=per_s,
            hold_s=hold_s,
            seconds=seconds,
            flood_bytes_per_s=self.flood_bytes_per_s,
        )


FULL = Dose(
    rest_s=20.0,
    in_a_row=10_000,
    row_per_s=300.0,
    at_once=1000,
    hold_s=10.0,
    spreads=(1, MANY),
    short_calls=(200, 600, 2000),
    added_max_ms=20.0,
)
"""Some 40 minutes: 17 of attacks; the rest is looking whether the relay is as before, and short calls."""
SMALL = Dose(
    rest_s=3.0,
    in_a_row=0,
    row_per_s=100.0,
    at_once=200,
    hold_s=1.0,
    spreads=(4,),
    short_calls=(60,),
    added_max_ms=200.0,
)
