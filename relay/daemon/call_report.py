"""GET /calls/{id}/report: the timeline of a recorded call, live or finished, as a page.

`relay.daemon.report_process` makes it; the page waits in a file that has no name, and is sent in parts.
"""

from collections.abc import Mapping
from typing import IO

import trio

from relay.daemon.admin import CALLS, check_admin
from relay.daemon.endpoint_context import EndpointContext
from relay.daemon.report_process import Reports
from relay.daemon.routes import Routes
from relay.net.asgi_request import AsgiRequest
from relay.record.page import page_parts

CONTENT_TYPE = "text/html; charset=utf-8"
MAKE_S = 180.0
"""A call of an hour takes 15 s of a core, of which there may be little: live calls come first."""
PART_BYTES = 262_144


class CallReport:
    """Every request shows the admin token."""

    def __init__(self, context: EndpointContext, reports: Reports) -> None:
        self._calls = context.calls
        self._gate = context.gate
        self._reports = reports
        self._headers = {
            "Content-Security-Policy": f"{page_parts().sources}; frame-ancestors 'none'",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        }

    def add_to(self, routes: Routes) -> None:
        routes.add("GET", f"{CALLS}/*/report", self.send)

    async def send(self, request: AsgiRequest, call_id: str) -> None:
        """Raises RequestRefused: as `check_admin`, and `Reports.made`."""
        check_admin(self._gate, request.header("authorization"), request.client)
        if request.method == "HEAD":
            await self._reports.files(call_id)
            await request.answer(200, b"", CONTENT_TYPE, self._headers)
            return
        live = ["--live"] * (self._calls.find_by_id(call_id) is not None)
        async with self._reports.made(request, call_id, ["--html", "-", *live], MAKE_S) as page:
            if page is not None:
                await _send(request, page, self._headers)


async def _send(request: AsgiRequest, page: IO[bytes], headers: Mapping[str, str]) -> None:
    await request.begin(CONTENT_TYPE, headers)
    while part := await trio.to_thread.run_sync(page.read, PART_BYTES):
        await request.send_part(part)
    await request.send_part(b"", last=True)
