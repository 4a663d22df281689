"""Sorts the reasons for which Vapi ends a call by what helps the caller: a new call, with which assistant, or none.

Sources: the enum `CallEndedReason` of Vapi's API reference, its "Call ended reasons" page, and its "Troubleshoot call
errors" page, which says of some that the call should be tried again.
"""

import re
from enum import Enum, auto


class Family(Enum):
    """What helps a caller whose call with the assistant has ended."""

    SAME_ASSISTANT = auto()
    """A new call with the same assistant: what failed may work the next time."""
    OTHER_ASSISTANT = auto()
    """A new call with another assistant: the same one would fail again, or nothing says that it would not."""
    ENDED = auto()
    """No new call: the caller, the assistant or somebody at Vapi has ended this one, or nobody spoke."""
    NEVER = auto()
    """No new call: what was ordered does not fit together, so that each call fails."""


_SAME_ASSISTANT = re.compile(
    r"\bworker-(?:died|not-available|shutdown)\b"
    r"|\btransport-(?:never-connected|connected-but-call-not-active|missing)\b"
    r"|\bget-transport$"
    r"|^phone-call-provider-closed-websocket$"  # listed beside worker-died as a passing fault of the network
    r"|-5[0-9]{2}-"  # the status of a model, a voice or a transcriber
    r"|\b(?:database|server)-error$"
    r"|\bserver-overloaded\b"
    r"|\b(?:socket-hang-up|econnreset|request-timed-out)$"  # the connection to one of those
    r"|^exceeded-max-duration$"  # the relay ends its calls itself: this limit is Vapi's, and came before ours
)
_ENDED = re.compile(
    r"^customer-"
    r"|^assistant-(?:ended-call|said-end-call-phrase|forwarded-call)\b"
    r"|^silence-timed-out$"
    r"|^manually-canceled$"
    r"|^(?:scheduled-)?call-deleted$"
    r"|^voicemail$"
    r"|\bhook-executed-"
    r"|\bcaller-hungup-"
    r"|\b(?:twilio|sip)-completed-call$"
    r"|^vonage-(?:completed|disconnected)$"
    r"|\bcarrier-released-call$"
)
_BY_ASSISTANT = re.compile(r"^assistant-(?:ended-call|said-end-call-phrase|forwarded-call)\b")
_NEVER = re.compile(
    r"\berror-configfault-|-version-error-validation$|^call-start-error-neither-assistant-nor-server-set$"
)
_RULES = ((_NEVER, Family.NEVER), (_ENDED, Family.ENDED), (_SAME_ASSISTANT, Family.SAME_ASSISTANT))


def family(ended_reason: str | None) -> Family:
    """Return what helps after a call that ended for this `endedReason`, whatever the text.

    None is an end without a reason: Vapi hung up. A reason that no rule knows is `OTHER_ASSISTANT`, as are most
    failures: a caller who is in the middle of a conversation is better off with one assistant too many than with none,
    and the assistant that failed is not called, and paid for, again and again.
    """
    if not ended_reason:
        return Family.ENDED
    return next((kind for rule, kind in _RULES if rule.search(ended_reason)), Family.OTHER_ASSISTANT)


def ended_by_assistant(ended_reason: str) -> bool:
    """Whether the assistant itself has ended the call.

    Of a call whose socket is lost no other reason says what its caller wants: that the customer ended it is what Vapi
    says of a lost socket, and of a call that the relay has hung up.
    """
    return _BY_ASSISTANT.search(ended_reason) is not None
