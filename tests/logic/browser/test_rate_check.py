"""A wrong rate is noticed within two seconds, and no network is taken for one."""

import random
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.logic.browser.rate_check import RateCheck, WrongRate

Message = tuple[float, int | None, float]
"""Arrival in s, header in ms, duration in ms by the declared rate."""


def spoken(
    declared_hz: int, true_hz: int, seconds: float, *, frame_ms: float = 20, header: str = "clock"
) -> Iterator[Message]:
    """Messages of `frame_ms` of true audio, each sent when it was recorded."""
    for index in range(int(seconds * 1000 / frame_ms)):
        at_ms = index * frame_ms
        duration_ms = frame_ms * true_hz / declared_hz
        headers = {"clock": round(at_ms), "samples": round(index * duration_ms), "none": None, "zero": 0}
        yield at_ms / 1000, headers[header], duration_ms


def noticed(declared_hz: int, messages: Sequence[Message]) -> tuple[float, WrongRate] | None:
    check = RateCheck(declared_hz)
    for at, ms, duration_ms in messages:
        if wrong := check.note(ms, duration_ms, at):
            return at - messages[0][0], wrong
    return None


@pytest.mark.parametrize("header", ["clock", "samples", "none", "zero"])
@pytest.mark.parametrize(
    ("declared_hz", "true_hz"), [(16000, 48000), (48000, 16000), (8000, 16000), (16000, 8000), (16000, 44100)]
)
@pytest.mark.parametrize("frame_ms", [10, 20, 100])
def test_a_wrong_rate_is_noticed_within_two_seconds(
    declared_hz: int, true_hz: int, header: str, frame_ms: float
) -> None:
    found = noticed(declared_hz, list(spoken(declared_hz, true_hz, 4, frame_ms=frame_ms, header=header)))

    assert found is not None
    after_s, wrong = found
    assert after_s <= 2
    assert wrong.declared_hz == declared_hz
    assert wrong.likely_hz == true_hz


@pytest.mark.parametrize(("declared_hz", "true_hz"), [(44100, 48000), (48000, 44100), (8000, 96000), (96000, 8000)])
def test_a_header_with_a_clock_tells_neighbours_and_extremes_apart(declared_hz: int, true_hz: int) -> None:
    found = noticed(declared_hz, list(spoken(declared_hz, true_hz, 4)))

    assert found is not None
    assert found[0] <= 2
    assert found[1].likely_hz == true_hz


@pytest.mark.parametrize("header", ["clock", "samples", "none", "zero"])
@pytest.mark.parametrize("rate_hz", [8000, 16000, 44100, 48000, 96000])
def test_the_right_rate_is_never_complained_about(rate_hz: int, header: str) -> None:
    assert noticed(rate_hz, list(spoken(rate_hz, rate_hz, 30, header=header))) is None


@pytest.mark.parametrize("header", ["clock", "none"])
@pytest.mark.parametrize("stall_s", [0.2, 0.5, 1, 3, 9])
@pytest.mark.parametrize("speed", [2.0, 4.0, 1000.0])
def test_a_stall_and_the_backlog_behind_it_are_no_rate(stall_s: float, speed: float, header: str) -> None:
    """From second 3 on nothing arrives for a while; then what was recorded meanwhile, at this speed."""
    messages = []
    sent_at = 0.0
    for recorded_at, ms, duration_ms in spoken(16000, 16000, 20, header=header):
        due = max(recorded_at, 3 + stall_s) if recorded_at >= 3 else recorded_at
        sent_at = max(due, sent_at + duration_ms / 1000 / speed)
        messages.append((sent_at, ms, duration_ms))

    assert noticed(16000, messages) is None


@pytest.mark.parametrize("header", ["clock", "none"])
def test_a_microphone_that_pauses_is_no_rate(header: str) -> None:
    """Half a second of speech, a pause, half a second of speech: half the samples that the time would have."""
    messages = [one for one in spoken(16000, 16000, 30, header=header) if one[0] % 1.0 < 0.5]

    assert noticed(16000, messages) is None


def test_what_was_recorded_while_connecting_is_no_rate() -> None:
    backlog = [(10 + index / 10_000, index * 20, 20.0) for index in range(400)]
    live = [(10 + index / 50, 8000 + index * 20, 20.0) for index in range(500)]

    assert noticed(16000, backlog + live) is None


@given(st.integers(0, 10**6), st.floats(0, 0.25), st.sampled_from(["clock", "samples", "none"]))
def test_jitter_is_no_rate(seed: int, jitter_s: float, header: str) -> None:
    """Each message is late by up to a quarter of a second, and never overtakes another."""
    rng, at = random.Random(seed), 0.0
    messages = []
    for sent_at, ms, duration_ms in spoken(48000, 48000, 12, header=header):
        at = max(at, sent_at + rng.uniform(0, jitter_s))
        messages.append((at, ms, duration_ms))

    assert noticed(48000, messages) is None


@given(st.integers(0, 10**6), st.sampled_from(["clock", "samples", "none"]))
def test_jitter_does_not_hide_a_wrong_rate(seed: int, header: str) -> None:
    rng, at = random.Random(seed), 0.0
    messages = []
    for sent_at, ms, duration_ms in spoken(16000, 48000, 6, header=header):
        at = max(at, sent_at + rng.uniform(0, 0.1))
        messages.append((at, ms, duration_ms))

    found = noticed(16000, messages)
    assert found is not None
    assert found[0] <= 2.2


def test_messages_that_are_missing_are_no_rate() -> None:
    check = RateCheck(16000)
    wrong = []
    for index in range(600):
        if index % 3 == 0:
            check.interrupted()
            continue
        wrong.append(check.note(index * 20, 20, index / 50))

    assert not any(wrong)
