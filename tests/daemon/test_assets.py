"""The files that the start needs: loaded as the configuration wants them."""

from pathlib import Path
from typing import Literal

import pytest

from relay.config import AssistantConfig, BargeInConfig, Config, VadConfig
from relay.daemon.assets import load_assets
from relay.media.cough_probe import CoughProbe
from relay.metrics import Metrics
from relay.secrets import Secrets
from tests.support.onnx_files import write_classifier

VAD, BARGE_IN = VadConfig(), BargeInConfig()


def config(vad: VadConfig = VAD, barge_in: BargeInConfig = BARGE_IN) -> Config:
    return Config(assistants=(AssistantConfig("vapi", "assistant-id"),), secrets=Secrets(), vad=vad, barge_in=barge_in)


@pytest.mark.parametrize("rate_hz", [8000, 16000])
def test_model_and_probe_are_of_the_configured_rate(rate_hz: Literal[8000, 16000]) -> None:
    assets = load_assets(config(VadConfig(model_rate_hz=rate_hz)), Metrics())
    state = assets.model.new_state()

    assert assets.model.rate_hz == rate_hz
    assert assets.probe is not None
    assert assets.probe.bounds([state]) == CoughProbe.load(rate_hz).bounds([state])


def test_what_is_not_configured_is_not_loaded(tmp_path: Path) -> None:
    plain = load_assets(config(VadConfig(ignore_coughs=False)), Metrics())
    path = str(write_classifier(tmp_path / "own.onnx"))

    assert (plain.probe, plain.classifier) == (None, None)
    assert load_assets(config(barge_in=BargeInConfig(classifier=path)), Metrics()).classifier is not None
    assert plain.apology.data
