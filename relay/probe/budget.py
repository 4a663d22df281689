"""The budget bounds the seconds of calls that a probe may be charged for."""

from relay.errors import RelayError


class BudgetSpent(RelayError):
    """A call would cost more than is left. It is not placed."""

    code = "BUDGET_SPENT"


class Budget:
    """The calls that may still be placed, by their longest time.

    Every call is placed with a limit after which the vendor itself ends it, so that the sum of the limits bounds the
    cost whatever happens to this program.
    """

    def __init__(self, max_cost_usd: float, price_usd_per_min: float) -> None:
        self._price_usd_per_s = price_usd_per_min / 60
        self._left_s = max_cost_usd / self._price_usd_per_s if price_usd_per_min else float("inf")

    def affords(self, seconds: float) -> bool:
        """Whether calls of so many seconds in all may be placed."""
        return seconds <= self._left_s

    def spend(self, seconds: float) -> None:
        """Take the seconds of a call that is about to be placed. Raises BudgetSpent, and then takes nothing."""
        if not self.affords(seconds):
            raise BudgetSpent(f"a call of {seconds:g} s would cost more than --max-cost allows")
        self._left_s -= seconds

    def cost_usd(self, seconds: float) -> float:
        """What so many seconds cost at most."""
        return seconds * self._price_usd_per_s
