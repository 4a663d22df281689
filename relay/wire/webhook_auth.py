"""Checks that a server webhook is Vapi's: by a secret in a header, a bearer token, or a signature of the body.

Source: Vapi's "Server authentication" page, and the `hmac` plan of its API reference. The documents leave the unit of
the time stamp open, so seconds and milliseconds are both read.
"""

import base64
import hmac
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Header = Callable[[str], str | None]
"""The value of the header of this name, None without one."""

EVENTS_PATH = "/vapi/events"
"""Where the relay takes them, below `server.public_url`."""
AUTH_HEADERS = {"secret": "x-vapi-secret", "bearer": "authorization", "hmac": "x-signature"}
"""The header of each way in, where none is configured."""
MAX_AGE_S = 300.0
"""An older signature, or one from so far in the future, may be a stranger's who has recorded it."""
_MILLISECONDS_FROM = 1e11
"""Such a number of seconds is the year 5138."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookRules:
    """How Vapi's webhooks are let in: the keys `vapi.webhook_...`."""

    auth: Literal["secret", "bearer", "hmac"] = "secret"
    header: str = "x-vapi-secret"
    prefix: str = ""
    timestamp_header: str = "x-timestamp"
    algorithm: Literal["sha256", "sha512", "sha1"] = "sha256"
    encoding: Literal["hex", "base64"] = "hex"
    payload: str = "{timestamp}.{body}"
    credential_id: str = ""


class WebhookVerifier:
    """Takes each of several secrets, so that they can be exchanged. `url` is where the webhooks go, as Vapi knows it.

    Both checks return what is wrong, in words of a fixed list, or None. Comparisons take the same time for every value.
    """

    def __init__(self, rules: WebhookRules, secrets: tuple[str, ...], url: str) -> None:
        self._rules = rules
        self._secrets = tuple(secret.encode() for secret in secrets)
        self._url = url

    def check_head(self, header: Header, now_s: float) -> str | None:
        """Whether the head of the request is good: worth asking before a body is read. `now_s` is Unix time."""
        given = header(self._rules.header)
        if not given:
            return f"webhook {self._word} missing"
        if self._rules.auth == "hmac":
            return self._check_timestamp(header, now_s)
        if self._rules.auth == "bearer":
            scheme, _, token = given.partition(" ")
            given = token.strip() if scheme.lower() == "bearer" else ""
        return None if self._is_any(given, self._secrets) else f"webhook {self._word} wrong"

    def check_body(self, header: Header, body: bytes) -> str | None:
        """Whether the body is the one that was signed; only a signature says anything about it."""
        if self._rules.auth != "hmac":
            return None
        given = header(self._rules.header) or ""
        if not given.startswith(self._rules.prefix):
            return "webhook signature wrong"
        signed = self._signed(header(self._rules.timestamp_header) or "", body)
        digests = (hmac.digest(secret, signed, self._rules.algorithm) for secret in self._secrets)
        known = tuple(it.hex().encode() if self._rules.encoding == "hex" else base64.b64encode(it) for it in digests)
        text = given.removeprefix(self._rules.prefix).strip()
        return None if self._is_any(text, known) else "webhook signature wrong"

    @property
    def _word(self) -> str:
        return {"secret": "secret", "bearer": "token", "hmac": "signature"}[self._rules.auth]

    def _check_timestamp(self, header: Header, now_s: float) -> str | None:
        if "{timestamp}" not in self._rules.payload:
            return None
        text = header(self._rules.timestamp_header)
        if not text:
            return "webhook timestamp missing"
        try:
            stamp = float(text)
        except ValueError:
            return "webhook timestamp wrong"
        at_s = stamp / 1000 if stamp > _MILLISECONDS_FROM else stamp
        return None if math.isfinite(at_s) and abs(now_s - at_s) <= MAX_AGE_S else "webhook timestamp wrong"

    def _signed(self, timestamp: str, body: bytes) -> bytes:
        """The body comes last: what it holds must not be taken for a placeholder."""
        text = self._rules.payload
        for name, value in (("method", "POST"), ("url", self._url), ("timestamp", timestamp)):
            text = text.replace(f"{{{name}}}", value)
        return text.encode("utf-8", "replace").replace(b"{body}", body)

    @staticmethod
    def _is_any(given: str, known: tuple[bytes, ...]) -> bool:
        """Every candidate is compared, so that the time taken does not tell which one came near."""
        data = given.encode("utf-8", "replace")
        matches = [hmac.compare_digest(data, it) for it in known]
        return any(matches)
