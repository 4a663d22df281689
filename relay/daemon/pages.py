"""GET /, /admin and /web/...: the pages, from memory."""

from relay.daemon.gate import Gate
from relay.daemon.routes import Routes
from relay.errors import RequestRefused
from relay.net.asgi_request import AsgiRequest
from relay.web import ADMIN, HEADERS, admitting, static_files

POLICY = "Content-Security-Policy"


class Pages:
    """The files as they were when the daemon started. The page for operators is there only with an admin token.

    `timelines` is the Content-Security-Policy of the timelines, which that page opens.
    """

    def __init__(self, gate: Gate, timelines: str = "") -> None:
        self._files = static_files()
        self._admin_headers = {**HEADERS, POLICY: admitting(HEADERS[POLICY], timelines)}
        self._gate = gate

    def add_to(self, routes: Routes) -> None:
        for path in ("/", ADMIN, "/web/*"):
            routes.add("GET", path, self.send)

    async def send(self, request: AsgiRequest, _part: str) -> None:
        file = self._files.get(request.path)
        if file is None or (request.path == ADMIN and not self._gate.has_admin):
            raise RequestRefused(404, "NOT_FOUND", "there is nothing at this address")
        headers = {**(self._admin_headers if request.path == ADMIN else HEADERS), "ETag": file.etag}
        if file.etag in (request.header("if-none-match") or ""):
            await request.answer(304, b"", file.content_type, headers)
        else:
            await request.answer(200, file.body, file.content_type, headers)
