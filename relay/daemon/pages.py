"""GET / and /web/...: the web client, from memory."""

from relay.daemon.routes import Routes
from relay.errors import RequestRefused
from relay.net.asgi_request import AsgiRequest
from relay.web import HEADERS, static_files


class Pages:
    """The files as they were when the daemon started."""

    def __init__(self) -> None:
        self._files = static_files()

    def add_to(self, routes: Routes) -> None:
        routes.add("GET", "/", self.send)
        routes.add("GET", "/web/*", self.send)

    async def send(self, request: AsgiRequest, _part: str) -> None:
        file = self._files.get(request.path)
        if file is None:
            raise RequestRefused(404, "NOT_FOUND", "there is nothing at this address")
        headers = {**HEADERS, "ETag": file.etag}
        if file.etag in (request.header("if-none-match") or ""):
            await request.answer(304, b"", file.content_type, headers)
        else:
            await request.answer(200, file.body, file.content_type, headers)
