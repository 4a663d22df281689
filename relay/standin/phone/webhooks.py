"""Twilio's webhooks are posted here: forms, signed over the public URL and sent to where the relay really is.

Time-outs and the single retry, for connections that cannot be made, are Twilio's defaults (Twilio docs, "Webhooks
connection overrides"). A request that broke off after that, or was not answered, is not sent again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit, urlunsplit

import httpx
import trio

from relay.standin.phone.signature import sign

_TOTAL_S = 15.0
"""For both attempts together."""
_TIMEOUT = httpx.Timeout(15.0, connect=5.0)
_ATTEMPTS = 2
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

    async def post(self, target: str, form: Mapping[str, str]) -> str:
        """The body of a 2xx answer. `WebhookFailed`: refused twice, broken off, an error status, or nothing in 15 s."""
        public = self.site.absolute(target)
        headers = {"Host": urlsplit(public).netloc, "User-Agent": "TwilioProxy/1.1", "I-Twilio-Idempotency-Token": "1"}
        if self.auth_token is not None:
            headers["X-Twilio-Signature"] = sign(self.auth_token, public, form)
        path, trouble = urlsplit(public).path, "no answer in time"
        with trio.move_on_after(_TOTAL_S):
            for _ in range(_ATTEMPTS):
                try:
                    answer = await self.client.post(
                        self.site.local(public), data=dict(form), headers=headers, timeout=_TIMEOUT
                    )
                except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                    trouble = f"{type(error).__name__} {error}"
                    continue
                except httpx.HTTPError as error:
                    raise WebhookFailed(f"{path}: {type(error).__name__} {error}") from None
                if not answer.is_success:
                    raise WebhookFailed(f"{path}: {answer.status_code}")
                return answer.text
        raise WebhookFailed(f"{path}: {trouble}")
