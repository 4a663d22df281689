"""The probe's Twilio account at a simulated REST interface, and a relay that answers as a test wants."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from urllib.parse import parse_qsl

import trio

from relay.net.rest import open_rest_client
from relay.probe.budget import Budget
from relay.probe.twilio_account import TwilioAccount, TwilioHosts
from relay.standin.http import Request, Response, Rewound, serve_connection
from relay.standin.phone.rest import TwilioRest, TwilioState, open_twilio_rest
from relay.wire.signature import SIGNATURE_HEADER, TwilioValidator
from tests.support.daemons import AUTH_TOKEN, PUBLIC
from tests.support.quick import pulse

SID = "AC" + "1" * 32


@dataclass
class ProbedTwilio:
    account: TwilioAccount
    rest: TwilioRest
    left_running: list[str]

    @property
    def unended(self) -> list[str]:
        """The calls that go on."""
        return [call.sid for call in self.rest.calls.values() if call.as_json()["status"] == "in-progress"]


@asynccontextmanager
async def probed_twilio(
    state: TwilioState | None = None,
    *,
    public_url: str = PUBLIC,
    number: str = "",
    token: str = AUTH_TOKEN,
    max_cost_usd: float = 100.0,
) -> AsyncIterator[ProbedTwilio]:
    async with pulse(), open_twilio_rest(SID, AUTH_TOKEN, state) as twilio, open_rest_client(5) as client:
        left_running: list[str] = []
        base = twilio.base_url
        account = TwilioAccount(
            SID,
            token,
            public_url,
            client,
            Budget(max_cost_usd, 0.6),
            hosts=TwilioHosts(base, base, base, base),
            number=number,
            left_running=left_running,
        )
        yield ProbedTwilio(account, twilio, left_running)


@asynccontextmanager
async def relay_that(
    answers: int = 204, otherwise: int = 403, token: str = AUTH_TOKEN, public_url: str | None = None
) -> AsyncIterator[str]:
    """The address of a relay that answers signed posts with one status, and others with another."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
    validator = TwilioValidator((token,))

    async def answer(request: Request) -> Response:
        form = parse_qsl(request.body.decode(), keep_blank_values=True)
        signature = request.headers.get(SIGNATURE_HEADER)
        valid = validator.form_valid((public_url or url) + request.target, form, signature, None)
        return Response(answers if valid else otherwise)

    async def no_socket(target: str, head: Rewound, stream: trio.SocketStream) -> None:
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        serve = partial(serve_connection, on_http=answer, on_upgrade=no_socket)
        await nursery.start(partial(trio.serve_listeners, serve, listeners))
        yield url
        nursery.cancel_scope.cancel()
