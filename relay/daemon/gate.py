"""Decides who is let in: Twilio by its signature, operators by their token. Each refusal is told with its reason, and
without what was sent.
"""

import hmac
from collections.abc import Sequence

from relay.config import Config
from relay.daemon.limits import Limits
from relay.errors import AuthRejected
from relay.refusals import Refusals
from relay.wire.signature import TwilioValidator

Form = Sequence[tuple[str, str]]


def stream_url(public_url: str, target: str) -> str:
    """The address of one of our WebSockets as Twilio dials and signs it, which is always `wss://`."""
    return f"wss://{public_url.partition('://')[2]}{target}"


class Gate:
    """One for the daemon. `endpoint` is the fixed path of the endpoint, for the counter and the log."""

    def __init__(self, config: Config, refusals: Refusals, limits: Limits) -> None:
        self._refusals = refusals
        self._wrong_tokens = limits.wrong_tokens
        self.renew(config)

    def renew(self, config: Config) -> None:
        """Judge by this configuration and its secrets from now on."""
        self._public_url = config.server.public_url
        self._accounts = frozenset(config.twilio.account_sids)
        self._checked = config.twilio.validate_signatures
        self._validator = TwilioValidator(config.secrets.twilio_auth_tokens, config.secrets.twilio_shared_keys)
        self._admin_token = config.secrets.admin_token

    def rejected(self, endpoint: str, reason: str) -> AuthRejected:
        """Count and log a refusal; returns what to raise."""
        self._refusals.rejected(endpoint, reason)
        return AuthRejected(reason)

    def check_signed(self, endpoint: str, signature: str | None) -> None:
        """Whether there is a signature at all: worth asking before a body is read. Raises AuthRejected."""
        if self._checked and not signature:
            raise self.rejected(endpoint, "signature missing")

    def check_form(self, endpoint: str, target: str, form: Form, signature: str | None, settings: str | None) -> None:
        """A webhook of Twilio; `target` is the path and query as they were sent. Raises AuthRejected."""
        self.check_signed(endpoint, signature)
        url = self._public_url + target
        if self._checked and not self._validator.form_valid(url, form, signature, settings):
            raise self.rejected(endpoint, "signature wrong")

    def check_handshake(self, endpoint: str, target: str, signature: str | None, settings: str | None) -> None:
        """The upgrade request of a media socket; otherwise as `check_form`."""
        self.check_signed(endpoint, signature)
        url = stream_url(self._public_url, target)
        if self._checked and not self._validator.handshake_valid(url, signature, settings):
            raise self.rejected(endpoint, "signature wrong")

    def check_account(self, endpoint: str, account_sid: str) -> None:
        """Whether calls of this Twilio account are served. Raises AuthRejected."""
        if self._accounts and account_sid not in self._accounts:
            raise self.rejected(endpoint, "account not in twilio.account_sids")

    @property
    def has_admin(self) -> bool:
        """Whether there is an admin token, without which there are no admin endpoints."""
        return self._admin_token is not None

    def check_admin(self, endpoint: str, authorization: str | None, client: str) -> None:
        """The value of an `Authorization` header, `Bearer TOKEN`. Raises as `check_bearer`."""
        self.check_bearer(endpoint, authorization, self._admin_token or "", client, "admin token")

    def check_bearer(self, endpoint: str, authorization: str | None, expected: str, client: str, what: str) -> None:
        """Whether the value of an `Authorization` header is `Bearer` and the expected token, which is not empty.

        Raises AuthRejected, or RequestRefused (TOO_MANY_REQUESTS) when the client has shown too many wrong ones.
        """
        self._wrong_tokens.check(client)
        scheme, _, token = (authorization or "").partition(" ")
        same = hmac.compare_digest(token.strip().encode("utf-8", "replace"), expected.encode())
        if same and expected and scheme.lower() == "bearer":
            return
        if not authorization:
            raise self.rejected(endpoint, f"{what} missing")
        self._wrong_tokens.count(client)
        raise self.rejected(endpoint, f"{what} wrong")
