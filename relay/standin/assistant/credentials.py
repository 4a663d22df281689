"""Credentials authenticate the webhooks of the built-in assistant (Vapi docs, "Server authentication").

The third way, the secret in a header, needs no credential: it is `server.secret` of the order.
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, repr=False)
class BearerCredential:
    """A token in a header, behind the word "Bearer" or alone."""

    token: str
    header: str = "Authorization"
    prefixed: bool = True

    def headers(self, _method: str, _url: str, _body: bytes, _now_s: float) -> Mapping[str, str]:
        """The same for every request."""
        return {self.header: f"Bearer {self.token}" if self.prefixed else self.token}


@dataclass(frozen=True, slots=True, repr=False)
class HmacCredential:
    """A signature over `payload`, which may hold {timestamp}, {body}, {method} and {url}; names as in Vapi's schema.

    `timestamp_unit`: receivers in the field disagree on it, and Vapi's documents are silent.
    """

    secret: str
    algorithm: Literal["sha256", "sha512", "sha1"] = "sha256"
    signature_header: str = "x-signature"
    signature_prefix: str = ""
    timestamp_header: str = "x-timestamp"
    include_timestamp: bool = True
    payload: str = "{timestamp}.{body}"
    encoding: Literal["hex", "base64"] = "hex"
    secret_is_base64: bool = False
    timestamp_unit: Literal["s", "ms"] = "ms"

    def headers(self, method: str, url: str, body: bytes, now_s: float) -> Mapping[str, str]:
        """Signature and time stamp of one request; `now_s` is Unix time."""
        stamp = str(int(now_s * (1000 if self.timestamp_unit == "ms" else 1)))
        signed = self.payload.encode()
        # The body comes last: what it holds must not be taken for a placeholder.
        for name, value in (("timestamp", stamp), ("method", method), ("url", url)):
            signed = signed.replace(f"{{{name}}}".encode(), value.encode())
        signed = signed.replace(b"{body}", body)
        key = base64.b64decode(self.secret) if self.secret_is_base64 else self.secret.encode()
        digest = hmac.digest(key, signed, getattr(hashlib, self.algorithm))
        text = digest.hex() if self.encoding == "hex" else base64.b64encode(digest).decode()
        headers = {self.signature_header: self.signature_prefix + text}
        return headers | ({self.timestamp_header: stamp} if self.include_timestamp else {})


Credential = BearerCredential | HmacCredential
