"""GET /calls/{id}/report: the timeline of a recorded call, live or finished, as a page.

It is made by `relay report` in a process of its own, one at a time, so that no live call shares an interpreter with it;
its page waits in a file that has no name, and is sent in parts.
"""

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import structlog
import trio

from relay.daemon.admin import CALLS, check_admin
from relay.daemon.endpoint_context import EndpointContext
from relay.daemon.report_process import run_report
from relay.daemon.routes import Routes
from relay.errors import RequestRefused
from relay.net.asgi_request import AsgiRequest
from relay.record.folder import files_of, folder_of
from relay.record.page import page_parts

CONTENT_TYPE = "text/html; charset=utf-8"
MAKE_S = 180.0
"""A call of an hour takes 15 s of a core, of which there may be little: live calls come first."""
REQUESTS_MAX = 4
"""At a time: each has a page on the disk."""
PART_BYTES = 262_144
ERROR_BYTES = 2_000
NO_RECORDING = 2
"""The exit status of `relay report` with a file that it cannot read."""

log = structlog.get_logger(__name__)


class CallReport:
    """Every request shows the admin token."""

    def __init__(self, context: EndpointContext) -> None:
        self._calls = context.calls
        self._gate = context.gate
        self._folder = folder_of(context.config.record.dir, os.environ)
        self._keys = context.config.secrets.record_keys
        self._turn = trio.Lock()
        self._requests = 0
        self._headers = {
            "Content-Security-Policy": f"{page_parts().sources}; frame-ancestors 'none'",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        }

    def add_to(self, routes: Routes) -> None:
        routes.add("GET", f"{CALLS}/*/report", self.send)

    async def send(self, request: AsgiRequest, call_id: str) -> None:
        """Raises RequestRefused: as `check_admin`, RECORDING_NOT_FOUND, BUSY, REPORT_FAILED."""
        check_admin(self._gate, request.header("authorization"), request.client)
        files = await trio.to_thread.run_sync(files_of, self._folder, call_id)
        if not files:
            raise _not_found()
        if request.method == "HEAD":
            await request.answer(200, b"", CONTENT_TYPE, self._headers)
            return
        with self._place(), tempfile.TemporaryFile() as page:
            problem: RequestRefused | None = None
            client_is_gone = True
            async with trio.open_nursery() as nursery:
                nursery.start_soon(request.cancel_when_gone, nursery.cancel_scope)
                problem = await self._make(files, call_id, page)
                client_is_gone = False
                nursery.cancel_scope.cancel()
            if problem is not None:
                raise problem
            if not client_is_gone:
                await _send(request, page, self._headers)

    @contextmanager
    def _place(self) -> Iterator[None]:
        if self._requests >= REQUESTS_MAX:
            raise RequestRefused(503, "BUSY", "too many timelines are made already: try again")
        self._requests += 1
        try:
            yield
        finally:
            self._requests -= 1

    async def _make(self, files: Sequence[Path], call_id: str, page: IO[bytes]) -> RequestRefused | None:
        """Write the page to this file. Returns why there is none."""
        live = ["--live"] * (self._calls.find_by_id(call_id) is not None)
        arguments = ["--html", "-", *live, "--", *map(str, files)]
        error = f"it took longer than {MAKE_S:g} s"
        try:
            async with self._turn:
                with tempfile.TemporaryFile() as errors, trio.move_on_after(MAKE_S):
                    status = await run_report(arguments, page, errors, self._keys)
                    if status == 0:
                        return None
                    if status == NO_RECORDING:
                        return _not_found()
                    errors.seek(0)
                    error = errors.read(ERROR_BYTES).decode(errors="replace").strip()
        except OSError as failed:  # no process, or no room for what it says
            error = str(failed)
        log.warning("report.failed", call_id=call_id, error=error)
        return RequestRefused(503, "REPORT_FAILED", "no timeline could be made: the log says why")


async def _send(request: AsgiRequest, page: IO[bytes], headers: Mapping[str, str]) -> None:
    page.seek(0)
    await request.begin(CONTENT_TYPE, headers)
    while part := await trio.to_thread.run_sync(page.read, PART_BYTES):
        await request.send_part(part)
    await request.send_part(b"", last=True)


def _not_found() -> RequestRefused:
    return RequestRefused(404, "RECORDING_NOT_FOUND", "there is no recording of a call with this id")
