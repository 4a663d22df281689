"""Finds the static files of the pages in this folder, and says where and with which headers each is served.

`relay-client.js` and what it imports is the client library, for any page. `app.js` and the rest is the page at `/`, for
callers; `admin.js` and what it imports is the page at `/admin`, for operators. `base.css` is the look of all pages.
"""

from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from pathlib import PurePosixPath

PREFIX = "/web/"
"""The path of the files; each page has one of its own."""
ADMIN = "/admin"
_PAGES = {"index.html": "/", "admin.html": ADMIN}

_CONTENT_SECURITY_POLICY = (
    "default-src 'none'; "
    "script-src 'self'; "  # worklet modules too
    "style-src 'self'; "
    "img-src 'self'; "
    "connect-src 'self' ws: wss:; "  # older Safari does not count a WebSocket to the same host as 'self'
    "base-uri 'none'; "
    "form-action 'none'; "
    "frame-ancestors 'none'"
)

HEADERS = {
    "Content-Security-Policy": _CONTENT_SECURITY_POLICY,
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}
"""To be sent with every file. `no-cache`: the browser asks each time, with the ETag; a new version works at once."""


def admitting(policy: str, other: str) -> str:
    """A Content-Security-Policy with the sources of both, for a page that opens a document of the other's.

    A document from a `blob:` URL inherits the policy of the page that made it, beside its own (Content Security Policy
    Level 3, section 7.8).
    """
    sources: dict[str, dict[str, None]] = {}
    for text in (policy, other):
        for directive in filter(None, map(str.split, text.split(";"))):
            sources.setdefault(directive[0], {}).update(dict.fromkeys(directive[1:]))
    return "; ".join(
        " ".join([name, *(source for source in named if source != "'none'" or len(named) == 1)])
        for name, named in sources.items()
    )


_CONTENT_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class StaticFile:
    """A file as it is sent. `etag` is a quoted entity tag (RFC 9110, section 8.8.3)."""

    body: bytes
    content_type: str
    etag: str


def base_style() -> str:
    """Return the style sheet that all pages have in common: for one that has to bring it along."""
    return files(__name__).joinpath("base.css").read_text(encoding="utf-8")


def static_files() -> dict[str, StaticFile]:
    """Read every file. Return them by the path of their URL."""
    found = {}
    for entry in files(__name__).iterdir():
        if content_type := _CONTENT_TYPES.get(PurePosixPath(entry.name).suffix):
            body = entry.read_bytes()
            file = StaticFile(body, content_type, f'"{sha256(body).hexdigest()[:16]}"')
            found[_PAGES.get(entry.name, PREFIX + entry.name)] = file
    return found
