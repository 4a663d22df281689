"""The simulated REST interface of Twilio knows an account, its numbers, alerts and calls, as far as a relay asks.

Sources: Twilio's pages on the Account, IncomingPhoneNumber, Call and Notification resources (API 2010-04-01), on alerts
(Monitor v1), on the regions of numbers (Routes v2), and on dialing permissions (Voice v1).
"""

import base64
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import trio

from relay.standin.http import Request, Response, Rewound, serve_connection
from relay.standin.phone import twiml

COUNTRIES = (("US", "United States", "+1"), ("CA", "Canada", "+1"), ("DE", "Germany", "+49"), ("LV", "Latvia", "+371"))
"""Of all that Twilio knows some, with their ISO codes and those of the telephone."""

_RING_S = 1.0


@dataclass(frozen=True, slots=True)
class TwilioNumber:
    """A number, as the console shows it. `handler_sid`: of an application or a trunk that takes its calls instead."""

    number: str = "+15005550006"
    voice_url: str = "https://relay.example.com/twilio/voice"
    voice_method: str = "POST"
    status_callback: str = "https://relay.example.com/twilio/status"
    status_method: str = "POST"
    fallback_url: str = "https://handler.example.com/bin"
    handler_sid: str = ""
    region: str = "us1"


@dataclass(frozen=True, slots=True)
class TwilioState:
    """What the account is like.

    alerts: the error codes of the last day. outcome: how a placed call ends; one that is "completed" is answered after
    a second. next_verb: whether the verb behind a refused stream is done. refused: Twilio's error code for every order
    of a call. may_dial: the countries that calls may go to, by their ISO codes.
    """

    status: str = "active"
    type: str = "Full"
    numbers: tuple[TwilioNumber, ...] = (TwilioNumber(),)
    alerts: tuple[str, ...] = ()
    outcome: str = "completed"
    next_verb: bool = True
    refused: int | None = None
    may_dial: frozenset[str] = frozenset(iso_code for iso_code, _, _ in COUNTRIES)


@dataclass(slots=True)
class PlacedCall:
    """A call that was ordered. Times are on trio's clock."""

    sid: str
    form: Mapping[str, str]
    outcome: str
    ends_s: float
    talk_s: float
    ended_early: bool = False

    def as_json(self) -> dict[str, Any]:
        over = trio.current_time() >= self.ends_s
        status = ("completed" if self.ended_early else self.outcome) if over else "in-progress"
        return {"sid": self.sid, "status": status, "duration": str(round(self.talk_s)) if over else None}


@dataclass(slots=True)
class TwilioRest:
    """A running interface. `calls` holds those that were placed."""

    base_url: str
    account_sid: str
    auth_token: str = field(repr=False)
    state: TwilioState
    calls: dict[str, PlacedCall] = field(default_factory=dict)

    async def answer(self, request: Request) -> Response:
        """A request, answered as Twilio does."""
        login = base64.b64encode(f"{self.account_sid}:{self.auth_token}".encode()).decode()
        if request.headers.get("authorization") != f"Basic {login}":
            return _error(401, 20003, "Authenticate")
        path = urlsplit(request.target).path.removesuffix(".json").strip("/").split("/")
        match request.method, path:
            case "GET", ["2010-04-01", "Accounts", self.account_sid]:
                state = self.state
                return Response.of(200, {"sid": self.account_sid, "status": state.status, "type": state.type})
            case "GET", ["2010-04-01", "Accounts", self.account_sid, "IncomingPhoneNumbers"]:
                return Response.of(200, {"incoming_phone_numbers": [_number(it) for it in self.state.numbers]})
            case "GET", ["v2", "PhoneNumbers", number]:
                found = [it for it in self.state.numbers if it.number.lstrip("+") == number.removeprefix("%2B")]
                return Response.of(200, {"voice_region": found[0].region}) if found else _error(404, 20404, "not found")
            case "GET", ["v1", "Alerts"]:
                return Response.of(200, {"alerts": [{"error_code": code} for code in self.state.alerts]})
            case "GET", ["v1", "DialingPermissions", "Countries"]:
                return Response.of(200, {"content": [self._country(*it) for it in COUNTRIES]})
            case "POST", ["2010-04-01", "Accounts", self.account_sid, "Calls"]:
                return self._place(dict(parse_qsl(request.body.decode())))
            case method, ["2010-04-01", "Accounts", self.account_sid, "Calls", sid, *rest] if sid in self.calls:
                return self._look_at(method, self.calls[sid], rest)
        return _error(404, 20404, "The requested resource was not found")

    def _country(self, iso_code: str, name: str, code: str) -> dict[str, Any]:
        is_open = iso_code in self.state.may_dial
        return {"iso_code": iso_code, "name": name, "country_codes": [code], "low_risk_numbers_enabled": is_open}

    def _place(self, form: Mapping[str, str]) -> Response:
        if self.state.refused is not None:
            return _error(400, self.state.refused, "The call is refused")
        verbs = twiml.read_twiml(form["Twiml"])
        pauses_s = sum(verb.length_s for verb in verbs if isinstance(verb, twiml.Pause))
        talk_s = min(pauses_s, float(form["TimeLimit"])) if self.state.next_verb else 0.0
        if self.state.outcome != "completed":
            talk_s = 0.0
        sid = f"CA{secrets.token_hex(16)}"
        ends_s = trio.current_time() + _RING_S + talk_s
        self.calls[sid] = PlacedCall(sid, form, self.state.outcome, ends_s, talk_s)
        return Response.of(201, {"sid": sid, "status": "queued"})

    def _look_at(self, method: str, call: PlacedCall, rest: list[str]) -> Response:
        if rest == ["Notifications"]:
            codes = ["31920"] if call.outcome == "completed" else []
            return Response.of(200, {"notifications": [{"error_code": code} for code in codes]})
        if method == "POST" and trio.current_time() < call.ends_s:
            call.ends_s, call.ended_early = trio.current_time(), True
        return Response.of(200, call.as_json())


def _number(it: TwilioNumber) -> dict[str, str]:
    return {
        "phone_number": it.number,
        "voice_url": it.voice_url,
        "voice_method": it.voice_method,
        "status_callback": it.status_callback,
        "status_callback_method": it.status_method,
        "voice_fallback_url": it.fallback_url,
        "voice_application_sid": it.handler_sid if it.handler_sid.startswith("AP") else "",
        "trunk_sid": it.handler_sid if it.handler_sid.startswith("TK") else "",
    }


def _error(status: int, code: int, message: str) -> Response:
    return Response.of(status, {"code": code, "message": message, "status": status})


async def _no_socket(_target: str, _head: Rewound, stream: trio.SocketStream) -> None:
    await stream.aclose()


@asynccontextmanager
async def open_twilio_rest(
    account_sid: str, auth_token: str, state: TwilioState | None = None, *, port: int = 0
) -> AsyncIterator[TwilioRest]:
    """Run the interface on loopback; it is ready when entered, and gone on exit."""
    listeners = await trio.open_tcp_listeners(port, host="127.0.0.1")
    base_url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
    rest = TwilioRest(base_url, account_sid, auth_token, state or TwilioState())
    async with trio.open_nursery() as nursery:
        serve = partial(serve_connection, on_http=rest.answer, on_upgrade=_no_socket)
        await nursery.start(partial(trio.serve_listeners, serve, listeners))
        yield rest
        nursery.cancel_scope.cancel()
