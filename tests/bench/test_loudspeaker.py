"""What is played comes back weaker and later, and nothing of what was cleared."""

import base64

import numpy as np
import pytest

from relay.bench.loudspeaker import DELAY_MS, SILENCE, Loudspeaker
from relay.standin.sound import mulaw_to_samples, samples_to_mulaw

QUIET = SILENCE * 160
NOISE = samples_to_mulaw(np.random.default_rng(1).normal(0, 3000, 8000).astype(np.int16))
FRAMES_LATE = int(DELAY_MS // 20)


def power_db(audio: bytes) -> float:
    return 10 * float(np.log10(np.mean(mulaw_to_samples(audio).astype(np.float64) ** 2) + 1e-9))


def test_it_comes_back_so_much_weaker_and_later() -> None:
    loudspeaker = Loudspeaker(15.0)
    loudspeaker.play(NOISE)

    sent = [base64.b64decode(loudspeaker.payload(QUIET)) for _ in range(50)]

    assert all(frame == QUIET for frame in sent[:FRAMES_LATE])
    assert power_db(b"".join(sent[FRAMES_LATE + 5 :])) == pytest.approx(power_db(NOISE) - 15, abs=2)


def test_what_is_cleared_is_not_played() -> None:
    loudspeaker = Loudspeaker(15.0)
    loudspeaker.play(NOISE)
    loudspeaker.clear()

    assert all(base64.b64decode(loudspeaker.payload(QUIET)) == QUIET for _ in range(30))


def test_the_caller_is_heard_with_it() -> None:
    said = NOISE[:160]

    sent = base64.b64decode(Loudspeaker(15.0).payload(said))

    assert mulaw_to_samples(sent).tolist() == mulaw_to_samples(said).tolist()
