"""The running parts that the endpoints answer from: each endpoint is given them when it is made."""

from dataclasses import dataclass

from relay.call.assistant.watched_dialer import WatchedDialer, WatchedDialers
from relay.call.browser.sessions import BrowserSessions
from relay.call.calls import Calls
from relay.call.takeover import Takeover
from relay.config import Config
from relay.daemon.gate import Gate
from relay.daemon.limits import Limits
from relay.daemon.webhooks import WebhookServices
from relay.metrics import Metrics
from relay.refusals import Refusals


@dataclass(slots=True)
class EndpointContext:
    """Holds what is there once in the daemon.

    `config` and `dialer` are those of this `generation`, and replaced by the next: who answers a request asks here for
    what he needs of them. `started_at` is when the daemon became ready, on the clock of `trio.current_time()`.
    `webhooks` is None where Vapi is not asked for any.
    """

    config: Config
    metrics: Metrics
    calls: Calls
    takeover: Takeover
    sessions: BrowserSessions
    dialer: WatchedDialer | WatchedDialers
    gate: Gate
    refusals: Refusals
    limits: Limits
    started_at: float
    webhooks: WebhookServices | None = None
    generation: int = 1
