"""Asks Vapi for its server messages: which, where to, and how it shows that they are its own.

Source: the schema `Server` of Vapi's API reference.
"""

import math
from typing import Any

from relay.wire.webhook_auth import WebhookRules

SERVER_MESSAGES = (
    *("status-update", "end-of-call-report", "hang", "user-interrupted", "transfer-update"),
    *("tool-calls", "transfer-destination-request", "handoff-destination-request"),
)
"""The messages that are asked for by webhook. What is said comes by the socket, which is faster."""
_TIMEOUT_LEAST_S, _TIMEOUT_MOST_S = 20, 300  # Vapi's default, and what its schema allows
_RETRIES = {"type": "exponential", "maxRetries": 5, "baseDelaySeconds": 1}


def webhook_server(url: str, rules: WebhookRules, secret: str, *, answer_s: float) -> dict[str, Any]:
    """Return `assistantOverrides.server`: where Vapi posts its server messages, and how it shows that they are its own.

    A message that is not taken is sent five times more. `answer_s` is how long an answer may take here.
    """
    server: dict[str, Any] = {
        "url": url,
        "timeoutSeconds": math.ceil(min(max(answer_s + 5, _TIMEOUT_LEAST_S), _TIMEOUT_MOST_S)),
        "backoffPlan": dict(_RETRIES),
    }
    if rules.auth == "secret":
        return server | {"headers": {rules.header: secret}}
    return server | {"credentialId": rules.credential_id}
