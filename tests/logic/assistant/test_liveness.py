"""A peer is missed only if it has shown that it sends audio all the time."""

import pytest

from relay.logic.assistant.liveness import GAP_S, STEADY_S, Liveness

FRAME_S = 0.02
TIMEOUT_S = 5.0


def send(liveness: Liveness, start: float, seconds: float, *, audible: bool = False) -> float:
    """Frames in real time; returns the time of the last."""
    count = round(seconds / FRAME_S) + 1
    for n in range(count):
        liveness.audio(start + n * FRAME_S, audible=audible)
    return start + (count - 1) * FRAME_S


def test_a_peer_that_sends_nothing_is_not_missed() -> None:
    assert Liveness().deadline(TIMEOUT_S) is None


def test_silence_without_a_gap_for_long_enough_says_that_the_peer_sends_always() -> None:
    liveness = Liveness()
    last = send(liveness, 10.0, STEADY_S - FRAME_S)
    assert liveness.deadline(TIMEOUT_S) is None
    last = send(liveness, last + FRAME_S, FRAME_S)

    assert liveness.deadline(TIMEOUT_S) == pytest.approx(last + TIMEOUT_S)


def test_speech_however_long_proves_nothing() -> None:
    liveness = Liveness()
    send(liveness, 10.0, 60.0, audible=True)

    assert liveness.deadline(TIMEOUT_S) is None


@pytest.mark.parametrize(("gap_s", "steady"), [(GAP_S - FRAME_S, True), (GAP_S + FRAME_S, False)])
def test_a_gap_begins_the_measurement_anew(gap_s: float, steady: bool) -> None:
    liveness = Liveness()
    last = send(liveness, 10.0, STEADY_S / 2)
    send(liveness, last + gap_s, STEADY_S / 2)

    assert (liveness.deadline(TIMEOUT_S) is not None) is steady


def test_a_word_begins_the_measurement_anew() -> None:
    liveness = Liveness()
    last = send(liveness, 10.0, STEADY_S / 2)
    last = send(liveness, last + FRAME_S, 0.1, audible=True)
    send(liveness, last + FRAME_S, STEADY_S / 2)

    assert liveness.deadline(TIMEOUT_S) is None


def test_who_has_sent_always_is_missed_in_speech_too() -> None:
    liveness = Liveness()
    last = send(liveness, 10.0, STEADY_S)
    last = send(liveness, last + FRAME_S, 1.0, audible=True)

    assert liveness.deadline(TIMEOUT_S) == pytest.approx(last + TIMEOUT_S)
    last = send(liveness, last + 60, FRAME_S, audible=True)
    assert liveness.deadline(TIMEOUT_S) == pytest.approx(last + TIMEOUT_S), "each frame puts the deadline off"


def test_any_message_is_an_answer() -> None:
    liveness = Liveness()
    assert not liveness.answered
    liveness.message()

    assert liveness.answered
