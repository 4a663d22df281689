"""The rules of the measurement, each pinned by a small case."""

import msgspec
import pytest

from relay.vad.evaluation import Recording, Score, Trial, read_labels, score


def recording(
    *speech: tuple[float, float], duration_s: float = 60.0, kind: str = "speech", **more: object
) -> Recording:
    return msgspec.convert(
        {"file": "x.wav", "duration_s": duration_s, "kind": kind, "speech": speech, **more}, Recording, strict=False
    )


def scored(of: Recording, *starts_s: float) -> Score:
    return score([Trial(of, starts_s)])


@pytest.mark.parametrize(
    ("speech", "onsets_s"),
    [
        ([(0.5, 1.0)], [0.5]),
        ([(0.49, 1.0)], []),
        ([(2.0, 3.0), (3.5, 4.0)], [2.0, 3.5]),
        ([(2.0, 3.0), (3.4, 4.0), (4.4, 5.0)], [2.0]),
        ([(8.016, 17.207), (17.707, 18.0)], [8.016, 17.707]),
    ],
)
def test_an_onset_is_scored_after_half_a_second_without_speech(
    speech: list[tuple[float, float]], onsets_s: list[float]
) -> None:
    assert [start for start, _ in recording(*speech).onsets_s()] == onsets_s


@pytest.mark.parametrize(
    ("starts_s", "delay_ms"),
    [
        ([10.07], 70),
        ([9.86], -140),
        ([9.84], None),
        ([9.84, 10.2], 200),
        ([10.1, 10.05], 100),
        ([12.34], 2340),
        ([12.36], None),
        ([], None),
    ],
)
def test_the_delay_runs_to_the_first_start_around_the_speech(starts_s: list[float], delay_ms: float | None) -> None:
    result = scored(recording((10.0, 12.0)), *starts_s)

    assert result.median_ms == (None if delay_ms is None else pytest.approx(delay_ms))
    assert (result.onsets, result.missed) == (1, int(delay_ms is None))


@pytest.mark.parametrize(("start_s", "false"), [(9.84, 1), (9.86, 0), (11.0, 0), (12.34, 0), (12.36, 1), (30.0, 1)])
def test_a_start_away_from_speech_is_false(start_s: float, false: int) -> None:
    assert scored(recording((10.0, 12.0)), start_s).false_starts == false


@pytest.mark.parametrize(
    ("speech", "false_at_s", "minutes"),
    [
        ([], 1.0, 1.0),
        ([(10.0, 39.5)], 1.0, 0.5),
        ([(0.0, 29.65)], 50.0, 0.5),
        ([(30.15, 60.0)], 1.0, 0.5),
        ([(10.0, 20.0), (20.2, 39.5)], 1.0, 0.5),
        ([(10.0, 30.0), (15.0, 20.0), (30.1, 39.5)], 1.0, 0.5),
    ],
)
def test_rates_are_per_minute_outside_speech_and_its_margins(
    speech: list[tuple[float, float]], false_at_s: float, minutes: float
) -> None:
    result = scored(recording(*speech), false_at_s)

    assert result.minutes == pytest.approx(minutes)
    assert result.false_per_minute == pytest.approx(1 / minutes)


def test_recordings_labelled_by_turns_count_for_nothing() -> None:
    of = recording((10.0, 12.0), label_precision="turn")

    assert score([Trial(of, [1.0]), Trial(recording((10.0, 12.0)), [10.1])]) == scored(recording((10.0, 12.0)), 10.1)


def test_recordings_not_to_be_counted_for_false_starts_still_have_delays() -> None:
    result = scored(recording((10.0, 12.0), count_false_starts=False), 1.0, 10.1)

    assert result.median_ms == pytest.approx(100)
    assert (result.false_starts, result.minutes) == (0, 0.0)
    assert result.false_per_minute is None


def test_percentiles_are_of_the_onsets_found() -> None:
    of = recording((10.0, 12.0), (20.0, 21.0), (30.0, 31.0), (40.0, 41.0))

    result = scored(of, 10.1, 20.2, 30.4)

    assert (result.onsets, result.missed) == (4, 1)
    assert result.median_ms == pytest.approx(200)
    assert result.p90_ms == pytest.approx(360)
    assert result.p95_ms == pytest.approx(380)


def test_nothing_at_all_has_no_figures() -> None:
    assert score([]) == Score(0, 0, None, None, None, 0, 0.0, None)


def test_labels_are_read_and_what_is_not_needed_is_ignored() -> None:
    text = b"""{"set": "dev", "files": [{"file": "a.wav", "duration_s": 2, "kind": "door", "speech": [[0.5, 1]],
               "label_precision": "exact", "count_false_starts": false, "note": "none"}]}"""

    assert read_labels(text) == [
        Recording("a.wav", 2.0, "door", [(0.5, 1.0)], label_precision="exact", count_false_starts=False)
    ]


@pytest.mark.parametrize("text", [b"{}", b"[", b'{"files": [{"file": "a.wav"}]}'])
def test_labels_that_make_no_sense_are_refused(text: bytes) -> None:
    with pytest.raises((msgspec.ValidationError, msgspec.DecodeError)):
        read_labels(text)
