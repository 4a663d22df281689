"""Notices when one assistant ends its calls in the same way twice in a row, each soon after it began.

| remembered     | a call was lost                              | `again` | remembered then |
|----------------|----------------------------------------------|---------|-----------------|
| nothing        | soon, for a fault                            | False   | that fault      |
| a fault        | soon, for the same one of the same assistant | True    | that fault      |
| a fault        | soon, for another one, or of another         | False   | the new one     |
| nothing, or a  | later, or nobody said why                    | False   | nothing         |
| fault          |                                              |         |                 |

Such a fault lies in the assistant or in the conversation, and a third call would meet it too. A connection that breaks
off without a word says nothing about either.
"""

SOON_S = 10.0
"""A call that lives for longer has helped the caller. It is also the shortest limit that Vapi sets a call
(`maxDurationSeconds`), whose end is no fault."""


class Recurrence:
    """One per call: what the caller's last connection with an assistant was lost for."""

    def __init__(self) -> None:
        self._last: tuple[int, str] | None = None

    def again(self, assistant: int, fault: str | None, lived_s: float) -> bool:
        """Note a loss; whether it is the one before once more. `fault` is None where the peer did not say why."""
        before, self._last = self._last, None
        if fault is None or lived_s >= SOON_S:
            return False
        self._last = assistant, fault
        return self._last == before
