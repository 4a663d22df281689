"""Twilio's webhooks: form posts that are checked, then answered with TwiML.

Sources: Twilio's pages "TwiML for Programmable Voice" (request parameters), "TwiML `<Stream>`" (status callbacks).
"""

import re
from dataclasses import dataclass
from functools import partial
from urllib.parse import parse_qsl

import structlog
import trio
from quart import Response, request
from quart_trio import QuartTrio

from relay.call.call import Call
from relay.daemon.answers import empty_answer, twiml_answer
from relay.daemon.endpoint_context import EndpointContext
from relay.daemon.gate import Form, stream_url
from relay.errors import CallRefused, RequestRefused
from relay.logic.end_reason import EndReason
from relay.logic.overflow import Overflow
from relay.net.asgi_request import PROMPT_S
from relay.wire import twiml
from relay.wire.caller_variables import caller_variables
from relay.wire.owner import owned_path, split_path
from relay.wire.signature import SETTINGS_HEADER, SIGNATURE_HEADER

VOICE, RESUME, DIALED = "/twilio/voice", "/twilio/resume", "/twilio/dialed"
STATUS, MEDIA = "/twilio/status", "/twilio/media"
FIELDS_MAX = 200
PAUSE_S = 2
"""How long a caller waits between two attempts while the relay is being replaced."""
RESUME_PAUSE_S = 1
"""The same in the middle of a conversation."""
ASKED_BEFORE = "?asked=1"
UNANSWERED_TEXT = "Nobody can take your call at the moment. Goodbye."
FULL_TEXT = "All lines are busy. Please call again later."

_FORM = "application/x-www-form-urlencoded"
_CALL_SID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_ANSWERED, _UNANSWERED = {"completed", "answered"}, "no-answer"
_OVER = {"completed", "busy", "failed", "no-answer", "canceled"}
_TEXT_MAX = 200

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Webhook:
    """A webhook that passed all checks."""

    call_sid: str
    fields: dict[str, str]

    def text(self, name: str) -> str:
        """A field for a log line: bounded, printable."""
        return "".join(character if character.isprintable() else "?" for character in self.fields.get(name, ""))[
            :_TEXT_MAX
        ]


class TwilioHooks:
    """All checks come first: what a handler acts on is signed, and of an account that is served."""

    def __init__(self, context: EndpointContext) -> None:
        self._calls = context.calls
        self._takeover = context.takeover
        self._gate = context.gate
        self._context = context
        self._limits = context.limits
        self._overflow = Overflow()

    def add_to(self, app: QuartTrio) -> None:
        for path, view in ((VOICE, self.voice), (RESUME, self.resume), (DIALED, self.dialed), (STATUS, self.status)):
            app.add_url_rule(path, view_func=view, methods=["POST"])

    async def voice(self) -> Response:
        """The phone rings: take a place, start to dial the assistant, and connect the caller to the media socket.

        A relay that drains lets the caller wait and ask again, so that the process that follows takes the call. The
        request may be repeated, by the retry policy of an account: it is the same call, and none when that is over.
        Where there is no place, the caller is sent on to `limits.overflow_url`, or hears so.
        """
        hook = await self._read(VOICE)
        if hook.fields.get("CallStatus") == "ringing" and self._calls.has_ended(hook.call_sid):
            return self._farewell(hook)
        try:
            told = request.args.to_dict() | hook.fields
            twilio = self._context.config.twilio
            variables = caller_variables(told, twilio.pass_fields, with_number=twilio.pass_caller_number)
            call = await self._takeover.ring(hook.call_sid, variables)
        except CallRefused as refused:
            if refused.reason == "draining":
                return twiml_answer(twiml.pause_and_redirect(PAUSE_S, self._url(VOICE)))
            return self._full(hook)
        return await self._connect(call)

    async def resume(self) -> Response:
        """The stream has ended: connect another to a call that lives, here or until now in another process. After one
        that is over hang up, or, if there was no assistant for it, let a person answer.

        | the call                          | `CallStatus`  | answer                                        |
        |-----------------------------------|---------------|-----------------------------------------------|
        | the assistant transfers it, or    | any           | the destination                               |
        | has done so                       |               |                                               |
        | lives, and may attach once more   | any           | the stream                                    |
        | ended with `stop`: caller_hangup  | `in-progress` | the stream, and the conversation goes on: the |
        |                                   |               | account's other program used the live call    |
        |                                   | any other     | hang up                                       |
        | ended by the relay: any other     | any           | hang up, or the transfer number               |
        | reason                            |               |                                               |

        The caller of a call that another process has, or that the one which follows may get, waits and asks again. One
        who asks here a second time does not reach the process that has the call: then the call is taken from that one.
        """
        hook = await self._read(RESUME)
        if destination := await self._takeover.transfer_of(hook.call_sid):
            log.info("transfer.dialed", call_sid=hook.call_sid)
            timeout_s = self._context.config.transfer.answer_timeout_s
            return twiml_answer(twiml.transfer(destination, self._url(DIALED), timeout_s))
        asked_before = request.args.get("asked") == "1"
        in_progress = hook.fields.get("CallStatus") == "in-progress"
        call = self._calls.find(hook.call_sid)
        if call is None or (in_progress and call.seems_hung_up):
            call = await self._takeover.take(hook.call_sid, by_force=asked_before, in_progress=in_progress)
        if call is not None and call.grant_reattach():
            log.info("caller.resuming", call_id=call.id)
            return await self._connect(call)
        if await self._takeover.goes_on_elsewhere(hook.call_sid, in_progress=in_progress):
            return self._ask_again()
        self._finish(hook, EndReason.CALLER_LOST)
        return self._farewell(hook)

    async def dialed(self) -> Response:
        """The transfer is over, or was answered by nobody.

        | `DialCallStatus`      | `transfer.unanswered` | answer                                                    |
        |-----------------------|-----------------------|-----------------------------------------------------------|
        | completed, answered   | any                   | hang up: they have spoken                                 |
        | any other: busy,      | "assistant"           | the stream, and the conversation goes on; while draining  |
        | no-answer, failed,    |                       | wait for the next process; "goodbye" where the call is    |
        | canceled              |                       | not known any more                                        |
        |                       | "goodbye"             | an announcement, and hang up                              |
        """
        hook = await self._read(DIALED)
        status = hook.text("DialCallStatus") or request.args.get("status", "")
        answered = status in _ANSWERED
        if "DialCallStatus" in hook.fields:
            log.info("transfer.ended", call_sid=hook.call_sid, dial_status=status)
            self._context.metrics.transfers.labels("answered" if answered else "unanswered").inc()
        if answered:
            return twiml_answer(twiml.hangup())
        if self._context.config.transfer.unanswered == "assistant":
            if self._calls.draining:
                again = f"{DIALED}?status={_UNANSWERED}"
                return twiml_answer(twiml.pause_and_redirect(RESUME_PAUSE_S, self._url(again)))
            is_repeated = self._calls.find(hook.call_sid) is not None
            if call := await self._takeover.take(hook.call_sid, in_progress=True):
                if not is_repeated:
                    call.note_unanswered()
                return await self._connect(call)
        return twiml_answer(twiml.say_and_hangup(UNANSWERED_TEXT))

    def _full(self, hook: Webhook) -> Response:
        url = self._context.config.limits.overflow_url
        if url and self._overflow.send_on(hook.call_sid):
            log.info("caller.sent_on", call_sid=hook.call_sid)
            return twiml_answer(twiml.redirect(url))
        return twiml_answer(twiml.say_and_hangup(FULL_TEXT))

    def _farewell(self, hook: Webhook) -> Response:
        number = self._context.config.twilio.transfer_number
        if number and self._calls.lacked_assistant(hook.call_sid):
            log.info("caller.transferred", call_sid=hook.call_sid)
            return twiml_answer(twiml.dial(number))
        return twiml_answer(twiml.hangup())

    def _ask_again(self) -> Response:
        """At the same process, if this is not the one of the address; once this one drains, at any that does not."""
        _, owner = split_path(request.scope["raw_path"].decode("latin-1"))
        again = RESUME if self._calls.draining else owned_path(RESUME, owner) + ASKED_BEFORE
        return twiml_answer(twiml.pause_and_redirect(RESUME_PAUSE_S, self._url(again)))

    async def _connect(self, call: Call) -> Response:
        server, token = self._context.config.server, self._takeover.issue_token(call)
        media, status, resume = (owned_path(path, server.instance) for path in (MEDIA, STATUS, RESUME))
        await self._calls.checkpoints.stored(call.sid)
        if call.checkpoint.stopped:
            return self._ask_again()
        stream = stream_url(server.public_url, media)
        return twiml_answer(twiml.connect_stream(stream, token, self._url(status), self._url(resume)))

    async def status(self) -> Response:
        """What became of the stream, or of the call if the number's status callback points here as well."""
        hook = await self._read(STATUS)
        if "StreamEvent" in hook.fields:
            log.info(
                "stream.status",
                call_sid=hook.call_sid,
                stream_sid=hook.text("StreamSid"),
                stream_event=hook.text("StreamEvent"),
                stream_error=hook.text("StreamError"),
            )
        else:
            log.info("call.status", call_sid=hook.call_sid, call_status=hook.text("CallStatus"))
            if hook.fields.get("CallStatus") in _OVER:
                self._finish(hook, EndReason.CALLER_HANGUP)
        return empty_answer()

    def _finish(self, hook: Webhook, reason: EndReason) -> None:
        if call := self._calls.find(hook.call_sid):
            call.finish(reason)

    def _url(self, path: str) -> str:
        return self._context.config.server.public_url + path

    async def _read(self, endpoint: str) -> Webhook:
        signature, settings = request.headers.get(SIGNATURE_HEADER), request.headers.get(SETTINGS_HEADER)
        self._gate.check_signed(endpoint, signature)
        client = request.remote_addr or ""
        form = _parse(await self._body(client))
        target = request.scope["raw_path"].decode("latin-1")
        if query := request.scope["query_string"].decode("latin-1"):
            target += f"?{query}"
        self._gate.check_form(endpoint, target, form, signature, settings)
        self._limits.twilio_addresses.add(client)
        self._gate.check_account(endpoint, dict(form).get("AccountSid", ""))
        call_sid = _one(form, "CallSid")
        if _CALL_SID.fullmatch(call_sid) is None:
            raise RequestRefused(400, "CALL_SID_INVALID", "CallSid must be 1 to 64 letters, digits, - or _")
        return Webhook(call_sid, dict(form))

    async def _body(self, client: str) -> bytes:
        """Raises RequestRefused when it is slow, and too many others are."""
        read = partial(request.get_data, cache=True, as_text=False, parse_form_data=False)
        with trio.move_on_after(PROMPT_S):
            return await read()
        async with self._limits.slow_hooks(client).hold(client):
            return await read()


def _parse(body: bytes) -> Form:
    if request.mimetype != _FORM:
        raise RequestRefused(400, "FORM_EXPECTED", f"the body must be {_FORM}")
    try:
        text = body.decode("ascii")
        return parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=FIELDS_MAX)
    except ValueError:
        raise RequestRefused(
            400, "FORM_INVALID", f"the body must be a form of at most {FIELDS_MAX} fields in UTF-8"
        ) from None


def _one(form: Form, name: str) -> str:
    values = [value for key, value in form if key == name]
    if len(values) != 1:
        raise RequestRefused(400, "FIELD_MISSING", f"the form must have {name} once")
    return values[0]
