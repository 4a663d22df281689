"""The questions to a Twilio account: whether its number reaches this relay, and what the documents leave open."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import trio

from relay.errors import LegLost
from relay.probe.finding import Answer
from relay.probe.question import Question
from relay.probe.twilio_account import CALL_LIMIT_S, RING_S, TwilioAccount
from relay.wire.twiml import refused_stream

VOICE_PATH, STATUS_PATH = "/twilio/voice", "/twilio/status"
NO_SOCKET_PATH = "/twilio/no-socket"
"""The relay refuses a WebSocket at this address, with 404."""
NEXT_VERB_S = 8
_POLL_S = 1.0
_OVER = {"completed", "busy", "failed", "no-answer", "canceled"}
ALERTS = {
    "11200": "the relay did not answer a webhook with 2xx: see its log for webhook.rejected",
    "12100": "an answer was no TwiML: something else than the relay answers at server.public_url",
    "31901": "no connection to the media socket in time: firewall or proxy",
    "31902": "the media socket was refused: nothing listens behind server.public_url",
    "31903": "a media socket broke off: proxy time-outs, or a crash of the relay",
    "31920": "the media socket's handshake failed: the proxy must pass WebSockets",
    "31921": "the relay closed a media socket: see its log",
    "31930": "the relay, or the way to it, took audio too slowly",
    "31931": "more than 10 minutes of audio waited to be played",
    "31951": "Twilio did not understand a message on a media socket: report it",
}


def questions(call_to: str, dialled: Sequence[str] = ()) -> Sequence[Question[TwilioAccount]]:
    """All of them, in the order in which they are asked. `call_to`: the number that a call may go to, "" for none.
    `dialled`: the numbers and SIP addresses, with their stars, to which callers may be connected."""
    return (
        Question("Is the account active, and does it accept the token?", "active, Full", account_state),
        Question("Whom does Twilio ask when a call comes in?", "POST server.public_url/twilio/voice", voice_webhook),
        Question("Whom does Twilio tell that a call is over?", "POST server.public_url/twilio/status", status_callback),
        Question("Who answers when the relay does not?", "a TwiML Bin as primary handler fails", fallback),
        Question("In which region are calls processed?", "us1", region),
        Question("Does the relay take Twilio's signature, and no request without?", "204 signed, 403 not", signature),
        Question("What has Twilio complained of since yesterday?", "nothing", alerts),
        _dialling_question([it for it in dialled if it.startswith("+")]),
        _next_verb_question(call_to),
        *(Question(text, expected, not_measurable=why) for text, expected, why in _NOT_MEASURABLE),
    )


async def account_state(account: TwilioAccount) -> Answer:
    """Whether the account can take calls."""
    found = await account.account()
    status, kind = str(found.get("status")), str(found.get("type"))
    if status != "active":
        return Answer(found=status, note="see the billing and the messages in Twilio's console", failed=True)
    if kind == "Trial":
        keys = {"twilio.account_sids": (account.sid,)}
        trial = "active, Trial: a notice comes first, and only verified numbers can be called"
        return Answer(found=trial, note="upgrade the account", keys=keys)
    return Answer(found=f"active, {kind}", keys={"twilio.account_sids": (account.sid,)})


async def voice_webhook(account: TwilioAccount) -> Answer:
    """Whether a call to the number asks this relay."""
    number = await account.number()
    wanted = account.public_url + VOICE_PATH
    if handler := str(number.get("voice_application_sid") or number.get("trunk_sid") or ""):
        kind = "a TwiML application" if number.get("voice_application_sid") else "a SIP trunk"
        return Answer(found=f"{kind} ({handler}), not a webhook", note=_enter("A call comes in", wanted), failed=True)
    return _webhook(number, ("voice_url", "voice_method"), "A call comes in", wanted, needed=True)


async def status_callback(account: TwilioAccount) -> Answer:
    """Whether the relay hears of a call's end from Twilio, too. Calls work without."""
    wanted = account.public_url + STATUS_PATH
    keys = ("status_callback", "status_callback_method")
    return _webhook(await account.number(), keys, "Call status changes", wanted, needed=False)


def _webhook(number: Mapping[str, Any], keys: tuple[str, str], where: str, wanted: str, *, needed: bool) -> Answer:
    url, method = (str(number.get(key) or "") for key in keys)
    if not url:
        return Answer(found="nobody", note=_enter(where, wanted), failed=needed)
    if (url, method) != (wanted, "POST"):
        return Answer(found=f"{method} {_without_secrets(url)}", note=_enter(where, wanted), failed=True)
    return Answer(found=f"POST {url}", note="none")


def _enter(where: str, wanted: str) -> str:
    return f"in Twilio's console, at the number, {where}: webhook, {wanted}, HTTP POST"


def _without_secrets(url: str) -> str:
    """An address of the console may hold a password, or a key in its query."""
    scheme, _, rest = url.partition("://")
    place = rest.partition("?")[0].partition("#")[0]
    host, slash, path = place.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"


async def fallback(account: TwilioAccount) -> Answer:
    """Who answers when nothing of the relay does. Calls work without."""
    number = await account.number()
    if url := str(number.get("voice_fallback_url") or ""):
        return Answer(found=_without_secrets(url), note="none")
    return Answer(found="nobody", note="make a TwiML Bin, see docs/operate.md, If the primary handler fails")


async def region(account: TwilioAccount) -> Answer:
    """Where the number's calls are processed. Each region has auth tokens of its own."""
    number = await account.number()
    found = await account.region(str(number.get("phone_number")))
    if found in {"", "us1"}:
        return Answer(found=found or "not told", note="none")
    return Answer(found=found, note=f"TWILIO_AUTH_TOKEN must be that of {found}: it signs what comes from there")


async def signature(account: TwilioAccount) -> Answer:
    """Whether the relay that runs at the public address checks signatures, by this token and over this address."""
    try:
        signed, unsigned = await account.post_to_relay(signed=True), await account.post_to_relay(signed=False)
    except LegLost as error:
        return Answer(
            found=f"no answer: {error}", note="relay serve must run, and server.public_url lead to it", failed=True
        )
    found = f"{signed} signed, {unsigned} not"
    if signed == 403:
        note = "the relay that runs has another TWILIO_AUTH_TOKEN or server.public_url"
    elif signed != 204:
        note = "something else than the relay answers at server.public_url"
    elif unsigned != 403:
        note = "set twilio.validate_signatures: anybody can place calls at your cost"
    else:
        return Answer(found=found, note="none")
    return Answer(found=found, note=note, failed=True)


async def alerts(account: TwilioAccount) -> Answer:
    """The errors and warnings that Twilio noted within a day."""
    since = (datetime.now(UTC) - timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    codes = Counter(code for code in await account.alerts(since) if code.isdigit())
    if not codes:
        return Answer(found="nothing", note="none")
    found = ", ".join(f"{code} ({times})" for code, times in sorted(codes.items()))
    unknown = "see twilio.com/docs/api/errors"
    notes = "; ".join(f"{code}: {ALERTS.get(code, unknown)}" for code in sorted(codes))
    return Answer(found=found, note=notes)


async def dialling(account: TwilioAccount, numbers: Sequence[str]) -> Answer:
    """Whether the account's permissions let these numbers, with their stars, be dialled."""
    countries = await account.countries()
    closed: dict[str, str] = {}
    unknown: list[str] = []
    for number in numbers:
        of_number = _countries_of(number, countries)
        names = [str(it.get("name")) for it in of_number if it.get("low_risk_numbers_enabled") is not True]
        if names:
            closed[number] = " or ".join(names)
        elif not of_number:
            unknown.append(number)
    if closed:
        found = "no: " + ", ".join(f"{number} ({name})" for number, name in closed.items())
        places = ", ".join(dict.fromkeys(closed.values()))
        return Answer(found=found, note=f"in Twilio's console, Voice, Geo permissions: allow {places}", failed=True)
    if unknown:
        return Answer(found=f"not told for {', '.join(unknown)}", note="see Voice, Geo permissions in Twilio's console")
    return Answer(found=f"yes, all {len(numbers)}" if len(numbers) > 1 else "yes", note="none")


def _countries_of(number: str, countries: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Those whose code a number begins with. Of what is shorter than a code, as "+4*", the country is not known."""
    digits = number.strip("+*")
    coded = [(str(code).lstrip("+"), it) for it in countries for code in it.get("country_codes") or ()]
    longest = max((len(code) for code, _ in coded if code and digits.startswith(code)), default=0)
    return [it for code, it in coded if longest and code == digits[:longest]]


def _dialling_question(numbers: Sequence[str]) -> Question[TwilioAccount]:
    text, expected = "May the account dial those to whom callers are connected?", "yes"
    if not numbers:
        why = "no number stands in transfer.allow or twilio.transfer_number"
        return Question(text, expected, not_measurable=why)
    return Question(text, expected, partial(dialling, numbers=numbers))


async def next_verb(account: TwilioAccount, call_to: str) -> Answer:
    """Whether Twilio does the next verb after a media socket was refused."""
    number = await account.number()
    stream = account.public_url.replace("http", "ws", 1) + NO_SOCKET_PATH
    if not stream.startswith("wss:"):
        return Answer(found="not measured: server.public_url is not https", note="ask again", failed=True)
    document = refused_stream(stream, NEXT_VERB_S)
    async with account.call(str(number.get("phone_number")), call_to, document) as call_sid:
        call = await account.find(call_sid)
        while call.get("status") not in _OVER:
            await trio.sleep(_POLL_S)
            call = await account.find(call_sid)
        codes = await account.notifications(call_sid)
    if call.get("status") != "completed":
        return Answer(found=f"not measured: {call.get('status')}", note="somebody must answer the call", failed=True)
    seconds = str(call.get("duration") or "0")
    lasted_s = int(seconds) if seconds.isdigit() else 0
    noted = f"; Twilio noted {', '.join(sorted(set(codes)))}" if codes else "; Twilio noted nothing"
    if lasted_s >= NEXT_VERB_S - 1:
        return Answer(found=f"it is done, the call lasted {lasted_s} s{noted}", note="none: the relay relies on it")
    return Answer(
        found=f"it is not done, the call ended after {lasted_s} s{noted}",
        note="a refused socket ends the call: keep server.public_url reachable at every moment",
    )


def _next_verb_question(call_to: str) -> Question[TwilioAccount]:
    text, expected = "Is the next verb done after a media socket is refused?", "done, with warning 31920"
    if not call_to:
        return Question(text, expected, not_measurable="it takes a telephone call; give --call +NUMBER")
    ask = partial(next_verb, call_to=call_to)
    return Question(text, expected, ask, CALL_LIMIT_S, deadline_s=RING_S + CALL_LIMIT_S)


_NOT_MEASURABLE = (
    (
        "Is it done after a refusal with 503, or a time-out?",
        "the same",
        "the relay at server.public_url refuses with 404 only",
    ),
    (
        "How soon does Twilio notice a dead peer?",
        "not documented",
        "only a media socket that falls silent on purpose would show it",
    ),
    ("How much audio does Twilio hold?", "10 minutes (31931)", "answered by Twilio's page on 31931"),
    (
        "Is :443 ever in the signed address of a media socket?",
        "no, seen once",
        "only the handshake shows it; the relay takes both",
    ),
    (
        "What do audioFormat and sampleRate of a stream do?",
        "not documented",
        "only a stream's start shows it; the relay refuses other formats than mu-law at 8 kHz",
    ),
    (
        "How long is the gap when a stream is attached again?",
        "two requests and a handshake",
        "the relay's own log has it: gap_ms of caller.reattached",
    ),
    ("Does a stop come when a media socket breaks off?", "not guaranteed", "only the socket shows it"),
    (
        "How soon does Twilio answer WebSocket pings?",
        "not documented",
        "only the socket shows it; the relay pings every session.keepalive_s",
    ),
    (
        "By which secret is signed where a shared key has no algorithm?",
        "the key's, as Twilio's library reads it",
        "no request of that kind can be ordered; the relay takes both secrets",
    ),
    (
        "What follows a media socket that breaks off (31903)?",
        "the next verb",
        "it takes a server that breaks off; the relay is told by /twilio/resume, in its log caller.resuming",
    ),
)
