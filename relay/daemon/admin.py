"""What runs now, and ending it: only with the admin token, and nothing at all when there is none."""

from quart import Response, request
from quart_trio import QuartTrio

from relay.call.call import Call
from relay.daemon.answers import json_answer
from relay.daemon.front import Front
from relay.daemon.problems import Problem
from relay.errors import AuthRejected
from relay.logic.outcome import EndReason

CALLS = "/calls"


class Admin:
    def __init__(self, front: Front) -> None:
        self._calls = front.calls
        self._gate = front.gate

    def add_to(self, app: QuartTrio) -> None:
        app.add_url_rule(CALLS, view_func=self.list_calls, methods=["GET"])
        app.add_url_rule(f"{CALLS}/<call_id>", view_func=self.show_call, methods=["GET"])
        app.add_url_rule(f"{CALLS}/<call_id>", view_func=self.end_call, methods=["DELETE"])

    async def list_calls(self) -> Response:
        self._check()
        return json_answer(200, {"calls": [call.summary() for call in self._calls.live()]})

    async def show_call(self, call_id: str) -> Response:
        self._check()
        return json_answer(200, self._find(call_id).summary())

    async def end_call(self, call_id: str) -> Response:
        """The call is told to end; it is gone within seconds."""
        self._check()
        call = self._find(call_id)
        call.finish(EndReason.ADMIN)
        return json_answer(202, {"id": call.id, "status": "ending"})

    def _check(self) -> None:
        if not self._gate.has_admin:
            raise Problem(404, "NOT_FOUND", "there is nothing at this address: RELAY_ADMIN_TOKEN is not set")
        try:
            self._gate.check_admin(CALLS, request.headers.get("Authorization"))
        except AuthRejected:
            raise Problem(401, "ADMIN_TOKEN_NEEDED", "give the admin token: Authorization: Bearer TOKEN") from None

    def _find(self, call_id: str) -> Call:
        call = self._calls.find_by_id(call_id)
        if call is None:
            raise Problem(404, "CALL_NOT_FOUND", "no call with this id runs now")
        return call
