"""The daemon's endpoints behind a real server on loopback, with a scripted assistant behind the calls."""

import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode
from xml.etree import ElementTree as ET

import httpx
import trio

from relay.call.assistant.watched_dialer import WatchedDialer
from relay.call.browser.sessions import open_browser_sessions
from relay.call.caller.vad_engine import VadEngine
from relay.call.calls import Calls, open_calls
from relay.call.services import Services
from relay.call.takeover import Takeover
from relay.config import AssistantConfig, Config
from relay.daemon.endpoint_context import EndpointContext
from relay.daemon.gate import Gate
from relay.daemon.limits import Limits
from relay.daemon.server import Server
from relay.daemon.webhooks import open_webhooks
from relay.metrics import Metrics
from relay.net.transport import default_tls
from relay.record.recorder import open_recorder
from relay.redaction import Redactor
from relay.refusals import Refusals
from relay.secrets import Secrets
from relay.state import StateStore
from tests.support.callrig import MULAW, FakeDialer, LoudnessModel, run_inline
from tests.support.peers import WebSocketPeer, dialled, serving

AUTH_TOKEN = "twilio-auth-token"
ADMIN_TOKEN = "admin-token-of-the-test"
PUBLIC = "https://relay.example.com"
PUBLIC_WSS = "wss://relay.example.com"
SID = "CA" + "a1" * 16
OTHER_SID = "CA" + "b2" * 16
ACCOUNT = "AC" + "c3" * 16
STREAM_SID = "MZ" + "d4" * 16

Form = Mapping[str, str] | Sequence[tuple[str, str]]


def signature(url: str, form: Form = (), token: str = AUTH_TOKEN) -> str:
    """As Twilio signs ("Webhooks security"): the URL, then every name with each of its values, in order."""
    pairs = sorted(set(form.items() if isinstance(form, Mapping) else form))
    text = url + "".join(name + value for name, value in pairs)
    return base64.b64encode(hmac.new(token.encode(), text.encode(), hashlib.sha1).digest()).decode()


def ringing(sid: str = SID, **more: str) -> dict[str, str]:
    """The form of a voice webhook."""
    return {"CallSid": sid, "AccountSid": ACCOUNT, "From": "+15005550006", "CallStatus": "ringing", **more}


def connected() -> str:
    return json.dumps({"event": "connected", "protocol": "Call", "version": "1.0.0"})


def start(token: str | None, *, sid: str = SID, account: str = ACCOUNT, stream: str = STREAM_SID, **more: Any) -> str:
    body: dict[str, Any] = {
        "accountSid": account,
        "streamSid": stream,
        "callSid": sid,
        "tracks": ["inbound"],
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        "customParameters": {} if token is None else {"token": token},
        **more,
    }
    return json.dumps({"event": "start", "sequenceNumber": "1", "streamSid": stream, "start": body})


@dataclass
class FrontRig:
    context: EndpointContext
    inner: FakeDialer
    redactor: Redactor
    port: int
    http: httpx.AsyncClient

    @property
    def calls(self) -> Calls:
        return self.context.calls

    def metric(self, name: str, **labels: str) -> float:
        return self.context.metrics.registry.get_sample_value(name, labels) or 0.0

    async def post(
        self, target: str, form: Form, *, sign: bool = True, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """A webhook of Twilio, signed over the public address."""
        signed = {"X-Twilio-Signature": signature(PUBLIC + target, form)} if sign else {}
        body = urlencode(list(form.items()) if isinstance(form, Mapping) else form)
        kind = {"Content-Type": "application/x-www-form-urlencoded; charset=UTF-8"}
        return await self.http.post(target, content=body, headers={**kind, **signed, **(headers or {})})

    async def token(self, sid: str = SID) -> str:
        """Let the phone ring; the token of the TwiML."""
        answer = await self.post("/twilio/voice", ringing(sid))
        parameter = ET.fromstring(answer.text).find("Connect/Stream/Parameter")
        assert parameter is not None
        return parameter.attrib["value"]

    @asynccontextmanager
    async def socket(self, headers: Sequence[tuple[str, str]] | None = None) -> AsyncIterator[WebSocketPeer]:
        """A media socket; signed unless headers are given."""
        if headers is None:
            headers = [("x-twilio-signature", signature(PUBLIC_WSS + "/twilio/media"))]
        raw = [(name.encode(), value.encode("latin-1")) for name, value in headers]
        async with dialled(self.port, path="/twilio/media", headers=raw) as peer:
            yield peer

    async def until_over(self, sid: str = SID) -> None:
        with trio.fail_after(10):
            while self.calls.find(sid) is not None:  # noqa: ASYNC110 - a test has no event for this
                await trio.sleep(0.01)


def front_config(secrets: Mapping[str, Any] | None = None, **sections: Any) -> Config:
    known = Secrets(
        **{
            "twilio_auth_tokens": (AUTH_TOKEN,),
            "vapi_api_keys": {"fake": "vapi-key-of-the-test"},
            "admin_token": ADMIN_TOKEN,
            **(secrets or {}),
        }
    )
    return Config(assistants=(AssistantConfig("fake", "assistant-id"),), secrets=known, **sections)


@asynccontextmanager
async def open_front(config: Config | None = None, store: StateStore | None = None) -> AsyncIterator[FrontRig]:
    """A relay on a free port; on leaving, its calls are cancelled and its server stopped."""
    config = config or front_config()
    metrics, redactor, inner = Metrics(), Redactor(), FakeDialer(MULAW)
    dialer = WatchedDialer(inner, redactor)
    engine = VadEngine(LoudnessModel(), metrics, executor=run_inline)
    async with AsyncExitStack() as stack:
        recorder = await stack.enter_async_context(open_recorder(config, redactor))
        nursery = await stack.enter_async_context(trio.open_nursery())
        stack.callback(nursery.cancel_scope.cancel)
        nursery.start_soon(engine.run)
        refusals = Refusals(metrics)
        limits = Limits(config, refusals)
        nursery.start_soon(refusals.run)
        services = Services(config, metrics, engine, store, recorder=recorder if config.record.mode != "off" else None)
        calls = await stack.enter_async_context(open_calls(services, dialer))
        sessions = await stack.enter_async_context(open_browser_sessions(config, calls, refusals))
        takeover, gate = Takeover(calls, services), Gate(config, refusals, limits)
        webhooks = await stack.enter_async_context(open_webhooks(config, metrics, calls, store, recorder))
        now = trio.current_time()
        context = EndpointContext(
            config, metrics, calls, takeover, sessions, dialer, gate, refusals, limits, now, webhooks
        )
        port = await stack.enter_async_context(
            serving(Server(context), admit=limits.connection, failed=limits.connection_failed)
        )
        http = httpx.AsyncClient(verify=default_tls(), base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=20)
        await stack.enter_async_context(http)
        yield FrontRig(context, inner, redactor, port, http)
