"""Decides which browsers may begin a session: by the Origin of their page, or by a token."""

import trio

from relay.daemon.endpoint_context import EndpointContext
from relay.errors import AuthRejected, RequestRefused
from relay.logic.tokens import Tokens

CLIENT, TOKEN, WEBHOOK = "/client", "/client/token", "/webhook/audio"
_SUBJECT = "client"


class ClientGate:
    """Raises RequestRefused with a status and a code; refused credentials are counted and logged by the Gate."""

    def __init__(self, context: EndpointContext) -> None:
        self._context = context
        self._gate = context.gate
        self._tokens = Tokens(self.token_ttl_s)

    @property
    def token_ttl_s(self) -> float:
        """How long a token that is issued now can begin a session."""
        return self._context.config.client.token_ttl_s

    @property
    def has_key(self) -> bool:
        """Whether tokens can be had at all."""
        return self._context.config.secrets.client_key is not None

    def issue_token(self, authorization: str | None, client: str) -> str:
        """A token to begin one session with. Raises RequestRefused: NOT_FOUND, CLIENT_KEY_NEEDED, TOO_MANY_REQUESTS."""
        key = self._context.config.secrets.client_key
        if key is None:
            raise RequestRefused(404, "NOT_FOUND", "there is nothing at this address: RELAY_CLIENT_KEY is not set")
        try:
            self._gate.check_bearer(TOKEN, authorization, key, client, "client key")
        except AuthRejected:
            text = "give RELAY_CLIENT_KEY: Authorization: Bearer KEY"
            raise RequestRefused(401, "CLIENT_KEY_NEEDED", text) from None
        self._tokens.ttl_s = self.token_ttl_s
        return self._tokens.issue(_SUBJECT, trio.current_time())

    def check_start(self, origin: str | None, token: str | None) -> None:
        """A client that wants to begin: a token is enough, and must be good if there is one; else the Origin decides.

        Raises RequestRefused: TOKEN_INVALID, or as `check_origin`.
        """
        if token is None:
            self.check_origin(origin)
            return
        try:
            self._tokens.claim(token, _SUBJECT, trio.current_time())
        except AuthRejected as rejected:
            self._gate.rejected(CLIENT, str(rejected))
            raise RequestRefused(403, "TOKEN_INVALID", f"{rejected}: ask for a new one") from None

    def check_origin(self, origin: str | None) -> None:
        """A client that shows no token. Raises RequestRefused: TOKEN_MISSING, ORIGIN_WRONG."""
        try:
            self._judge_origin(origin)
        except RequestRefused as refused:
            self._gate.rejected(CLIENT, refused.code)
            raise

    def _judge_origin(self, origin: str | None) -> None:
        config = self._context.config
        if config.client.require_token:
            raise RequestRefused(401, "TOKEN_MISSING", "this relay asks for a token of POST /client/token in start")
        if origin is None or origin.rstrip("/").lower() != config.server.public_url.lower():
            which = "no Origin" if origin is None else "another Origin than server.public_url"
            todo = "open the page at server.public_url, or set that to the address in use"
            raise RequestRefused(403, "ORIGIN_WRONG", f"{which}, and no token: {todo}")
