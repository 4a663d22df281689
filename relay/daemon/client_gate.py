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
        config = context.config
        self._gate = context.gate
        self._origin = config.server.public_url
        self._require_token = config.client.require_token
        self._key = config.secrets.client_key
        self.token_ttl_s = config.client.token_ttl_s
        self._tokens = Tokens(self.token_ttl_s)

    @property
    def has_key(self) -> bool:
        """Whether tokens can be had at all."""
        return self._key is not None

    def issue_token(self, authorization: str | None, client: str) -> str:
        """A token to begin one session with. Raises RequestRefused: NOT_FOUND, CLIENT_KEY_NEEDED, TOO_MANY_REQUESTS."""
        if self._key is None:
            raise RequestRefused(404, "NOT_FOUND", "there is nothing at this address: RELAY_CLIENT_KEY is not set")
        try:
            self._gate.check_bearer(TOKEN, authorization, self._key, client, "client key")
        except AuthRejected:
            text = "give RELAY_CLIENT_KEY: Authorization: Bearer KEY"
            raise RequestRefused(401, "CLIENT_KEY_NEEDED", text) from None
        return self._tokens.issue(_SUBJECT, trio.current_time())

    def origin_problem(self, origin: str | None) -> RequestRefused | None:
        """Why a client of this Origin needs a token; None if it needs none. Nothing is counted."""
        if self._require_token:
            return RequestRefused(401, "TOKEN_MISSING", "this relay asks for a token of POST /client/token in start")
        if origin is not None and origin.rstrip("/").lower() == self._origin.lower():
            return None
        which = "no Origin" if origin is None else "another Origin than server.public_url"
        todo = "open the page at server.public_url, or set that to the address in use"
        return RequestRefused(403, "ORIGIN_WRONG", f"{which}, and no token: {todo}")

    def check_start(self, origin: str | None, token: str | None) -> None:
        """A client that wants to begin: a token is enough, and must be good if there is one; else the Origin decides.

        Raises RequestRefused: TOKEN_INVALID, TOKEN_MISSING, ORIGIN_WRONG.
        """
        if token is not None:
            try:
                self._tokens.claim(token, _SUBJECT, trio.current_time())
            except AuthRejected as rejected:
                self._gate.rejected(CLIENT, str(rejected))
                raise RequestRefused(403, "TOKEN_INVALID", f"{rejected}: ask for a new one") from None
        elif problem := self.origin_problem(origin):
            raise self.refused(problem)

    def refused(self, problem: RequestRefused) -> RequestRefused:
        """Count and log a refusal for its credentials; returns it, to be raised."""
        self._gate.rejected(CLIENT, problem.code)
        return problem
