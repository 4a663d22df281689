"""Twilio's webhooks are posted here: forms, signed over the public URL and sent to where the relay really is.

Time-outs and the single retry, for connections that cannot be made, are Twilio's defaults (Twilio docs, "Webhooks
connection overrides"). By a retry policy of the account, a request is also sent again when it was not answered in time,
or with an error: the relay may get the voice webhook of one call twice.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urljoin, urlsplit, urlunsplit

import httpx
import trio

from relay.standin.phone.signature import sign

_TOTAL_S = 15.0
"""For both attempts together."""
_CONNECT_S = 5.0
_ATTEMPTS = 2

RetryOn = Literal["HTTP_4XX", "HTTP_5XX", "READ_TIMEOUT"]
_PORTS = {"https": 443, "wss": 443, "http": 80, "ws": 80}


class WebhookFailed(Exception):
    """There was no usable answer; the text says of which path, and why."""


@dataclass(frozen=True, slots=True)
class Site:
    """Where the relay says it is (`public_url`), and where it can be reached (`url`)."""

    url: str
    public_url: str

    def absolute(self, target: str) -> str:
        """A URL from TwiML, which may be relative to the public one; `WebhookFailed` if it leads elsewhere."""
        url = urljoin(self.public_url.rstrip("/") + "/", target)
        if _place(url) != _place(self.public_url):
            raise WebhookFailed(f"{url} is not at {self.public_url}")
        return url

    def local(self, public: str) -> str:
        """The same resource at the relay's own address; ws or wss as that is http or https."""
        here, there = urlsplit(self.url), urlsplit(public)
        scheme = here.scheme if there.scheme in ("http", "https") else here.scheme.replace("http", "ws")
        return urlunsplit((scheme, here.netloc, there.path, there.query, ""))


def _place(url: str) -> tuple[str | None, int | None]:
    """Host and port, the port of wss and ws counted as that of https and http."""
    parts = urlsplit(url)
    return parts.hostname, parts.port or _PORTS.get(parts.scheme)


@dataclass(frozen=True, slots=True)
class Webhooks:
    """Posts forms to one relay; `auth_token` signs them (None: nothing is signed)."""

    site: Site
    auth_token: str | None
    client: httpx.AsyncClient
    retry_on: frozenset[RetryOn] = frozenset()
    read_timeout_s: float = 15.0

    async def post(self, target: str, form: Mapping[str, str]) -> str:
        """The body of a 2xx answer. `WebhookFailed`: refused twice, broken off, an error status, or nothing in 15 s.

        What `retry_on` names is tried once more, too.
        """
        public = self.site.absolute(target)
        headers = {"Host": urlsplit(public).netloc, "User-Agent": "TwilioProxy/1.1", "I-Twilio-Idempotency-Token": "1"}
        if self.auth_token is not None:
            headers["X-Twilio-Signature"] = sign(self.auth_token, public, form)
        path, trouble = urlsplit(public).path, "no answer in time"
        with trio.move_on_after(_TOTAL_S):
            for _ in range(_ATTEMPTS):
                try:
                    answer = await self.client.post(
                        self.site.local(public), data=dict(form), headers=headers, timeout=self._timeout
                    )
                except httpx.HTTPError as error:
                    trouble = f"{type(error).__name__} {error}"
                    if not self._is_retried(error):
                        break
                    continue
                if answer.is_success:
                    return answer.text
                trouble = str(answer.status_code)
                if f"HTTP_{answer.status_code // 100}XX" not in self.retry_on:
                    break
        raise WebhookFailed(f"{path}: {trouble}")

    @property
    def _timeout(self) -> httpx.Timeout:
        return httpx.Timeout(self.read_timeout_s, connect=_CONNECT_S)

    def _is_retried(self, error: httpx.HTTPError) -> bool:
        no_connection = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
        return no_connection or (isinstance(error, httpx.ReadTimeout) and "READ_TIMEOUT" in self.retry_on)
