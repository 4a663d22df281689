"""Checks by its signature that a request comes from Twilio.

Implements Twilio's "Webhooks security" and "Webhook shared keys" pages: base64 of an HMAC over the URL exactly as
Twilio requested it and, for form posts, the sorted parameters. The hash is SHA-1 with the account's auth token, or
SHA-256 with a shared key when the settings header says so. A header that names a shared key but no hash, or SHA-1, can
be read in both ways, and Twilio's own library takes the key's secret then: both secrets are good. A check never raises
on what a peer sent: what cannot be checked is not valid.
"""

import hmac
import re
from base64 import b64encode
from collections.abc import Iterable, Mapping

from relay.errors import ConfigError

SIGNATURE_HEADER = "x-twilio-signature"
SETTINGS_HEADER = "x-twilio-webhooks-signature-settings"

_DEFAULT_PORTS = {"http": "80", "ws": "80", "https": "443", "wss": "443"}
_URL = re.compile(r"([a-z]+://)((?:[^/?#@]*@)?)(\[[^\]/?#]*\]|[^:/?#@]*)(:[0-9]+)?([/?#].*)?", re.DOTALL)


class TwilioValidator:
    """Checks signatures against every auth token in use (the old and the new one during a rotation) and shared key.

    `shared_keys` maps the key's id to its secret. Raises `ConfigError` for an empty secret, which anybody could
    sign with.
    """

    def __init__(self, auth_tokens: tuple[str, ...], shared_keys: Mapping[str, str] | None = None) -> None:
        keys = dict(shared_keys or {})
        if not all(auth_tokens) or not all(keys.values()):
            raise ConfigError("a Twilio auth token or shared key is empty")
        self._tokens = tuple(token.encode() for token in auth_tokens)
        self._shared_keys = {key_id: secret.encode() for key_id, secret in keys.items()}

    def form_valid(
        self, url: str, params: Iterable[tuple[str, str]], signature: str | None, settings: str | None
    ) -> bool:
        """True if a form post is signed, or a GET with no params.

        `params` are as they came: decoded, blank ones kept, in any order.
        """
        return self._valid(url, _joined(params), signature, settings)

    def handshake_valid(self, wss_url: str, signature: str | None, settings: str | None) -> bool:
        """True if a WebSocket handshake is signed over the `wss://` URL of the `<Stream>`, with `:443` or without."""
        return self._valid(wss_url, "", signature, settings)

    def _valid(self, url: str, appended: str, signature: str | None, settings: str | None) -> bool:
        if not signature:
            return False
        given = signature.encode("ascii", "replace")
        algorithm, secrets = self._signers(settings)
        try:
            bases = [(form + appended).encode() for form in _url_forms(url)]
        except UnicodeEncodeError:
            return False
        # Every candidate is computed, so that the time taken does not tell which one came near.
        matches = [
            hmac.compare_digest(b64encode(hmac.digest(secret, base, algorithm)), given)
            for secret in secrets
            for base in bases
        ]
        return any(matches)

    def _signers(self, settings: str | None) -> tuple[str, tuple[bytes, ...]]:
        """Return the hash and the secrets that may have signed; no secrets if the settings name what we do not know."""
        fields = [part.partition("=") for part in (settings or "").split(",")]
        algorithms = [
            value.strip().upper() for name, _, value in fields if name.strip() == "algorithm" and value.strip()
        ]
        key_ids = [value.strip() for name, _, value in fields if name.strip() == "key"]
        secret = self._shared_keys.get(key_ids[0]) if len(key_ids) == 1 else None
        named = () if secret is None else (secret,)
        if not algorithms or algorithms == ["HMAC_SHA1"]:
            return "sha1", named + self._tokens
        return "sha256", named if algorithms == ["HMAC_SHA256"] else ()


def _joined(params: Iterable[tuple[str, str]]) -> str:
    """Return the names, sorted, each with every distinct value, sorted, without separators."""
    return "".join(name + value for name, value in sorted(set(params)))


def _url_forms(url: str) -> set[str]:
    """Return what may have been signed: the URL without a port and with one, because Twilio signs either, and where it
    has no query without a question mark and with one, because servers do not tell an empty query from none."""
    parts = _URL.fullmatch(url)
    if parts is None:
        return {url}
    scheme, user, host, port, rest = (part or "" for part in parts.groups())
    port = port or ":" + _DEFAULT_PORTS.get(scheme.removesuffix("://"), "443")
    path, _, query = rest.partition("?")
    rests = (rest,) if query or "#" in rest else (path, path + "?")
    return {f"{scheme}{user}{host}{shown}{each}" for shown in ("", port) for each in rests}
