"""The operator is Twilio's part in a call: it fetches TwiML, does what it says, and reports to the status callbacks."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlsplit

import trio

from relay.standin.phone import twiml
from relay.standin.phone.media import MediaStream, StreamRefused, serve_stream
from relay.standin.phone.phone import Phone
from relay.standin.phone.player import Player
from relay.standin.phone.signature import sign
from relay.standin.phone.stream import StreamMessages
from relay.standin.phone.webhooks import WebhookFailed, Webhooks

VOICE_PATH = "/twilio/voice"
_REDIRECTS = 50
_FAILURES = ("webhook_failed", "twiml_error")
_SAY_S_PER_WORD = 0.35


@dataclass(slots=True)
class Operator:
    """Runs one call. What goes wrong is added to the telephone's `troubles`, with Twilio's number for it."""

    phone: Phone
    webhooks: Webhooks
    callbacks: trio.Nursery
    _fetched: int = 0

    async def connect_call(self) -> str:
        """Run the call from the ringing to its end; returns why it ended (see `PhoneResult.end`)."""
        failed = await self._try([twiml.Redirect(VOICE_PATH)])
        if failed in _FAILURES and self.phone.options.fallback is not None:
            self._step("fallback")
            return await self._try(twiml.read_twiml(self.phone.options.fallback))
        return failed

    async def _try(self, verbs: list[twiml.Verb]) -> str:
        try:
            return await self._obey(verbs)
        except WebhookFailed as error:
            self.phone.troubles.append(f"11200: {error}")
            return "webhook_failed"
        except twiml.BadTwiml as error:
            self.phone.troubles.append(f"12100: {error}")
            return "twiml_error"

    async def _dial(self, number: str) -> None:
        """Ring there, and talk until they hang up, as long as `PhoneOptions` says."""
        self.phone.dialled.append(number)
        self._step(f"Dial: {number}")
        await trio.sleep(self.phone.options.dial_s)

    async def _fetch(self, target: str, **more: str) -> list[twiml.Verb]:
        ringing = self._fetched == 0
        self._fetched += 1
        if self._fetched > _REDIRECTS:
            raise twiml.BadTwiml("too many documents")
        document = await self.webhooks.post(target, self._form("ringing" if ringing else "in-progress") | more)
        verbs = twiml.read_twiml(document)
        names = [type(verb).__name__ for verb in verbs]
        self._step(f"{urlsplit(target).path}: {', '.join(names) or 'nothing'}")
        return verbs

    async def _obey(self, verbs: list[twiml.Verb]) -> str:
        while verbs:
            match verbs.pop(0):
                # As Twilio does: with `action`, its document replaces what follows; without, the next verb is done.
                case twiml.Stream() as stream:
                    if await self._stream(stream) == "hung-up":
                        return "caller_hangup"
                    verbs = verbs if stream.action is None else await self._fetch(stream.action)
                case twiml.Redirect(url):
                    verbs = await self._fetch(url)
                case twiml.Say(text):
                    self._step(f"Say: {text}")
                    await trio.sleep(_SAY_S_PER_WORD * len(text.split()))
                case twiml.Pause(length_s):
                    await trio.sleep(length_s)
                case twiml.DialVerb(number, action):
                    await self._dial(number)
                    if action is not None:
                        verbs = await self._fetch(action, DialCallStatus=self.phone.options.dial_status)
                case twiml.Reject(reason):
                    self._step(f"Reject: {reason}")
                    return "rejected"
                case twiml.Hangup():
                    return "twiml_hangup"
        return "twiml_completed"

    async def _stream(self, verb: twiml.Stream) -> str:
        phone, site = self.phone, self.webhooks.site
        public = site.absolute(verb.url)
        stream_sid = f"MZ{secrets.token_hex(16)}"
        options = phone.options
        outgoing = StreamMessages(options.account_sid, phone.call_sid, stream_sid, options.clock)
        player = Player(stream_sid, trio.current_time())
        media = MediaStream(player, outgoing, phone.lips, swap_every=options.swap_every)
        phone.streams.append(media)
        headers = {"Host": urlsplit(public).netloc, "User-Agent": "Twilio.TmeWs/1.0"}
        if phone.options.auth_token is not None:
            headers["X-Twilio-Signature"] = sign(phone.options.auth_token, public)

        def started() -> None:
            phone.begin_stream(media)
            self._report(verb, stream_sid, "stream-started")

        try:
            how = await serve_stream(
                media, site.local(public), headers, verb.parameters, started=started, heard=phone.listen
            )
        except StreamRefused as error:
            phone.troubles.append(str(error))
            self._step(f"stream refused: {error}")
            self._report(verb, stream_sid, "stream-error", str(error))
            return "refused"
        phone.end_stream(how)
        self._step(f"stream {how}" if media.close_code is None else f"stream {how} {media.close_code}")
        self._report(verb, stream_sid, "stream-stopped")
        return how

    def _step(self, text: str) -> None:
        self.phone.steps.append(text)
        self.phone.news()

    def _report(self, verb: twiml.Stream, stream_sid: str, event: str, error: str = "") -> None:
        if verb.status_callback is None:
            return
        form = {
            "AccountSid": self.phone.options.account_sid,
            "CallSid": self.phone.call_sid,
            "StreamSid": stream_sid,
            "StreamName": verb.name,
            "StreamEvent": event,
            "Timestamp": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        }
        if error:
            form["StreamError"] = error
        self.callbacks.start_soon(self._post_report, verb.status_callback, form)

    async def _post_report(self, target: str, form: Mapping[str, str]) -> None:
        try:
            await self.webhooks.post(target, form)
        except WebhookFailed as error:
            self.phone.troubles.append(f"11200: {error}")

    def _form(self, call_status: str) -> dict[str, str]:
        options = self.phone.options
        return {
            "AccountSid": options.account_sid,
            "ApiVersion": "2010-04-01",
            "CallSid": self.phone.call_sid,
            "CallStatus": call_status,
            "Called": options.to_number,
            "Caller": options.from_number,
            "Direction": "inbound",
            "From": options.from_number,
            "To": options.to_number,
        }
