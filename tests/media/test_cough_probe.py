"""The cough probe: what it bounds, where its weights come from, and what is said when they cannot be used."""

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from relay.errors import ConfigError
from relay.media import cough_probe
from relay.media.cough_probe import CoughProbe, ProbeFile, Weights
from relay.media.silero import MODEL_SHA256, STATE_SIZE, SileroModel, SileroState

RATES = [8000, 16000]
COMMITTED = cough_probe.WEIGHTS_FILE
EMPTY: dict[str, Any] = {"inward": [], "offsets": [], "outward": [], "direct": [0.0] * 256, "bias": 0.0}


def state(hidden: float, cell: float) -> SileroState:
    rnn = np.array([[[hidden] * STATE_SIZE], [[cell] * STATE_SIZE]], np.float32)
    return SileroState(rnn, np.zeros(0, np.float32))


@pytest.fixture
def content() -> dict[str, Any]:
    """The committed file."""
    found: dict[str, Any] = json.loads(COMMITTED.read_text(encoding="utf-8"))
    return found


@pytest.fixture
def changed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where the weights are looked for instead."""
    path = tmp_path / "cough_probe.json"
    monkeypatch.setattr(cough_probe, "WEIGHTS_FILE", path)
    return path


def weights(inward: list[list[float]], outward: list[float], direct: list[float]) -> Weights:
    return Weights(inward, [0.0] * len(inward), outward, direct, 3.0)


def test_without_hidden_units_the_bound_is_the_weighted_sum_of_both_halves_of_the_state() -> None:
    probe = CoughProbe(weights([], [], [0.5] + [0.0] * 254 + [-2.0]))

    assert probe.bounds([state(0.0, 0.0), state(1.0, 0.0), state(0.5, 2.0)]) == [3.0, 3.5, -0.75]
    assert probe.bounds([]) == []


def test_hidden_units_add_what_a_sum_cannot() -> None:
    """Here the bound falls where the state is large, whatever its sign."""
    first = [4.0] + [0.0] * 255
    probe = CoughProbe(Weights([first, first], offsets=[8.0, -8.0], outward=[1.0, -1.0], direct=[0.0] * 256, bias=3.0))

    assert probe.bounds([state(0.0, 0.0), state(9.0, 0.0), state(-9.0, 0.0)]) == pytest.approx(
        [5.0, 3.0, 3.0], abs=1e-3
    )


@pytest.mark.parametrize("rate_hz", RATES)
def test_each_stream_of_a_batch_gets_the_bound_that_it_gets_alone(rate_hz: int) -> None:
    probe, noise = CoughProbe.load(rate_hz), np.random.default_rng(3)
    states = [
        SileroState(noise.normal(0, 1, (2, 1, STATE_SIZE)).astype(np.float32), np.zeros(0, np.float32))
        for _ in range(7)
    ]

    alone = [bound for each in states for bound in probe.bounds([each])]
    assert probe.bounds(states) == pytest.approx(alone, abs=1e-3)


@pytest.mark.parametrize("rate_hz", RATES)
def test_the_state_is_laid_out_as_the_probe_takes_it(rate_hz: int) -> None:
    """The probability is made of the hidden half alone: then the first row of the state is that half, not the cell."""
    model, noise = SileroModel.load(rate_hz), np.random.default_rng(0)
    stream, log_odds, hidden = model.new_state(), [], []
    for _ in range(200):
        window = noise.normal(0, noise.uniform(10, 9000), model.window_samples).clip(-32768, 32767).astype(np.int16)
        (probability,) = model.run([window], [stream])
        log_odds.append(np.log(probability / (1 - probability)))
        hidden.append(np.append(stream.rnn[0, 0].clip(0), 1.0))

    weights, *_ = np.linalg.lstsq(np.array(hidden), np.array(log_odds))
    assert np.array(hidden) @ weights == pytest.approx(np.array(log_odds), abs=0.05)


def test_the_weights_say_where_they_come_from_and_belong_to_the_model(content: dict[str, Any]) -> None:
    read = msgspec.convert(content, ProbeFile)

    assert read.script == "scripts/train_cough_probe.py"
    assert (COMMITTED.parents[2] / read.script).is_file()
    assert all(source.endswith(")") for source in read.sources)
    assert any("CC0-1.0" in source for source in read.sources)
    assert read.model_sha256 == MODEL_SHA256
    assert sorted(read.weights, key=int) == [str(rate_hz) for rate_hz in RATES]


def test_missing_weights_are_said_clearly(changed: Path) -> None:
    with pytest.raises(ConfigError, match=r"cough_probe\.json: cannot be read: No such file"):
        CoughProbe.load(16000)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("weights", {"8000": None}, "damaged"),
        ("weights", {}, "no weights for 16000 Hz"),
        ("weights", {"16000": {**EMPTY, "direct": [0.0] * 255}}, "length >= 256"),
        ("weights", {"16000": {**EMPTY, "outward": [1.0]}}, "not of one length"),
        ("model_sha256", "0" * 64, "another version of the speech model"),
    ],
)
def test_damaged_weights_are_said_clearly(
    changed: Path, content: dict[str, Any], field: str, value: object, said: str
) -> None:
    changed.write_text(json.dumps({**content, field: value}), encoding="utf-8")

    with pytest.raises(ConfigError, match=said):
        CoughProbe.load(16000)


def test_a_cut_off_file_is_said_clearly(changed: Path, content: dict[str, Any]) -> None:
    changed.write_text(json.dumps(content)[:500], encoding="utf-8")

    with pytest.raises(ConfigError, match="damaged"):
        CoughProbe.load(16000)
