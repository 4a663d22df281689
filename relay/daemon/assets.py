"""Loads what the start needs: speech model, cough probe, classifier, apology, certificate, exporter of spans."""

from dataclasses import dataclass

from relay.call.caller.classifier import Classifier, load_classifier
from relay.config import Config
from relay.daemon.apology import load_apology
from relay.daemon.certificate import Certificate
from relay.daemon.tracing import SpanReceiver, load_span_exporter
from relay.media.cough_probe import CoughProbe
from relay.media.frames import Audio
from relay.media.silero import SileroModel
from relay.metrics import Metrics


@dataclass(frozen=True, slots=True, eq=False)
class Assets:
    """What was loaded. `probe` is None if coughs are not to be ignored, `classifier` if none is configured."""

    model: SileroModel
    probe: CoughProbe | None
    classifier: Classifier | None
    apology: Audio
    certificate: Certificate | None
    """None: plain HTTP is served."""
    span_receiver: SpanReceiver | None
    """None: nothing is traced."""


def load_assets(config: Config, metrics: Metrics) -> Assets:
    """Reads files and runs models: not on the event loop. Raises ConfigError if one cannot be used."""
    return Assets(
        model=SileroModel.load(config.vad.model_rate_hz, config.vad.engine),
        probe=CoughProbe.load(config.vad.model_rate_hz) if config.vad.ignore_coughs else None,
        classifier=load_classifier(config.barge_in, metrics),
        apology=load_apology(config.reconnect),
        certificate=Certificate(config.tls) if config.tls.certificate_file else None,
        span_receiver=load_span_exporter(config.tracing),
    )
