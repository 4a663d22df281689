"""Requests are signed here as Twilio signs them (Twilio docs, "Webhooks security")."""

import base64
import hashlib
import hmac
from collections.abc import Mapping


def sign(auth_token: str, url: str, form: Mapping[str, str] | None = None) -> str:
    """Base64 of the HMAC-SHA1 over the URL and the form's names and values, sorted by name."""
    text = url + "".join(name + value for name, value in sorted((form or {}).items()))
    return base64.b64encode(hmac.new(auth_token.encode(), text.encode(), hashlib.sha1).digest()).decode()
