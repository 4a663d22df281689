"""Holds what all calls of the daemon share that begin under one generation of the configuration."""

from dataclasses import dataclass

from relay.call.caller.classifier import Classifier
from relay.call.caller.vad_engine import SpeechLane
from relay.config import Config
from relay.media.frames import Audio
from relay.metrics import Metrics
from relay.record.call_recording import CallRecorder
from relay.state import StateStore


@dataclass(frozen=True, slots=True)
class Services:
    """What a call is given at its begin. All but `config` and what is loaded for it outlive every generation."""

    config: Config
    metrics: Metrics
    vad: SpeechLane
    store: StateStore | None = None
    """Where another process finds the calls of this one; None: they end with it."""
    apology: Audio | None = None
    """What a caller hears when there is no assistant, before the call ends."""
    classifier: Classifier | None = None
    """The operator's own, which is asked what is an interruption; None: the detector decides."""
    recorder: CallRecorder | None = None
    """None: no call is recorded."""
    generation: int = 1
    """Counts the configurations that this process has had."""
