"""One assistant as the calls see it: create a call there, connect its socket, hang it up."""

import math
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import structlog
from msgspec.structs import replace

from relay.config import AssistantConfig, Config
from relay.errors import AssistantUnavailable, HangUpFailed, RelayError
from relay.media.frames import AudioFormat, Encoding
from relay.net.client_socket import open_client_socket
from relay.net.rest import RestClient
from relay.net.sockets import PromptSocket
from relay.wire import vapi_call, vapi_controls, vapi_server
from relay.wire.owner import owned_path
from relay.wire.vapi_call import CallCreated, LiveCall
from relay.wire.vapi_events import PHONE_CALL_CONTROL
from relay.wire.webhook_auth import EVENTS_PATH

_REFUSES_ASSISTANT = frozenset({400, 403, 404})
"""Answers to `POST /call` that another assistant may not get."""

log = structlog.get_logger(__name__)


class AssistantSocket(PromptSocket, Protocol):
    """A socket that finds out by itself when its peer is dead."""

    async def part(self) -> None:
        """Close, and return when the peer has answered that: it knows. Raises LegLost when there is no answer."""

    async def run_keepalive(
        self, interval_s: float, timeout_s: float, answered: Callable[[float], None] | None = None
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class NewCall:
    """Says what a new call with the assistant is to be. `call_id` is the relay's id of the caller's call.

    `greet`: the assistant speaks first. `replaces` is the id of the call whose conversation it goes on with;
    `handed_to` that of the assistant which had it there, if that was another than is configured (see
    `CallCreated.hand_off_refused`). `variables` are what the assistant is told of the caller: personal data.
    """

    call_id: str
    greet: bool = True
    replaces: str | None = None
    handed_to: str | None = None
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)


class Dialer(Protocol):
    """An assistant that calls can be made with."""

    @property
    def name(self) -> str: ...

    @property
    def format(self) -> AudioFormat:
        """Of the audio, both ways, as it is asked for. A call has the one that is granted, `CallCreated.format`."""

    @property
    def max_call_s(self) -> float | None:
        """How long after `create` the provider ends a call, where that is before the conversation's own end."""

    @property
    def create_timeout_s(self) -> float:
        """How long a caller is to wait for the answer to `create`."""

    async def create(
        self, wanted: NewCall, *, fresh: bool = False, answering: Callable[[], None] | None = None
    ) -> CallCreated:
        """A new call, whose socket is to be connected at once. Raises AssistantUnavailable.

        Its only limit is the caller's: cancelled, it may leave a call that nobody knows. `fresh`: over a new
        connection. `answering` is called when the answer begins.
        """

    def note_unavailable(self) -> None:
        """A caller has got no call from it."""

    def connect(self, created: CallCreated) -> AbstractAsyncContextManager[AssistantSocket]:
        """The call's socket, connected; once only, its address is good for one handshake. Raises LegLost."""

    async def hang_up(self, call_id: str, control_url: str | None) -> None:
        """Try once to end a call whose socket is dead; `control_url` as `create` gave it.

        Raises RelayError where the call is not known to be over.
        """


class VapiDialer:
    """Vapi's REST interface for one configured assistant. The connection pool is shared by all calls."""

    def __init__(self, assistant: AssistantConfig, config: Config, rest: RestClient) -> None:
        self.name = assistant.name
        self.format = AudioFormat(Encoding(assistant.audio_format), assistant.sample_rate_hz)
        limit_s, wanted_s = assistant.max_call_s, config.session.max_duration_s
        self.max_call_s = limit_s if 0 < limit_s < wanted_s else None
        self.create_timeout_s = assistant.request_timeout_s
        self._assistant = assistant
        self._config = config
        self._rest = rest
        self._headers = {"Authorization": f"Bearer {config.secrets.vapi_api_keys[assistant.name]}"}
        self._call_url = f"{assistant.api_base.rstrip('/')}/call"
        self._sends_silence_timeout = assistant.send_silence_timeout
        self._server = _webhook_server(config)

    async def create(
        self, wanted: NewCall, *, fresh: bool = False, answering: Callable[[], None] | None = None
    ) -> CallCreated:
        """POST /call; see Dialer.

        A second POST follows where Vapi does not know the property for the limit of silence, which is not sent any more
        from then on; and one with the configured assistant where Vapi refuses the one that had the conversation, as
        that may be no stored assistant.
        """
        post = partial(self._post, fresh=fresh, answering=answering)
        order = partial(self._order, wanted)
        assistant_id = wanted.handed_to or self._assistant.assistant_id
        asked_for_silence = self._sends_silence_timeout
        status, body = await post(order(assistant_id))
        if asked_for_silence and vapi_call.refuses_silence_timeout(status, body):
            if self._sends_silence_timeout:  # another call may have found out meanwhile
                self._sends_silence_timeout = False
                log.warning("assistant.property_refused", property=vapi_call.SILENCE_TIMEOUT)
            status, body = await post(order(assistant_id))
        refused = assistant_id != self._assistant.assistant_id and status in _REFUSES_ASSISTANT
        if refused:
            log.warning("assistant.hand_off_lost", assistant=wanted.handed_to, status=status)
            status, body = await post(order(self._assistant.assistant_id))
        created = vapi_call.parse_created(status, body, self.format, private=wanted.variables.values())
        return replace(created, hand_off_refused=refused)

    def _order(self, wanted: NewCall, assistant_id: str) -> dict[str, Any]:
        session, replaces = self._config.session, wanted.replaces
        return vapi_call.call_request(
            assistant_id=assistant_id,
            audio_format=self.format,
            max_duration_s=self.max_call_s or session.max_duration_s,
            first_message_interruptions=not self._config.barge_in.protect_first_message,
            metadata={"relayCallId": wanted.call_id} | ({"replacesCallId": replaces} if replaces else {}),
            name=f"relay {wanted.call_id}",
            first_message_waits=not wanted.greet,
            silence_timeout_s=session.idle_timeout_s if self._sends_silence_timeout else None,
            variables=wanted.variables,
            server=self._server,
            more_server_messages=(PHONE_CALL_CONTROL,) if self._config.transfer.allow else (),
        )

    async def _post(
        self, order: dict[str, Any], *, fresh: bool, answering: Callable[[], None] | None
    ) -> tuple[int, bytes]:
        try:
            return await self._rest.post_json(
                self._call_url, order, self._headers, fresh=fresh, answering=answering, answer_timeout_s=math.inf
            )
        except RelayError as error:
            raise AssistantUnavailable(str(error), "VAPI_UNREACHABLE", retriable=True) from None

    def note_unavailable(self) -> None:
        """See Dialer. Nothing is remembered here."""

    def connect(self, created: CallCreated) -> AbstractAsyncContextManager[AssistantSocket]:
        return open_client_socket(created.socket_url, connect_timeout_s=self._assistant.connect_timeout_s)

    async def hang_up(self, call_id: str, control_url: str | None) -> None:
        """POST `end-call` to the control URL, which `GET /call/{id}` names where it is not known; see Dialer.

        `DELETE /call/{id}` is no means for it: that erases the call's record and recordings, and nobody documents that
        a live call ends (Vapi API reference, "Delete Call").
        """
        if control_url is None:
            live = await self._look_up(call_id)
            if live.ended:
                return
            if live.control_url is None:
                raise HangUpFailed("Vapi names no control URL of the call")
            control_url = live.control_url
        try:
            await self._tell_end(control_url)
        except RelayError:  # a control URL goes with the machine that had the call
            live = await self._look_up(call_id)
            if live.ended:
                return
            if live.control_url in {None, control_url}:
                raise
            await self._tell_end(live.control_url)

    async def _tell_end(self, control_url: str) -> None:
        status, _ = await self._rest.post_json(control_url, vapi_controls.END_CALL)
        if not 200 <= status < 300:
            raise HangUpFailed(f"Vapi answered {status} at the call's control URL")

    async def _look_up(self, call_id: str) -> LiveCall:
        status, body = await self._rest.get(f"{self._call_url}/{call_id}", self._headers)
        live = vapi_call.parse_live(status, body)
        if live is None:
            raise HangUpFailed(f"Vapi answered {status} and says nothing of the call")
        return live


def _webhook_server(config: Config) -> dict[str, Any] | None:
    """Where Vapi posts what it has to tell; None: nowhere of ours."""
    if config.webhooks is None:
        return None
    newest = config.secrets.vapi_webhook_secrets[-1]
    url = config.server.public_url + owned_path(EVENTS_PATH, config.server.instance)
    return vapi_server.webhook_server(url, config.webhooks, newest, answer_s=config.events.timeout_s)
