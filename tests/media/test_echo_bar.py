"""What is no louder than the expected echo is silent, and a caller over it is heard."""

import numpy as np
import pytest

from relay.media.echo_bar import RATE_HZ, EchoBar
from relay.media.features import level_dbfs
from relay.standin import phrases
from relay.standin.echo import EchoPath, mix

FAR = phrases.phrase("description").samples[: 6 * RATE_HZ]
QUESTION = phrases.phrase("question").samples
DELAYED = 128


@pytest.mark.parametrize("delay_ms", [0, 180, 700])
def test_an_echo_is_silenced(delay_ms: int) -> None:
    near = EchoPath(RATE_HZ, delay_ms=delay_ms, loss_db=15).push(FAR)

    left = EchoBar(delay_ms, 15, delayed=DELAYED).process(near, FAR)

    assert level_dbfs(left) < level_dbfs(near) - 25


def test_a_caller_louder_than_the_echo_is_heard() -> None:
    near = EchoPath(RATE_HZ, delay_ms=180, loss_db=25).push(FAR)
    speaks = slice(2 * RATE_HZ, 2 * RATE_HZ + len(QUESTION))
    near[speaks] = mix(near[speaks], QUESTION)

    left = EchoBar(180, 25, delayed=DELAYED).process(near, FAR)

    assert level_dbfs(left[speaks]) > level_dbfs(QUESTION) - 3


def test_nothing_is_silenced_while_nothing_is_played() -> None:
    near = QUESTION[: RATE_HZ // 160 * 160]
    bar = EchoBar(180, 10, delayed=DELAYED)

    left = bar.process(near, np.zeros(len(near), np.int16))

    assert left[DELAYED:].tolist() == near[:-DELAYED].tolist()
