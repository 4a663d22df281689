"""/calls: shows operators the calls that run, and ends them. Without a configured admin token there is nothing here."""

import trio
from quart import Response, request
from quart_trio import QuartTrio

from relay import __version__
from relay.call.call import Call
from relay.call.calls import Calls
from relay.daemon.answers import json_answer
from relay.daemon.endpoint_context import EndpointContext
from relay.daemon.gate import Gate
from relay.errors import AuthRejected, RequestRefused
from relay.logic.end_reason import EndReason

CALLS = "/calls"


class Admin:
    """Every request shows the admin token."""

    def __init__(self, context: EndpointContext) -> None:
        self._context = context
        self._calls = context.calls
        self._gate = context.gate

    def add_to(self, app: QuartTrio) -> None:
        app.add_url_rule(CALLS, view_func=self.list_calls, methods=["GET"])
        app.add_url_rule(f"{CALLS}/<call_id>", view_func=self.show_call, methods=["GET"])
        app.add_url_rule(f"{CALLS}/<call_id>", view_func=self.end_call, methods=["DELETE"])

    async def list_calls(self) -> Response:
        self._check()
        return json_answer(200, {"calls": await summaries(self._calls), "relay": self._relay()})

    def _relay(self) -> dict[str, object]:
        """How the relay itself is doing."""
        return {
            "version": __version__,
            "uptime_s": round(trio.current_time() - self._context.started_at, 1),
            "max_calls": self._context.config.limits.calls,
            "calls_begun": self._calls.begun,
            "refusal_cause": self._calls.refusal_cause,
            "loop_lag_ms": round(self._calls.loop_lag_s * 1000, 1),
        }

    async def show_call(self, call_id: str) -> Response:
        self._check()
        return json_answer(200, find_call(self._calls, call_id).summary())

    async def end_call(self, call_id: str) -> Response:
        """The call is told to end; it is gone within seconds."""
        self._check()
        call = find_call(self._calls, call_id)
        call.finish(EndReason.ADMIN)
        return json_answer(202, {"id": call.id, "status": "ending"})

    def _check(self) -> None:
        check_admin(self._gate, request.headers.get("Authorization"), request.remote_addr or "")


def check_admin(gate: Gate, authorization: str | None, client: str, endpoint: str = CALLS) -> None:
    """Whether a request shows the admin token, as the value of its `Authorization` header.

    Raises RequestRefused: NOT_FOUND without a configured token, ADMIN_TOKEN_NEEDED for another one,
    TOO_MANY_REQUESTS after too many others."""
    if not gate.has_admin:
        raise RequestRefused(404, "NOT_FOUND", "there is nothing at this address: RELAY_ADMIN_TOKEN is not set")
    try:
        gate.check_admin(endpoint, authorization, client)
    except AuthRejected:
        raise RequestRefused(401, "ADMIN_TOKEN_NEEDED", "give the admin token: Authorization: Bearer TOKEN") from None


async def summaries(calls: Calls) -> list[dict[str, object]]:
    """What runs. Many calls take some milliseconds: between two of them others run."""
    found = []
    for call in calls.live():
        found.append(call.summary())
        await trio.lowlevel.checkpoint()
    return found


def find_call(calls: Calls, call_id: str) -> Call:
    """Raises RequestRefused: CALL_NOT_FOUND."""
    call = calls.find_by_id(call_id)
    if call is None:
        raise RequestRefused(404, "CALL_NOT_FOUND", "no call with this id runs now")
    return call
