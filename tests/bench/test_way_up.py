"""The measure of what a frame costs on its way up: real calls, of which the assistants get every frame."""

from functools import partial
from hashlib import sha256

import pytest
import trio
from trio.testing import MockClock

from relay.media.frames import TELEPHONE, WIDEBAND, AudioFormat
from scripts.way_up import ROUND_S, Cost, measure

SPEECH = [b"\xff" * (160 - number) + b"\xfe" * number for number in range(10)]
"""Too quiet to be taken for speech, or for an echo."""


def cost(target: AudioFormat) -> Cost:
    return trio.run(partial(measure, 2, target, SPEECH, 1, warm_up_s=0.1), clock=MockClock(rate=0))


@pytest.mark.parametrize("target", [TELEPHONE, WIDEBAND])
def test_each_frame_of_each_call_reaches_its_assistant(target: AudioFormat) -> None:
    made = cost(target)

    assert made.taken == made.frames == 2 * round((0.1 + ROUND_S) * 50)
    assert 0 < made.least_us <= made.median_us


def test_the_digest_is_that_of_what_the_assistants_got() -> None:
    frames = round((0.1 + ROUND_S) * 50)
    said = [SPEECH[(begins + number) % 10] for begins in (0, 5) for number in range(frames)]

    assert cost(TELEPHONE).digest == sha256(b"".join(said)).hexdigest()
