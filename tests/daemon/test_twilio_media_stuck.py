"""A caller's socket that takes nothing any more: a send hangs until it is given up, or the connection is closed."""

import json
from typing import Any

import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock

from relay.call.assistant.watched_dialer import WatchedDialer
from relay.call.browser.sessions import BrowserSessions
from relay.call.caller.vad_engine import VadEngine
from relay.call.calls import open_calls
from relay.call.services import Services
from relay.call.takeover import Takeover
from relay.config import TwilioConfig
from relay.daemon.endpoint_context import EndpointContext
from relay.daemon.gate import Gate
from relay.daemon.limits import Limits
from relay.daemon.twilio_media import MediaEndpoint
from relay.logic.end_reason import EndReason
from relay.metrics import Metrics
from relay.net.asgi_socket import STREAM_STATE
from relay.net.link.link import Link
from relay.net.link.pace import OF_A_CALL
from relay.net.link.protocol import Side, WebSocketProtocol
from relay.net.listen import MESSAGE_BOUNDS
from relay.redaction import Redactor
from relay.refusals import Refusals
from tests.support.callrig import MULAW, TONE, FakeDialer, LoudnessModel, run_inline
from tests.support.frontrig import SID, connected, front_config, start
from tests.support.raw_frames import FIN, TEXT, raw_frame
from tests.support.sockets import StuckStream

CONFIG = front_config(twilio=TwilioConfig(validate_signatures=False))


class StuckConnection:
    """The server's side of a WebSocket whose peer stopped reading after the handshake."""

    def __init__(self, messages: list[str]) -> None:
        protocol = WebSocketProtocol(Side.SERVER, MESSAGE_BOUNDS, OF_A_CALL)
        sent = b"".join(raw_frame(FIN | TEXT, message.encode(), masked=True) for message in messages)
        self.link = Link(StuckStream(sent), protocol, "socket", unread_max=50)

    def admit(self) -> None:
        pass

    @property
    def scope(self) -> dict[str, Any]:
        return {
            "type": "websocket",
            "raw_path": b"/twilio/media",
            "query_string": b"",
            "headers": [],
            "extensions": {},
            "state": {STREAM_STATE: self},
        }

    async def receive(self) -> Any:
        await trio.lowlevel.checkpoint()
        return {"type": "websocket.connect"}

    async def send(self, message: Any) -> None:
        await trio.lowlevel.checkpoint()


@pytest.mark.parametrize(("ended_by", "within_s"), [(EndReason.ADMIN, 4.5), (EndReason.CALLER_LOST, 12.0)])
async def test_the_socket_is_given_up_in_bounded_time(
    ended_by: EndReason, within_s: float, autojump_clock: MockClock
) -> None:
    """Ended by an operator while a send hangs, or by nobody: then the send that took too long is the loss of it."""
    metrics, inner = Metrics(), FakeDialer(MULAW)
    engine = VadEngine(LoudnessModel(), metrics, executor=run_inline)
    dialer = WatchedDialer(inner, Redactor())
    services = Services(CONFIG, metrics, engine)
    async with trio.open_nursery() as nursery, open_calls(services, dialer) as calls:
        nursery.start_soon(engine.run)
        refusals = Refusals(metrics)
        limits = Limits(CONFIG, refusals)
        sessions = BrowserSessions(CONFIG, calls, nursery, refusals)
        takeover, gate = Takeover(calls, services), Gate(CONFIG, refusals, limits)
        context = EndpointContext(
            CONFIG, metrics, calls, takeover, sessions, dialer, gate, refusals, limits, trio.current_time()
        )
        call = calls.answer(SID)
        connection = StuckConnection([connected(), start(takeover.issue_token(call))])
        endpoint = MediaEndpoint(context)
        began_at = trio.current_time()
        with capture_logs() as logs:
            async with trio.open_nursery() as socket:
                socket.start_soon(endpoint.serve, connection.scope, connection.receive, connection.send)
                await inner.connected.wait()
                for _ in range(50):
                    inner.peers[0].send(TONE)
                await trio.sleep(1)
                if ended_by is EndReason.ADMIN:
                    call.finish(EndReason.ADMIN)
            took_s = trio.current_time() - began_at
            await calls.wait_empty()
        nursery.cancel_scope.cancel()

    assert took_s < within_s
    assert [line["reason"] for line in logs if line["event"] == "call.ended"] == [ended_by]
    assert "media.failed" not in json.dumps(logs, default=str)
