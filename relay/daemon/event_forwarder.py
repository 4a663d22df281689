"""Passes Vapi's server messages on to the operator's endpoint, signed, and asks it what Vapi wants an answer to.

The signature is `sha256=` and the HMAC in hexadecimal, with RELAY_EVENTS_SECRET, over the time stamp, a dot and the
body. Each try has a time stamp of its own, and the delivery id of all.
"""

import hmac
import json
import time
from collections.abc import Mapping

from relay.errors import LegLost
from relay.net.poster import Poster
from relay.net.rest import RestClient
from relay.state.event_journal import EventDelivery
from relay.wire.vapi_events import VapiEvent
from relay.wire.vapi_replies import answer_of

ANSWER_MAX_BYTES = 256 * 1024


class EventForwarder:
    """Shared by all calls. `poster` takes events to `url`, `rest` questions: their answers are read."""

    def __init__(self, url: str, secret: str, rest: RestClient, poster: Poster) -> None:
        self._url = url
        self._secret = secret.encode()
        self._rest = rest
        self._poster = poster

    async def deliver(self, delivery: EventDelivery) -> None:
        """Pass one event on. Raises RelayError unless it was answered with 2xx."""
        body = envelope(delivery.message, delivery.call_id, delivery.call_sid)
        status = await self._poster.post(body, self._headers(body, delivery.delivery_id))
        if not 200 <= status < 300:
            raise LegLost(f"answered with {status}")

    async def ask(self, event: VapiEvent, call_id: str | None, call_sid: str | None) -> bytes:
        """Return the answer to Vapi. Raises RelayError when there is none that Vapi could use, or not in time."""
        asked = envelope(event.message, call_id, call_sid)
        status, body = await self._rest.post_bytes(self._url, asked, self._headers(asked, event.delivery_id))
        if status != 200:
            raise LegLost(f"answered with {status}")
        answer = answer_of(event, body) if len(body) <= ANSWER_MAX_BYTES else None
        if answer is None:
            raise LegLost("the answer is not one that Vapi takes")
        return answer

    def _headers(self, body: bytes, delivery_id: str) -> Mapping[str, str]:
        stamp = str(int(time.time()))
        digest = hmac.digest(self._secret, f"{stamp}.".encode() + body, "sha256").hex()
        return {
            "Content-Type": "application/json",
            "X-Relay-Signature": f"sha256={digest}",
            "X-Relay-Timestamp": stamp,
            "X-Relay-Delivery": delivery_id,
        }


def envelope(message: bytes, call_id: str | None, call_sid: str | None) -> bytes:
    """What is passed on: the message as it was stored, with our ids of its call, null where it is none of ours."""
    ids = json.dumps({"call_id": call_id, "call_sid": call_sid}).encode()
    return ids[:-1] + b', "event": ' + message + b"}"
