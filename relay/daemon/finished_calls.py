"""Calls that are over: which there were, what was wrong with a recorded one, and the end of its recording.

| endpoint                       | what it does                                                                       |
|--------------------------------|------------------------------------------------------------------------------------|
| GET /calls/finished            | lists those that this process remembers, or that have a recording, the newest first |
| GET /calls/{id}/verdict        | answers what `relay report --json` prints                                           |
| DELETE /calls/{id}/recording   | removes all recordings of a call                                                    |
"""

import json
import os
from datetime import UTC, datetime
from typing import Any

import structlog
import trio

from relay.call.calls import FINISHED_MAX, FinishedCall
from relay.daemon.admin import CALLS, check_admin
from relay.daemon.endpoint_context import EndpointContext
from relay.daemon.report_process import Reports, no_recording, readable
from relay.daemon.routes import Routes
from relay.net.asgi_request import AsgiRequest
from relay.record.folder import erase, folder_of, recorded_calls

MAKE_S = 60.0
"""For the verdict of one call; that of an hour takes some seconds."""

log = structlog.get_logger(__name__)


class FinishedCalls:
    """Every request shows the admin token. Folders are read in worker threads, recordings in a process of their own."""

    def __init__(self, context: EndpointContext, reports: Reports) -> None:
        self._calls = context.calls
        self._gate = context.gate
        self._folder = folder_of(context.config.record.dir, os.environ)
        self._reports = reports

    def add_to(self, routes: Routes) -> None:
        routes.add("GET", f"{CALLS}/finished", self.show_all)
        routes.add("GET", f"{CALLS}/*/verdict", self.judge)
        routes.add("DELETE", f"{CALLS}/*/recording", self.erase)

    async def show_all(self, request: AsgiRequest, _part: str) -> None:
        self._check(request)
        with readable():
            recorded = await trio.to_thread.run_sync(recorded_calls, self._folder)
        known = {call.id: call for call in self._calls.finished}
        live = {call.id for call in self._calls.live()}
        found = [_known(call, recorded=call.id in recorded) for call in known.values()]
        found += [_only_recorded(call_id, at) for call_id, at in recorded.items() if call_id not in known]
        found = [values for values in found if values["id"] not in live]
        found.sort(key=lambda values: values["ended_at"], reverse=True)
        await _answer(request, {"calls": found[:FINISHED_MAX]})

    async def judge(self, request: AsgiRequest, call_id: str) -> None:
        self._check(request)
        async with self._reports.made(request, call_id, ["--json"], MAKE_S) as verdict:
            if verdict is not None:
                await request.answer(200, verdict.read())

    async def erase(self, request: AsgiRequest, call_id: str) -> None:
        """Of a call that is still live nothing is kept either."""
        self._check(request)
        with readable():
            erased = await trio.to_thread.run_sync(erase, self._folder, call_id)
        if not erased:
            raise no_recording()
        log.info("record.erased", call_id=call_id, files=len(erased))
        await _answer(request, {"id": call_id, "erased": [path.name for path in erased]})

    def _check(self, request: AsgiRequest) -> None:
        check_admin(self._gate, request.header("authorization"), request.client)


def _known(call: FinishedCall, *, recorded: bool) -> dict[str, Any]:
    return {
        "id": call.id,
        "call_sid": call.sid,
        "ended_at": _utc(call.ended_at),
        "duration_s": call.duration_s,
        "end_reason": call.reason,
        "assistant_ended_reason": call.assistant_ended_reason,
        "assistant_cost_usd": call.assistant_cost_usd,
        "recorded": recorded,
    }


def _only_recorded(call_id: str, changed_at: float) -> dict[str, Any]:
    of_assistant = ("assistant_ended_reason", "assistant_cost_usd")
    unknown = dict.fromkeys(("call_sid", "duration_s", "end_reason", *of_assistant))
    return {"id": call_id, **unknown, "ended_at": _utc(changed_at), "recorded": True}


def _utc(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


async def _answer(request: AsgiRequest, values: dict[str, Any]) -> None:
    await request.answer(200, json.dumps(values).encode())
