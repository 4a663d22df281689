"""POST /vapi/events: Vapi's server messages are let in, stored, told in their call, and answered.

They are passed on later, by a task of its own; only one that asks for something is answered by the operator's endpoint.

| answer                    | when                                                                                     |
|---------------------------|------------------------------------------------------------------------------------------|
| 401 WEBHOOK_UNAUTHORIZED  | the secret, token or signature is missing, wrong or too old                              |
| 400, 413, 408             | the body is no message; is too long; did not come                                        |
| 503 EVENTS_UNAVAILABLE    | the message could not be stored: Vapi sends it again                                     |
| 200 with an answer        | the message asks for one: what the operator's endpoint says, or that nobody answers; for |
|                           | the telephone, what the call says, also of another process                               |
| 200 `{}`                  | any other                                                                                |
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial

import trio

from relay.call.call import Call
from relay.call.report.assistant_events import WebhookAccepted
from relay.daemon.endpoint_context import EndpointContext
from relay.daemon.event_joiner import TelephoneWish, has_floor, question_of, refusal_in, wish_of
from relay.daemon.routes import Routes
from relay.daemon.webhooks import WebhookServices
from relay.errors import RelayError, RemoteProtocolError, RequestRefused, StateUnavailable
from relay.metrics import OTHER
from relay.net.asgi_request import AsgiRequest
from relay.state.event_journal import Acceptance, Arrival
from relay.wire.owner import owned_path
from relay.wire.vapi_events import BODY_MAX_BYTES, TYPES, VapiEvent, parse_event
from relay.wire.vapi_replies import carried_out, refusal
from relay.wire.webhook_auth import EVENTS_PATH, WebhookRules, WebhookVerifier

HELD_MAX_BYTES = 64 * 2**20
"""Of bodies that are read and stored at a time: these are held in memory."""
AT_ONCE_MAX_BYTES = 65_536
"""A longer body is parsed on a thread: 4 MiB take some 30 ms, in which no call would run."""
NOBODY = "nothing answers this here"
NO_ANSWER = "no answer in time"
TELEPHONE_WAIT_S = 2.0
"""The process that has the call looks for what is left for it twice a second."""


@dataclass(slots=True)
class _Answer:
    """The answer to a message that asks, as soon as it is there."""

    body: bytes
    there: trio.Event = field(default_factory=trio.Event)


class VapiWebhooks:
    """The endpoint, which is there only when webhooks are asked for."""

    def __init__(self, context: EndpointContext, webhooks: WebhookServices, rules: WebhookRules) -> None:
        self._context = context
        self._metrics = context.metrics
        self._refusals = context.refusals
        self._vapi_addresses = context.limits.vapi_addresses
        self._webhooks = webhooks
        server = context.config.server
        url = server.public_url + owned_path(EVENTS_PATH, server.instance)
        self._verifier = WebhookVerifier(rules, context.config.secrets.vapi_webhook_secrets, url)
        self._asking: dict[str, _Answer] = {}
        """The questions that are put to the operator's endpoint now."""
        self._held_bytes = 0
        self._one_at_a_time = trio.CapacityLimiter(1)

    def add_to(self, routes: Routes) -> None:
        routes.add("POST", EVENTS_PATH, self.receive)

    async def receive(self, request: AsgiRequest, _part: str) -> None:
        """Answer one webhook."""
        self._check(self._verifier.check_head(request.header, time.time()))
        if request.client in self._vapi_addresses:  # a crowd that is read late is not slow; see `_held_in_memory`
            request.slow = nullcontext
        with self._held_in_memory(min(request.content_length or BODY_MAX_BYTES, BODY_MAX_BYTES)):
            event = await self._read(request)
            self._metrics.webhook_events.labels(event.type if event.type in TYPES else OTHER).inc()
            await self._webhooks.joiner.learn(event.call_id)
            acceptance = await self._store(event)
        elsewhere = False
        if acceptance.new:
            if event.left_out:
                self._refusals.warning("webhook.cut", event.type, type=event.type, left_out=event.left_out)
            told = WebhookAccepted(event.type, event.call_id, event.ended_reason, event.cost_usd)
            elsewhere = self._webhooks.joiner.join(told, acceptance, self._wish(event))
            call = self._call_of(acceptance)
            if event.action and not event.asks and call and has_floor(call, event.call_id):
                call.asked_by_webhook(event.action)
        await request.answer(200, await self._answer(event, acceptance, elsewhere=elsewhere) if event.asks else b"{}")

    async def _read(self, request: AsgiRequest) -> VapiEvent:
        try:
            body = await request.read(BODY_MAX_BYTES)
            self._check(self._verifier.check_body(request.header, body))
            self._vapi_addresses.add(request.client)
            if len(body) <= AT_ONCE_MAX_BYTES:
                return parse_event(body)
            return await trio.to_thread.run_sync(parse_event, body, limiter=self._one_at_a_time)
        except RemoteProtocolError as error:
            self._refusals.warning(
                "webhook.rejected", f"{EVENTS_PATH} {error.code}", endpoint=EVENTS_PATH, code=error.code
            )
            raise

    async def _store(self, event: VapiEvent) -> Acceptance:
        arrival = Arrival(
            delivery_id=event.delivery_id,
            type=event.type,
            assistant_call_id=event.call_id,
            relay_call_id=event.relay_call_id,
            message=None if event.asks or self._webhooks.forwarder is None else event.message,
        )
        try:
            return await self._webhooks.queue.accept(arrival)
        except StateUnavailable as error:
            raise RequestRefused(503, "EVENTS_UNAVAILABLE", f"{error}: send it again") from None

    def _wish(self, event: VapiEvent) -> TelephoneWish | None:
        """What the process that has the call is to do for its telephone, and perhaps to say what came of it."""
        if event.action is None:
            return None
        if not event.asks:
            return wish_of(event.action)
        ours = event.is_for_telephone and self._context.config.transfer.allow
        return wish_of(event.action, question_of(event.delivery_id)) if ours else None

    async def _answer(self, event: VapiEvent, acceptance: Acceptance, *, elsewhere: bool) -> bytes:
        """The same to the same message. It is stored before it is sent: who does not get it asks again, and may ask the
        process that follows this one. `elsewhere`: another process was told of it."""
        if acceptance.answer is not None:
            return acceptance.answer
        if asking := self._asking.get(event.delivery_id):
            await asking.there.wait()
            return asking.body
        answer = self._asking[event.delivery_id] = _Answer(refusal(event, NO_ANSWER))
        try:
            ask = partial(self._ask, event, acceptance, elsewhere=elsewhere)
            shared = await self._webhooks.answers.once(event.delivery_id, ask)
            if shared is None:
                self._say_unanswered(event, "another process asks, and has no answer in time")
            answer.body = shared or refusal(event, NO_ANSWER)
            await self._webhooks.queue.keep_answer(event.delivery_id, answer.body)
        finally:
            answer.there.set()
            del self._asking[event.delivery_id]
        return answer.body

    async def _ask(self, event: VapiEvent, acceptance: Acceptance, *, elsewhere: bool) -> bytes:
        call = self._call_of(acceptance)
        if event.action and event.is_for_telephone and call and call.takes_transfers and has_floor(call, event.call_id):
            return carried_out(event, call.asked_by_webhook(event.action))
        if elsewhere and self._wish(event) and (done := await self._done_elsewhere(event)):
            return done
        forwarder = self._webhooks.forwarder
        if forwarder is None:
            return refusal(event, NOBODY)
        try:
            return await forwarder.ask(event, acceptance.call_id, acceptance.call_sid)
        except RelayError as error:
            self._say_unanswered(event, str(error))
            return refusal(event, NO_ANSWER)

    async def _done_elsewhere(self, event: VapiEvent) -> bytes | None:
        """The answer where the process that has the call does what its telephone is asked for; None if it does not, or
        does not say so in time."""
        try:
            said = await self._webhooks.answers.wait(question_of(event.delivery_id), TELEPHONE_WAIT_S)
        except StateUnavailable:
            return None
        return None if said is None else carried_out(event, refusal_in(said))

    def _say_unanswered(self, event: VapiEvent, error: str) -> None:
        self._refusals.warning("webhook.unanswered", event.type, type=event.type, error=error)

    def _call_of(self, acceptance: Acceptance) -> Call | None:
        return self._webhooks.joiner.live(acceptance.call_id, acceptance.call_sid)

    def _check(self, problem: str | None) -> None:
        if problem is not None:
            self._refusals.rejected(EVENTS_PATH, problem)
            raise RequestRefused(401, "WEBHOOK_UNAUTHORIZED", f"not let in: {problem}")

    @contextmanager
    def _held_in_memory(self, n_bytes: int) -> Iterator[None]:
        if self._held_bytes + n_bytes > HELD_MAX_BYTES:
            raise RequestRefused(503, "BUSY", "too many webhooks at once: send it again")
        self._held_bytes += n_bytes
        try:
            yield
        finally:
            self._held_bytes -= n_bytes
