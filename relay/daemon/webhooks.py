"""Opens what Vapi's webhooks need: the queue of events with its file, and the way to the operator's endpoint."""

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import trio

from relay.call.calls import Calls
from relay.config import Config
from relay.daemon.event_forwarder import EventForwarder
from relay.daemon.event_joiner import EventJoiner
from relay.daemon.event_queue import EventQueue
from relay.daemon.shared_answers import SharedAnswers
from relay.metrics import Metrics
from relay.net.poster import Poster
from relay.net.rest import open_rest_client
from relay.record.recorder import Recorder
from relay.state import StateStore
from relay.state.event_journal import EventJournal
from relay.state.sqlite import file_of

ASKING_MARGIN_S = 3.0
"""Asking takes `events.timeout_s` at most, and what is done before and behind it."""
LEASE_MARGIN_S = 10.0
"""A delivery takes `events.timeout_s` at most, and what follows it in this process."""


@dataclass(frozen=True, slots=True)
class WebhookServices:
    """`forwarder` is None where nothing is passed on."""

    queue: EventQueue
    joiner: EventJoiner
    answers: SharedAnswers
    forwarder: EventForwarder | None


def journal_file(state_url: str, environ: Mapping[str, str]) -> Path | None:
    """The file of the events: beside that of the calls, or where that would be; None: "memory:" has none that lasts.

    Redis keeps no events. Each machine has its own file, so what one has accepted is passed on by that one.
    """
    scheme, _, rest = state_url.partition(":")
    if scheme == "memory":
        return None
    beside = file_of(rest if scheme == "sqlite" else "", environ)
    return beside.with_name(f"{beside.stem}-events{beside.suffix}")


@asynccontextmanager
async def open_webhooks(
    config: Config, metrics: Metrics, calls: Calls, store: StateStore | None, recorder: Recorder
) -> AsyncIterator[WebhookServices | None]:
    """What works while the context is open; None where no webhooks are asked for."""
    if config.webhooks is None:
        yield None
        return
    events = config.events
    with TemporaryDirectory() as folder:
        path = journal_file(config.state.url, os.environ) or Path(folder, "events.db")
        journal = EventJournal(path, lease_s=events.timeout_s + LEASE_MARGIN_S)
        async with open_rest_client(events.timeout_s) as rest, trio.open_nursery() as nursery:
            forwarder, secret = None, config.secrets.events_secret
            if events.forward_url and secret:
                poster = Poster(events.forward_url, events.timeout_s)
                nursery.start_soon(poster.run)
                forwarder = EventForwarder(events.forward_url, secret, rest, poster)
            queue = EventQueue(journal, metrics, forwarder.deliver if forwarder else None)
            metrics.webhooks_missing.set_function(lambda: not queue.ever_accepted)
            nursery.start_soon(queue.run)
            joiner = EventJoiner(queue, calls, store, metrics, recorder.after_end)
            nursery.start_soon(joiner.run)
            with calls.listeners.listening(joiner.note_call):
                yield WebhookServices(
                    queue, joiner, SharedAnswers(store, events.timeout_s + ASKING_MARGIN_S), forwarder
                )
            nursery.cancel_scope.cancel()
