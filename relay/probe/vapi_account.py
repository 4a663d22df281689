"""The calls that the probe places at Vapi: each has a limit that the budget covers, and each is ended.

Sources: Vapi's API reference (`POST /call`, `GET /call`, `GET /call/{id}`, `DELETE /call/{id}`) and its "Live call
control" page.
"""

import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import msgspec
import trio

from relay.config import AssistantConfig, Config
from relay.errors import AssistantUnavailable, RelayError
from relay.media.frames import AudioFormat, Encoding
from relay.net.rest import RestClient
from relay.probe.budget import Budget
from relay.probe.vapi_line import VapiLine, open_line
from relay.redaction import Redactor
from relay.wire import vapi_call, vapi_controls
from relay.wire.vapi_call import CallCreated, LiveCall

LEAST_CALL_S = 10
"""The shortest limit that Vapi takes (maxDurationSeconds)."""
_END_S = 10.0
_END_TRIES = 3
_FIND_TRIES = 3
_PAUSE_S = 0.3
_LATE_S = 1.0


class PropertyRefused(RelayError):
    """Vapi does not know a property of the order, and refuses the call for it."""

    code = "PROPERTY_REFUSED"


class VapiRefused(RelayError):
    """Vapi does not give what was asked for."""

    code = "VAPI_REFUSED"


@dataclass(slots=True)
class Seen:
    """What was seen in all calls together: how sockets were closed, and the longest text message."""

    closes: dict[str, str]
    largest_text_bytes: int = 0
    texts: int = 0


class VapiAccount:
    """One assistant of the configuration.

    redactor: learns the addresses of each call, for good.
    left_running: gets the ids of calls that could not be ended.
    """

    def __init__(
        self,
        assistant: AssistantConfig,
        config: Config,
        rest: RestClient,
        budget: Budget,
        *,
        redactor: Redactor,
        left_running: list[str],
    ) -> None:
        self.assistant = assistant
        self.config = config
        self.format = AudioFormat(Encoding(assistant.audio_format), assistant.sample_rate_hz)
        self.seen = Seen({})
        self._redactor = redactor
        self._left_running = left_running
        self._rest = rest
        self._budget = budget
        self._headers = {"Authorization": f"Bearer {config.secrets.vapi_api_keys[assistant.name]}"}
        self._url = f"{assistant.api_base}/call"

    @asynccontextmanager
    async def call(
        self,
        limit_s: float,
        *,
        overrides: Mapping[str, Any] | None = None,
        without: tuple[str, ...] = (),
        waits: bool = True,
        silence_timeout_s: float | None = None,
    ) -> AsyncIterator[CallCreated]:
        """A call that has no socket yet. It is ended on leaving, also when cancelled.

        limit_s: after which Vapi itself ends it; 10 or more.
        overrides, without: properties of `assistantOverrides` that are set, or left out, other than the relay does it.
        waits: the assistant lets the caller speak first.
        silence_timeout_s: see `call_request`.

        Raises BudgetSpent, AssistantUnavailable, PropertyRefused (the silence timeout), and LegLost without an answer.
        """
        self._budget.spend(limit_s)
        name = f"relay probe {secrets.token_hex(8)}"
        order = vapi_call.call_request(
            self.assistant.assistant_id,
            self.format,
            max_duration_s=limit_s,
            first_message_interruptions=True,
            metadata={},
            name=name,
            first_message_waits=waits,
            silence_timeout_s=silence_timeout_s,
        )
        order["assistantOverrides"] |= overrides or {}
        for key in without:
            del order["assistantOverrides"][key]
        # Shielded, or a call could be made of which nobody knows the id. The REST client's time-out bounds it.
        with trio.CancelScope(shield=True):
            try:
                status, body = await self._rest.post_json(self._url, order, self._headers)
            except RelayError:
                await self._end_by_name(name)
                raise
        if silence_timeout_s is not None and vapi_call.refuses_silence_timeout(status, body):
            raise PropertyRefused("the service does not know the property")
        created = await self._created(status, body)
        try:
            created = await self._with_control_url(created)
        except BaseException:
            await self._end(created.call_id, None)
            raise
        for url in (created.socket_url, created.control_url or ""):
            self._redactor.add(url)
        try:
            yield created
        finally:
            await self._end(created.call_id, created.control_url)

    @asynccontextmanager
    async def talk(self, created: CallCreated, what: str = "") -> AsyncIterator[VapiLine]:
        """The call's socket, connected, with silence going up. `what`: the name under which its close is remembered.

        Raises LegLost.
        """
        async with open_line(created.socket_url, created.format, self.assistant.connect_timeout_s) as line:
            try:
                yield line
            finally:
                self.seen.texts += line.texts
                self.seen.largest_text_bytes = max(self.seen.largest_text_bytes, line.largest_text_bytes)
                if what and line.closed.is_set():
                    self.seen.closes[what] = line.how_closed

    async def find(self, call_id: str) -> tuple[int, LiveCall | None]:
        """What `GET /call/{id}` says of a call, with its status. Raises LegLost."""
        status, body = await self._rest.get(f"{self._url}/{call_id}", self._headers)
        return status, vapi_call.parse_live(status, body)

    async def read(self, kind: str, its_id: str) -> Mapping[str, Any]:
        """An object of Vapi's, as an "assistant". Raises VapiRefused, and LegLost without an answer."""
        url = f"{self.assistant.api_base}/{kind}/{quote(its_id, safe='')}"
        status, body = await self._rest.get(url, self._headers)
        try:
            answer = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            answer = None
        if status != 200 or not isinstance(answer, dict):
            raise VapiRefused(f"GET /{kind}/... is answered with {status}")
        return answer

    async def delete(self, call_id: str) -> int:
        """`DELETE /call/{id}`, which erases a record; returns the status. Raises LegLost."""
        status, _ = await self._rest.delete(f"{self._url}/{call_id}", self._headers)
        return status

    async def _created(self, status: int, body: bytes) -> CallCreated:
        """The call in the answer; one that exists and cannot be used is ended. Raises AssistantUnavailable."""
        try:
            return vapi_call.parse_created(status, body, self.format)
        except AssistantUnavailable as error:
            if error.call_id is not None:
                await self._end(error.call_id, error.control_url)
            raise

    async def _with_control_url(self, created: CallCreated) -> CallCreated:
        """The call with the address that ends it, which some answers to `POST /call` leave out."""
        control_url = created.control_url
        for _ in range(_FIND_TRIES):
            if control_url is not None:
                break
            with suppress(RelayError):
                _, live = await self.find(created.call_id)
                control_url = None if live is None else live.control_url
            await trio.sleep(_PAUSE_S)
        return msgspec.structs.replace(created, control_url=control_url)

    async def _end(self, call_id: str, control_url: str | None) -> None:
        """End a call at its control URL, and see that it is over. Shielded, and bounded."""
        ended = False
        with trio.CancelScope(shield=True), trio.move_on_after(_END_S):
            for _ in range(_END_TRIES):
                try:
                    ended, control_url = await self._try_to_end(call_id, control_url)
                except RelayError:
                    ended = False
                if ended:
                    return
                await trio.sleep(_PAUSE_S)
        self._left_running.append(call_id)

    async def _try_to_end(self, call_id: str, control_url: str | None) -> tuple[bool, str | None]:
        """Whether the call is over now, and its control URL once that is known."""
        if control_url is None:
            _, live = await self.find(call_id)
            control_url = None if live is None else live.control_url
            if live is None or live.ended or control_url is None:
                return live is not None and live.ended, control_url
        status, _ = await self._rest.post_json(control_url, vapi_controls.END_CALL)
        if 200 <= status < 300:
            return True, control_url
        # It may be over already, and its record erased.
        status, live = await self.find(call_id)
        return status == 404 or (live is not None and live.ended), control_url

    async def _end_by_name(self, name: str) -> None:
        """End the call that a request without an answer has made, or makes in the next seconds, if it does."""
        for _ in range(_FIND_TRIES):
            await trio.sleep(_LATE_S)
            with suppress(RelayError):
                found = vapi_call.parse_listed(*await self._rest.get(f"{self._url}?limit=10", self._headers), name)
                for call_id in found:
                    await self._end(call_id, None)
                if found:
                    return
