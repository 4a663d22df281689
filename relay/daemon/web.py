"""The HTTP endpoints: one Quart application. WebSockets do not pass through here."""

from collections.abc import Generator
from typing import Any

import trio
from quart import Response
from quart_trio import QuartTrio
from quart_trio.asgi import TrioASGIHTTPConnection
from quart_trio.wrappers import TrioRequest
from quart_trio.wrappers.request import TrioBody

from relay import __version__
from relay.daemon.admin import Admin
from relay.daemon.answers import answer_errors_as_json, json_answer, text_answer
from relay.daemon.front import Front
from relay.daemon.twilio_hooks import TwilioHooks
from relay.metrics import CONTENT_TYPE

BODY_MAX_BYTES = 65_536
BODY_TIMEOUT_S = 10
RESPONSE_TIMEOUT_S = 10

_REASONS = {
    "draining": "the relay is stopping: send calls to another one",
    "full": "limits.max_calls calls are live: try again later",
    "assistants": "the last calls to the assistant could not be placed: the log says why",
}


class _Body(TrioBody):
    """The body of a request, which says when an endpoint wants it."""

    def __init__(self, *lengths: int | None) -> None:
        super().__init__(*lengths)
        self.wanted = trio.Event()

    def __await__(self) -> Generator[Any, None, Any]:
        if self._must_raise is None:
            self.wanted.set()
        return super().__await__()


class _Request(TrioRequest):
    body_class = _Body  # type: ignore[assignment]  # quart-trio leaves the type to be inferred


class _HttpConnection(TrioASGIHTTPConnection):
    """quart-trio asks for every body at once. A client that waits to be asked is asked when an endpoint wants it."""

    async def handle_messages(self, nursery: trio.Nursery, request: Any, receive: Any) -> None:  # type: ignore[override]
        if "expect" in request.headers:
            await request.body.wanted.wait()
        await super().handle_messages(nursery, request, receive)


class _App(QuartTrio):
    request_class = _Request
    asgi_http_class = _HttpConnection


def create_app(front: Front) -> QuartTrio:
    """The application, with the webhooks of Twilio if it is enabled."""
    app = _App(__name__, static_folder=None)
    app.config.update(
        MAX_CONTENT_LENGTH=BODY_MAX_BYTES,
        BODY_TIMEOUT=BODY_TIMEOUT_S,
        RESPONSE_TIMEOUT=RESPONSE_TIMEOUT_S,
        PROVIDE_AUTOMATIC_OPTIONS=False,
    )
    app.url_map.merge_slashes = False  # which would redirect, with a page of HTML, to an address made of the Host
    answer_errors_as_json(app)
    app.after_request(_not_stored)
    Monitoring(front).add_to(app)
    Admin(front).add_to(app)
    if front.config.twilio.enabled:
        TwilioHooks(front).add_to(app)
    return app


class Monitoring:
    def __init__(self, front: Front) -> None:
        self._front = front

    def add_to(self, app: QuartTrio) -> None:
        for path, view in (("/health", self.health), ("/ready", self.ready), ("/metrics", self.metrics)):
            app.add_url_rule(path, view_func=view, methods=["GET"])

    async def health(self) -> Response:
        """Always 200: that there is an answer says that the process works."""
        calls, dialer = self._front.calls, self._front.dialer
        status = "draining" if calls.draining else "degraded" if dialer.failing or calls.checkpoints.failing else "ok"
        values = {
            "status": status,
            "activeSessions": len(calls),
            "bufferSize": calls.queued_frames,
            "version": __version__,
            "uptime_s": round(trio.current_time() - self._front.started_at, 1),
        }
        return json_answer(200, values)

    async def ready(self) -> Response:
        """Whether new calls are accepted."""
        reason = self._front.calls.refusal or ("assistants" if self._front.dialer.failing else None)
        if reason is None:
            return json_answer(200, {"ready": True})
        return json_answer(503, {"ready": False, "reason": reason, "error": _REASONS[reason], "code": "NOT_READY"})

    async def metrics(self) -> Response:
        return text_answer(self._front.metrics.render(), CONTENT_TYPE)


async def _not_stored(response: Response) -> Response:
    response.headers["Cache-Control"] = "no-store"
    return response
