"""GET /health, /ready and /metrics: they tell operators and load balancers how the relay is doing."""

import trio
from quart import Response
from quart_trio import QuartTrio

from relay import __version__
from relay.call.calls import REFUSAL_REASONS
from relay.daemon.answers import json_answer, text_answer
from relay.daemon.endpoint_context import EndpointContext
from relay.logic.rate_limit import RateLimit
from relay.metrics import CONTENT_TYPE

RENDERINGS_PER_S, RENDERINGS_BURST = 1.0, 5
"""Within that, metrics are of this moment; beyond it, as they were rendered last. Rendering takes 1.1 ms
(measured), in which no call runs."""

_NOT_READY = {
    "draining": "the relay is stopping: send calls to another one",
    "max_calls": "as many calls are live as limits.max_calls allows: try again later",
    "late": "the event loop is late, and more calls would make it later: try again later",
    "assistants": "the last calls to the assistant could not be placed: the log says why",
}


class Monitoring:
    """The three endpoints. They need no credentials, and say nothing about a single call."""

    def __init__(self, context: EndpointContext) -> None:
        self._context = context
        self._renderings = RateLimit(per_s=RENDERINGS_PER_S, burst=RENDERINGS_BURST)
        self._rendered = b""

    def add_to(self, app: QuartTrio) -> None:
        for path, view in (("/health", self.health), ("/ready", self.ready), ("/metrics", self.metrics)):
            app.add_url_rule(path, view_func=view, methods=["GET"])

    async def health(self) -> Response:
        """Always 200: that there is an answer says that the process works."""
        calls, dialer = self._context.calls, self._context.dialer
        queue = None if self._context.webhooks is None else self._context.webhooks.queue
        failing = dialer.failing or calls.checkpoints.failing or (queue is not None and queue.store_failing)
        status = "draining" if calls.draining else "degraded" if failing else "ok"
        values = {
            "status": status,
            "activeSessions": len(calls),
            "bufferSize": calls.queued_frames,
            "refusal_cause": calls.refusal_cause,
            "webhooks": None if queue is None else {"accepted": queue.ever_accepted, "waiting": queue.waiting},
            "version": __version__,
            "generation": self._context.generation,
            "uptime_s": round(trio.current_time() - self._context.started_at, 1),
        }
        return json_answer(200, values)

    async def ready(self) -> Response:
        """Whether new calls are accepted."""
        cause = self._context.calls.refusal_cause or ("assistants" if self._context.dialer.failing else None)
        if cause is None:
            return json_answer(200, {"ready": True})
        reason = REFUSAL_REASONS.get(cause, cause)
        values = {"ready": False, "reason": reason, "cause": cause, "error": _NOT_READY[cause], "code": "NOT_READY"}
        return json_answer(503, values)

    async def metrics(self) -> Response:
        if self._renderings.allow("", trio.current_time()):
            self._rendered = self._context.metrics.render()
        return text_answer(self._rendered, CONTENT_TYPE)
