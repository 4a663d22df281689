"""The plain rule: a threshold with hysteresis, and so many windows in a row."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.vad.plain_rule import GateClosed, GateOpened, SpeechGate, plain_starts_ms


def events(gate: SpeechGate, probabilities: list[float]) -> list[GateOpened | GateClosed]:
    pushed = [gate.push(probability, 32.0 * (index + 1)) for index, probability in enumerate(probabilities)]
    return [event for event in pushed if event]


def test_speech_starts_with_the_first_window_of_the_run_and_ends_with_the_last_before_the_hangover() -> None:
    gate = SpeechGate(0.5, onset_ms=96, hangover_ms=256)

    found = events(gate, [0.1] * 4 + [0.9] * 10 + [0.0] * 20)

    assert found == [GateOpened(onset_ms=128, decided_ms=224), GateClosed(at_ms=448, decided_ms=704)]


@pytest.mark.parametrize(("onset_ms", "windows"), [(0, 1), (1, 1), (32, 1), (33, 2), (96, 3), (192, 6)])
def test_the_onset_is_covered_by_whole_windows(onset_ms: float, windows: int) -> None:
    assert events(SpeechGate(0.5, onset_ms, 256), [0.6] * (windows - 1)) == []
    assert events(SpeechGate(0.5, onset_ms, 256), [0.6] * windows) == [GateOpened(0, 32.0 * windows)]


def test_a_window_at_the_threshold_counts_and_one_under_it_breaks_the_run() -> None:
    assert events(SpeechGate(0.5, 96, 256), [0.5, 0.5, 0.49, 0.5, 0.5]) == []
    assert events(SpeechGate(0.5, 96, 256), [0.5, 0.5, 0.49, 0.5, 0.5, 0.5]) == [GateOpened(96, 192)]


def test_speech_goes_on_between_the_two_thresholds() -> None:
    assert events(SpeechGate(0.5, 32, 256), [0.9] + [0.36] * 50) == [GateOpened(0, 32)]


def test_a_window_over_the_lower_threshold_starts_the_hangover_anew() -> None:
    found = events(SpeechGate(0.5, 32, 256), [0.9] + [0.0] * 7 + [0.4] + [0.0] * 8)

    assert found == [GateOpened(0, 32), GateClosed(288, 544)]


@given(
    st.lists(st.floats(0, 1), max_size=200),
    st.floats(0.3, 0.9),
    st.floats(0, 300),
    st.floats(0, 600),
)
def test_starts_and_ends_alternate_and_lie_in_order(
    probabilities: list[float], threshold: float, onset_ms: float, hangover_ms: float
) -> None:
    found = events(SpeechGate(threshold, onset_ms, hangover_ms), probabilities)

    last_ms = 0.0
    for index, event in enumerate(found):
        assert isinstance(event, GateClosed if index % 2 else GateOpened)
        turned_ms = event.onset_ms if isinstance(event, GateOpened) else event.at_ms
        assert last_ms <= turned_ms < event.decided_ms
        assert event.decided_ms - turned_ms >= (onset_ms if isinstance(event, GateOpened) else hangover_ms)
        last_ms = turned_ms


@pytest.mark.parametrize(
    ("judged", "in_a_row", "starts_ms"),
    [
        ([0.5], 1, [32]),
        ([0.49, 0.5, 0.5], 2, [96]),
        ([0.5, 0.4, 0.5, 0.5], 2, [128]),
        ([0.9, *[0.34] * 8, 0.9], 1, [32, 320]),
        ([0.9, *[0.34] * 7, 0.9], 1, [32]),
        ([0.9, *[0.35] * 20, 0.9], 1, [32]),
    ],
)
def test_the_plain_rule_starts_at_the_end_of_so_many_windows_in_a_row(
    judged: list[float], in_a_row: int, starts_ms: list[float]
) -> None:
    assert plain_starts_ms(judged, (0.5, in_a_row)) == starts_ms
