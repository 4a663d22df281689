"""The Quart application, which serves the endpoints that are small requests with small answers.

It says what a body may be and how long it may take. A client that waits to be asked for its body (`Expect:
100-continue`, RFC 9110, 10.1.1) is asked when an endpoint wants it, so a body that would be refused is never sent.
"""

from collections.abc import Generator
from typing import Any

import trio
from quart import Response
from quart_trio import QuartTrio
from quart_trio.asgi import TrioASGIHTTPConnection
from quart_trio.wrappers import TrioRequest
from quart_trio.wrappers.request import TrioBody

from relay.daemon.admin import Admin
from relay.daemon.answers import answer_errors_as_json
from relay.daemon.endpoint_context import EndpointContext
from relay.daemon.monitoring import Monitoring
from relay.daemon.twilio_hooks import TwilioHooks

BODY_MAX_BYTES = 65_536
"""A webhook is a form of a few kilobytes; what brings more does not come this way."""
BODY_TIMEOUT_S = 10
RESPONSE_TIMEOUT_S = 10


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
    """quart-trio asks for every body at once; this one asks when an endpoint wants it."""

    async def handle_messages(self, nursery: trio.Nursery, request: Any, receive: Any) -> None:  # type: ignore[override]
        if "expect" in request.headers:
            await request.body.wanted.wait()
        await super().handle_messages(nursery, request, receive)


class _App(QuartTrio):
    request_class = _Request
    asgi_http_class = _HttpConnection


def create_app(context: EndpointContext) -> QuartTrio:
    """The application, with the webhooks of Twilio only if it is enabled."""
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
    Monitoring(context).add_to(app)
    Admin(context).add_to(app)
    if context.config.twilio.enabled:
        TwilioHooks(context).add_to(app)
    return app


async def _not_stored(response: Response) -> Response:
    response.headers["Cache-Control"] = "no-store"
    return response
