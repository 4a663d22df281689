"""Decides which callers of a full house are sent on: two relays that send to each other must not do so for ever."""

from collections import OrderedDict

SENT_MAX = 3
"""How often one call is sent on. The webhook may be repeated, so once is too few."""
KNOWN_MAX = 4096
"""Calls that are remembered; beyond it the one that was sent on longest ago is forgotten."""


class Overflow:
    """The calls that were sent on not long ago, by CallSid."""

    def __init__(self) -> None:
        self._sent: OrderedDict[str, int] = OrderedDict()

    def send_on(self, sid: str) -> bool:
        """Whether this call is sent on now. Counts it if so."""
        sent = self._sent.pop(sid, 0)
        self._sent[sid] = min(sent + 1, SENT_MAX)
        if len(self._sent) > KNOWN_MAX:
            self._sent.popitem(last=False)
        return sent < SENT_MAX
