"""Finds the static files of the web client in this folder, and says where and with which headers each is served.

`relay-client.js` and what it imports is the client library, for any page. `app.js` and the rest is the page at `/`.
"""

from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from pathlib import PurePosixPath

PREFIX = "/web/"
"""The path of the files; the page itself is at `/`."""

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


def static_files() -> dict[str, StaticFile]:
    """Read every file of the web client. Return them by the path of their URL; `/` is the page."""
    found = {}
    for entry in files(__name__).iterdir():
        if content_type := _CONTENT_TYPES.get(PurePosixPath(entry.name).suffix):
            body = entry.read_bytes()
            file = StaticFile(body, content_type, f'"{sha256(body).hexdigest()[:16]}"')
            found["/" if entry.name == "index.html" else PREFIX + entry.name] = file
    return found
