"""The cut of the assistant's socket is judged by what its second call received, and by the relay's own figures."""

from typing import Any

import numpy as np
import pytest

from relay.demo.evidence import Evidence
from relay.demo.reconnect import (
    CAME_AGAIN,
    IN_TIME,
    NOTHING_DROPPED,
    RECONNECT_FIGURES,
    RECONNECTED,
    caller_frames_lost,
    reconnect_figures,
    reconnect_promises,
)
from relay.media.frames import TELEPHONE
from relay.standin.compare import audible_frames
from relay.standin.phrases import spoken
from relay.standin.sound import Samples, mulaw_to_samples

RECONNECT = {"gap_ms": 191.5, "replayed_ms": 2440, "dropped_ms": 0}


def said(name: str) -> Samples:
    return mulaw_to_samples(spoken(name, TELEPHONE))


def silence(ms: int) -> Samples:
    return np.zeros(ms * 8, np.int16)


STOP, QUESTION, GOODBYE = said("stop"), said("question"), said("goodbye")


def evidence(*, received: Samples = STOP, received_again: Samples | None = None, **changes: Any) -> Evidence:
    """A caller who says three sentences, the second of them during the cut."""
    again = np.concatenate([QUESTION, silence(500), GOODBYE]) if received_again is None else received_again
    whole: dict[str, Any] = {
        "broken": None,
        "said": STOP,
        "said_at_cut": QUESTION,
        "said_later": GOODBYE,
        "received": received,
        "received_again": again,
        "reconnects": [RECONNECT],
    }
    return Evidence(**{**whole, **changes})


def kept(judged: Evidence) -> dict[str, bool | None]:
    figures = reconnect_figures(judged, caller_frames_lost(judged))
    return {promise.name: promise.kept for promise in reconnect_promises(judged, figures)}


def test_nothing_is_lost_when_each_call_received_what_was_said_to_it() -> None:
    assert caller_frames_lost(evidence()) == 0
    assert kept(evidence()) == dict.fromkeys((RECONNECTED, IN_TIME, NOTHING_DROPPED, CAME_AGAIN), True)


@pytest.mark.parametrize(
    ("changes", "missing"),
    [
        ({"received": silence(100)}, STOP),
        ({"received_again": GOODBYE}, QUESTION),
        ({"received_again": QUESTION}, GOODBYE),
        ({"received": np.concatenate([STOP, QUESTION]), "received_again": GOODBYE}, QUESTION),
    ],
    ids=["before", "at the cut", "after", "only the lost call heard it"],
)
def test_what_the_right_call_did_not_receive_is_lost(changes: dict[str, Any], missing: Samples) -> None:
    audible = len(audible_frames(missing))

    assert 0.9 * audible <= caller_frames_lost(evidence(**changes)) <= audible


def test_the_figures_are_the_relays_own_and_what_was_lost() -> None:
    figures = reconnect_figures(evidence(), 3)

    assert tuple(figures) == RECONNECT_FIGURES
    assert figures == {**RECONNECT, "caller_audio_lost_ms": 60}


def test_without_a_reconnect_there_are_no_figures_and_one_broken_promise() -> None:
    judged = evidence(reconnects=[])

    assert reconnect_figures(judged, 3) == dict.fromkeys(RECONNECT_FIGURES)
    assert kept(judged) == {RECONNECTED: False}


@pytest.mark.parametrize(
    ("changes", "broken"),
    [
        ({"reconnects": [RECONNECT, RECONNECT]}, RECONNECTED),
        ({"reconnects": [{**RECONNECT, "gap_ms": 1500.1}]}, IN_TIME),
        ({"reconnects": [{**RECONNECT, "dropped_ms": 20}]}, NOTHING_DROPPED),
        ({"received_again": GOODBYE}, CAME_AGAIN),
        ({"said_at_cut": silence(500)}, CAME_AGAIN),
    ],
)
def test_each_promise_is_broken_by_what_it_is_about(changes: dict[str, Any], broken: str) -> None:
    assert [name for name, value in kept(evidence(**changes)).items() if not value] == [broken]


def test_a_reconnect_that_took_the_longest_allowed_is_in_time() -> None:
    assert kept(evidence(reconnects=[{**RECONNECT, "gap_ms": 1500.0}]))[IN_TIME]
