"""A Twilio account by REST: what it says of itself and its numbers, and the calls that the probe places.

Sources: Twilio's pages on the Account, IncomingPhoneNumber, Call and Notification resources (API 2010-04-01), on alerts
(Monitor v1), on the regions of numbers (Routes v2), and on webhook security.
"""

import base64
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import msgspec
import trio

from relay.errors import RelayError
from relay.net.rest import RestClient
from relay.probe.budget import Budget
from relay.probe.question import AccountUnusable
from relay.standin.phone.signature import sign
from relay.wire.signature import SIGNATURE_HEADER

CALL_LIMIT_S = 60
"""Twilio ends each call of the probe after so long (TimeLimit)."""
RING_S = 30
CHECKED_PATH = "/twilio/status"
_END_S = 10.0
_END_TRIES = 3
_PAUSE_S = 0.5


class TwilioRefused(RelayError):
    """Twilio refuses a request; the text has its status and its code, which its pages explain."""

    code = "TWILIO_REFUSED"


COUNTRIES_MAX = 400
"""On one page: there are some 220."""


@dataclass(frozen=True, slots=True)
class TwilioHosts:
    """Where the interfaces are."""

    api: str = "https://api.twilio.com"
    monitor: str = "https://monitor.twilio.com"
    routes: str = "https://routes.twilio.com"
    voice: str = "https://voice.twilio.com"


class TwilioAccount:
    """One account, and the public address of the relay that its numbers should call.

    number: the one to look at; "": the one that calls this relay, or the only one.
    left_running: gets the ids of calls that could not be ended.
    """

    def __init__(
        self,
        sid: str,
        auth_token: str,
        public_url: str,
        rest: RestClient,
        budget: Budget,
        *,
        hosts: TwilioHosts | None = None,
        number: str = "",
        left_running: list[str],
    ) -> None:
        self.sid = sid
        self.public_url = public_url
        self._auth_token = auth_token
        self._rest = rest
        self._budget = budget
        self._hosts = hosts or TwilioHosts()
        self._number = number
        self._left_running = left_running
        login = base64.b64encode(f"{sid}:{auth_token}".encode()).decode()
        self._headers = {"Authorization": f"Basic {login}"}
        self._url = f"{self._hosts.api}/2010-04-01/Accounts/{sid}"

    async def account(self) -> Mapping[str, Any]:
        """The account itself. Raises AccountUnusable, and LegLost without an answer."""
        return await self._get(f"{self._url}.json")

    async def number(self) -> Mapping[str, Any]:
        """The number that is looked at. Raises TwilioRefused where it cannot be told which one that is."""
        numbers = _items(
            await self._get(f"{self._url}/IncomingPhoneNumbers.json?PageSize=100"), "incoming_phone_numbers"
        )
        chosen = [it for it in numbers if it.get("phone_number") == self._number]
        if self._number:
            if not chosen:
                raise TwilioRefused(f"the account has no number {self._number}")
            return chosen[0]
        ours = [it for it in numbers if str(it.get("voice_url")).startswith(self.public_url + "/")]
        if len(ours) == 1 or len(numbers) == 1:
            return (ours or numbers)[0]
        raise TwilioRefused(
            f"the account has {len(numbers)} numbers, {len(ours)} of which call this relay: give --number"
        )

    async def region(self, number: str) -> str:
        """The region in which calls to a number are processed; "" where Twilio does not say."""
        try:
            found = await self._get(f"{self._hosts.routes}/v2/PhoneNumbers/{quote(number, safe='')}")
        except TwilioRefused:
            return ""
        return str(found.get("voice_region") or "")

    async def alerts(self, since: str) -> list[str]:
        """The error codes of all alerts since then, a time in ISO 8601."""
        alerts = await self._get(f"{self._hosts.monitor}/v1/Alerts?StartDate={quote(since)}&PageSize=100")
        return [str(it.get("error_code")) for it in _items(alerts, "alerts")]

    async def countries(self) -> list[Mapping[str, Any]]:
        """Every country, with whether calls may go there. Raises TwilioRefused."""
        return _items(
            await self._get(f"{self._hosts.voice}/v1/DialingPermissions/Countries?PageSize={COUNTRIES_MAX}"), "content"
        )

    async def post_to_relay(self, *, signed: bool) -> int:
        """The status with which the relay at its public address answers a report of a call, as Twilio would send it.

        Raises LegLost without an answer.
        """
        url = self.public_url + CHECKED_PATH
        form = {"AccountSid": self.sid, "CallSid": "relay-probe", "CallStatus": "ringing"}
        headers = {SIGNATURE_HEADER: sign(self._auth_token, url, form)} if signed else {}
        status, _ = await self._rest.post_form(url, form, headers)
        return status

    @asynccontextmanager
    async def call(self, from_number: str, to_number: str, twiml: str) -> AsyncIterator[str]:
        """The id of a call that Twilio places and ends after a minute. It is ended on leaving, also when cancelled.

        Raises BudgetSpent, TwilioRefused, AccountUnusable, and LegLost without an answer: Twilio may ring then, for as
        long as RING_S.
        """
        self._budget.spend(CALL_LIMIT_S)
        form = {
            "From": from_number,
            "To": to_number,
            "Twiml": twiml,
            "TimeLimit": str(CALL_LIMIT_S),
            "Timeout": str(RING_S),
        }
        # Shielded, or a call could be placed of which nobody knows the id. The REST client's time-out bounds it.
        with trio.CancelScope(shield=True):
            placed = await self._post(f"{self._url}/Calls.json", form)
        call_sid = str(placed.get("sid"))
        try:
            await trio.lowlevel.checkpoint()
            yield call_sid
        finally:
            await self._end(call_sid)

    async def find(self, call_sid: str) -> Mapping[str, Any]:
        """A call as Twilio shows it now."""
        return await self._get(f"{self._url}/Calls/{call_sid}.json")

    async def notifications(self, call_sid: str) -> list[str]:
        """The error codes that Twilio noted for a call."""
        noted = await self._get(f"{self._url}/Calls/{call_sid}/Notifications.json")
        return [str(it.get("error_code")) for it in _items(noted, "notifications")]

    async def _end(self, call_sid: str) -> None:
        """End a call. Shielded, and bounded; one that is over already stays so."""
        with trio.CancelScope(shield=True), trio.move_on_after(_END_S):
            for _ in range(_END_TRIES):
                try:
                    await self._post(f"{self._url}/Calls/{call_sid}.json", {"Status": "completed"})
                except RelayError:
                    await trio.sleep(_PAUSE_S)
                else:
                    return
        self._left_running.append(call_sid)

    async def _get(self, url: str) -> Mapping[str, Any]:
        return self._read(url, *await self._rest.get(url, self._headers))

    async def _post(self, url: str, form: Mapping[str, str]) -> Mapping[str, Any]:
        return self._read(url, *await self._rest.post_form(url, form, self._headers))

    def _read(self, url: str, status: int, body: bytes) -> Mapping[str, Any]:
        """The object in an answer. The other interfaces may refuse a token that is good for the API of a region."""
        try:
            answer = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            answer = None
        if status in (401, 403) and url.startswith(self._url):
            raise AccountUnusable(f"Twilio answers {status}: the account and TWILIO_AUTH_TOKEN do not belong together")
        if not 200 <= status < 300 or not isinstance(answer, dict):
            code = answer.get("code") if isinstance(answer, dict) else None
            raise TwilioRefused(f"Twilio answers {status}" + (f", error {code}" if isinstance(code, int) else ""))
        return answer


def _items(answer: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    items = answer.get(name)
    return [it for it in items if isinstance(it, dict)] if isinstance(items, list) else []
