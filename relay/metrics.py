"""Defines every Prometheus series of the relay. Those with labels from fixed lists are there from the start, at zero.

No series has a call id. Labels that come from no list here are the codes of `relay.wire`, which are closed sets.
"""

import itertools
from collections.abc import Iterable

from prometheus_client import (
    CONTENT_TYPE_PLAIN_0_0_4,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from relay.logic.end_reason import EndReason
from relay.tally import CounterTally, HistogramTally, Spread
from relay.wire.vapi_events import TYPES

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

LEGS = ("caller", "assistant")
DIRECTIONS = ("up", "down")
END_REASONS = tuple(EndReason)
DROP_CAUSES = ("overflow", "stale", "late", "duplicate", "malformed", "trimmed", "pause")
NOTE_DROP_CODES = ("NOTES_FULL", "NOTES_LEFT")
INVENT_CAUSES = ("gap", "underrun", "reconnect", "keepalive")
REFUSAL_CAUSES = ("max_calls", "late", "draining")
RECONNECT_RESULTS = ("ok", "failed", "planned")
TRANSFER_RESULTS = ("accepted", "refused", "answered", "unanswered")
HANG_UP_RESULTS = ("ok", "failed")
RELOAD_RESULTS = ("ok", "rejected")
HEDGE_WINNERS = ("first", "second", "none")
CLASSIFIER_RESULTS = ("interruption", "none", "late", "failed")
STATE_OPERATIONS = ("save", "load", "take", "delete", "beat", "retire", "read", "note", "whose", "post", "letters")
GIVEN_UP_CAUSES = ("age", "full")
TWILIO_ENDPOINTS = ("/twilio/voice", "/twilio/resume", "/twilio/dialed", "/twilio/status", "/twilio/media")
ENDPOINTS = (
    *TWILIO_ENDPOINTS,
    "/client",
    "/client/token",
    "/webhook/audio",
    "/vapi/events",
    "/calls",
    "/events",
)
OTHER = "other"
LIMITS = (
    "connections",
    "connections_per_address",
    "new_connections",
    "requests",
    "unstarted_sockets",
    "unstarted_sockets_per_address",
    "slow_bodies",
    "slow_bodies_per_address",
    "listeners",
    "wrong_tokens",
    "webhook",
    "client_starts",
    "sessions_per_address",
    "talk_per_address_s",
    "web_calls",
)
"""The keys of [limits], but for `max_calls`, which is the end reason "refused"; rate and burst are one limit."""
WEBHOOK_TYPES = (*sorted(TYPES), OTHER)
"""The server messages that Vapi documents; all others count as "other"."""

# The bounds of the histograms, finest where the promised figures lie.
_BARGEIN_S = (0.001, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.125, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75, 1.0, 2.0)
_FRAME_DELAY_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.25, 0.35, 0.5)
_VAD_DELAY_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.015, 0.025, 0.035, 0.05, 0.1, 0.25, 0.5)
_LOOP_LAG_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0)


class Metrics:
    """Holds one attribute for each series, in a registry of its own. Times are in seconds.

    What is counted for every frame is a plain number for each combination of label values (see `relay.tally`).
    """

    def __init__(self) -> None:
        # A series for the time when each counter was made would double their number. This holds for the whole process.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._calls()
        self._audio()
        self._operation()

    def _calls(self) -> None:
        self.calls_active = self._gauge("relay_calls_active", "Calls that run now")
        self.calls = self._counter("relay_calls", "Calls ended, by reason", end_reason=END_REASONS)
        self.calls_refused = self._counter("relay_calls_refused", "Calls not accepted, by cause", cause=REFUSAL_CAUSES)
        self.bargein = self._histogram(
            "relay_bargein_seconds", "From the onset of the caller's speech to the clear on the wire", _BARGEIN_S
        )
        self.reconnects = self._counter(
            "relay_reconnects", "Attempts to get a lost leg back", leg=LEGS, result=RECONNECT_RESULTS
        )
        self.assistant_hedges = self._counter(
            "relay_assistant_hedges", "Slow requests for a call repeated beside themselves", won=HEDGE_WINNERS
        )
        self.transfers = self._counter(
            "relay_transfers", "Callers to be connected to somebody else", result=TRANSFER_RESULTS
        )
        self.assistant_hang_ups = self._counter(
            "relay_assistant_hang_ups", "Assistants' calls ended by REST", result=HANG_UP_RESULTS
        )

    def _audio(self) -> None:
        self.frame_delay = self._spreads(
            "relay_frame_delay_seconds",
            "What the relay adds, frame in to frame out",
            _FRAME_DELAY_S,
            direction=DIRECTIONS,
        )
        self.playout_buffer = self._gauge(
            "relay_playout_buffer_seconds", "Assistant's audio that waits to be played, of the call where it is most"
        )
        self.playout_holes = self._counter("relay_playout_holes", "Times the assistant's audio broke off within speech")
        self.frames = self._counts("relay_frames", "20 ms frames through a socket", leg=LEGS, direction=DIRECTIONS)
        self.frames_dropped = self._counts("relay_frames_dropped", "Frames not passed on, by cause", cause=DROP_CAUSES)
        self.notes_dropped = self._counter(
            "relay_notes_dropped", "Text messages that no assistant was told, by code", code=NOTE_DROP_CODES
        )
        self.frames_invented = self._counts("relay_frames_invented", "Frames of silence put in", cause=INVENT_CAUSES)
        self.frames_stale = self._counter("relay_frames_stale", "Frames of an old turn sent after its clear: must be 0")
        (self.vad_delay,) = self._spreads(
            "relay_vad_delay_seconds", "From the last sample of a window to the detector's answer", _VAD_DELAY_S
        ).values()
        self.classifier_answers = self._counter(
            "relay_classifier_answers", "Answers of the operator's classifier", result=CLASSIFIER_RESULTS
        )
        self.vad_skipped = self._counter("relay_vad_windows_skipped", "Windows of 32 ms that the detector never heard")

    def _operation(self) -> None:
        self.tasks = self._gauge("relay_tasks", "Tasks that live in the event loop")
        self.loop_lag = self._histogram("relay_loop_lag_seconds", "How late the event loop wakes a task", _LOOP_LAG_S)
        self.auth_rejected = self._counter("relay_auth_rejected", "Requests not let in", endpoint=ENDPOINTS)
        self.limited = self._counter("relay_limited", "Requests and connections that a limit refused", limit=LIMITS)
        self.webhooks_rejected = self._counter(
            "relay_webhooks_rejected", "Requests of Twilio answered with 4xx", endpoint=(*TWILIO_ENDPOINTS, OTHER)
        )
        self.webhook_events = self._counter("relay_webhook_events", "Vapi's server messages", type=WEBHOOK_TYPES)
        self.events_forwarded = self._counter("relay_events_forwarded", "Server messages that were passed on")
        self.events_failed = self._counter("relay_events_failed", "Tries to pass a server message on that failed")
        self.events_given_up = self._counter(
            "relay_events_given_up", "Server messages that were never passed on", cause=GIVEN_UP_CAUSES
        )
        self.events_not_joined = self._counter(
            "relay_events_not_joined", "Server messages that the process with their call was not told of"
        )
        self.events_waiting = self._gauge("relay_events_waiting", "Server messages that wait to be passed on")
        self.webhooks_missing = self._gauge(
            "relay_webhooks_missing", "1 while Vapi is asked for server messages and none was ever let in"
        )
        self.protocol_errors = Counter(
            "relay_protocol_errors",
            "Messages that break their protocol",
            ["leg", "code"],
            registry=self.registry,
        )
        self.config_reloads = self._counter(
            "relay_config_reloads", "Times that the configuration was read again", result=RELOAD_RESULTS
        )
        self.certificate_expires = self._gauge(
            "relay_certificate_expires_timestamp_seconds", "When the certificate ends, since 1970; 0 without TLS"
        )
        self.recordings_failed = self._counter("relay_recordings_failed", "Recordings that were given up")
        self.spans_dropped = self._counter("relay_spans_dropped", "Spans of traces that the receiver never got")
        self.log_lines_dropped = self._counter("relay_log_lines_dropped", "Log lines that could not be written")
        self.standstill = self._counter(
            "relay_standstill_seconds", "Time in which the process stood still for a second or more"
        )
        self.state_errors = self._counter(
            "relay_state_errors", "Operations of the state store that failed", operation=STATE_OPERATIONS
        )
        self.state_pending = self._gauge("relay_state_pending", "Calls whose newest state is not stored yet")
        self.state_dropped = self._counter("relay_state_dropped", "States of calls that were never stored")

    def render(self) -> bytes:
        """Return all series in the Prometheus text format, to be answered with CONTENT_TYPE."""
        return generate_latest(self.registry)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(name, text, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: Iterable[float]) -> Histogram:
        return Histogram(name, text, buckets=tuple(buckets), registry=self.registry)

    def _counts(self, name: str, text: str, **labels: tuple[str, ...]) -> dict[tuple[str, ...], int]:
        """Make a counter for what happens with every frame; its numbers are to be added to."""
        self.registry.register(tally := CounterTally(name, text, **labels))
        return tally.counts

    def _spreads(
        self, name: str, text: str, buckets: Iterable[float], **labels: tuple[str, ...]
    ) -> dict[tuple[str, ...], Spread]:
        """Make a histogram for what happens with every frame."""
        self.registry.register(tally := HistogramTally(name, text, tuple(buckets), **labels))
        return tally.spreads

    def _counter(self, name: str, text: str, **labels: tuple[str, ...]) -> Counter:
        """Make a counter that already has every combination of its label values, at zero."""
        counter = Counter(name, text, list(labels), registry=self.registry)
        for values in itertools.product(*labels.values()) if labels else ():
            counter.labels(*values)
        return counter
