"""Tells and counts every request of Twilio's that is refused, whichever part of the relay refuses it.

In Twilio's console such a request is "HTTP retrieval failure" (11200); the reason stands here.
"""

import json
from typing import Any

from relay.metrics import OTHER, TWILIO_ENDPOINTS, Metrics
from relay.net.asgi_socket import Scope, Send
from relay.refusals import Refusals
from relay.wire.json_text import shortened
from relay.wire.signature import SIGNATURE_HEADER

_PREFIX = "/twilio/"
_SIGNATURE = SIGNATURE_HEADER.encode()
_SHOWN_MAX = 100


class TwilioRejections:
    """One for the daemon."""

    def __init__(self, metrics: Metrics, refusals: Refusals) -> None:
        self._counter = metrics.webhooks_rejected
        self._refusals = refusals

    def watched(self, scope: Scope, send: Send) -> Send:
        """Return `send`, and see what is answered, if the request is Twilio's: by its path, or by its signature, which
        one to a wrong address has too."""
        path: str = scope["path"]
        if not (path.lower().startswith(_PREFIX) or any(name == _SIGNATURE for name, _ in scope["headers"])):
            return send
        status = 0

        async def watching(event: Any) -> None:
            nonlocal status
            if event["type"].endswith("http.response.start"):
                status = event["status"]
            elif event["type"].endswith("http.response.body") and 400 <= status < 500:
                self._note(path, status, event.get("body", b""))
                status = 0
            await send(event)

        return watching

    def _note(self, path: str, status: int, body: bytes) -> None:
        endpoint = path if path in TWILIO_ENDPOINTS else OTHER
        self._counter.labels(endpoint).inc()
        shown = "".join(character if character.isprintable() else "?" for character in shortened(path, _SHOWN_MAX))
        code = _code(body)
        kind = f"{endpoint} {status} {code}"
        self._refusals.warning("webhook.rejected", kind, endpoint=shown, status=status, code=code)


def _code(body: bytes) -> str | None:
    """The code of the one form that an error has; None where there is no body, as to HEAD."""
    return json.loads(body)["code"] if body else None
