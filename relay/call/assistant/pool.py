"""The assistants that calls can be made with, from first to last, and what is known of each of them."""

from collections.abc import Sequence

from relay.call.assistant.dialer import Dialer
from relay.call.assistant.placer import CallPlacer
from relay.logic.assistant.breaker import Breaker, BreakerRules
from relay.logic.assistant.ladder import Ladder


class AssistantPool:
    """All assistants of the daemon: what one call learns about an assistant, the others need not find out again.

    `placer` makes the calls with them, and ends them.
    """

    def __init__(self, dialers: Sequence[Dialer], placer: CallPlacer, rules: BreakerRules | None = None) -> None:
        self.dialers = tuple(dialers)
        self.placer = placer
        self.breakers = tuple(Breaker(rules or BreakerRules()) for _ in dialers)

    def renewed(self, dialers: Sequence[Dialer]) -> "AssistantPool":
        """One of these assistants; what is known of those that are in both stays known."""
        pool, known = AssistantPool(dialers, self.placer), dict(zip(self.dialers, self.breakers, strict=True))
        pool.breakers = tuple(
            known.get(dialer, fresh) for dialer, fresh in zip(pool.dialers, pool.breakers, strict=True)
        )
        return pool

    def __len__(self) -> int:
        return len(self.dialers)

    @property
    def first(self) -> Dialer:
        """The one that calls begin with; its audio format is theirs."""
        return self.dialers[0]

    def find(self, name: str) -> Dialer | None:
        """The assistant of this name, if it is still configured."""
        return next((dialer for dialer in self.dialers if dialer.name == name), None)

    def ladder(self, tries: int) -> Ladder:
        """For one call: at most so many dials of each, between two connections that last."""
        return Ladder(self.breakers, tries)
