"""Figures: hearings of the same sound count once, and each figure has its interval."""

import numpy as np
import pytest

from relay.media.sound import Sound
from relay.vad.cases import BEHIND_SPEECH, WHOLE, Case, Group
from relay.vad.evaluation import Recording, Trial
from relay.vad.figures import by_kind, by_source, figures, stage, together
from relay.vad.intervals import poisson, wilson
from relay.vad.judging import Judged


def trial(name: str, *starts_s: float, speech: tuple[tuple[float, float], ...] = (), **more: object) -> Trial:
    return Trial(Recording(name, 60.0, "noise", list(speech), **more), starts_s)  # type: ignore[arg-type]


def test_the_share_of_clips_counts_each_clip_once_however_often_it_is_heard() -> None:
    heard = [trial("a", 1.0), trial("a"), trial("b", 1.0, 2.0), trial("b", 3.0), trial("c"), trial("c")]
    share = stage(heard, clips=True).clips

    assert share is not None
    assert (share.share, share.of) == (0.5, 3)
    assert share.interval == wilson(0.5, 3)


def test_recordings_have_a_rate_and_no_share() -> None:
    result = stage([trial("a", 1.0, 2.0, 3.0), trial("a", 1.0), trial("b"), trial("b", 5.0)], clips=False)

    assert result.clips is None
    assert result.false is not None
    assert (result.false.events, result.false.minutes, result.false.per_minute) == (2.5, 2.0, 1.25)
    assert result.false.interval == pytest.approx([bound / 2 for bound in poisson(2.5)])
    assert result.false.by_recording is None


def test_events_in_one_recording_of_many_widen_the_interval_by_recording() -> None:
    result = stage([trial("loud", *range(10)), *(trial(f"quiet {n}") for n in range(9))], clips=False).false

    assert result is not None
    assert result.by_recording is not None
    assert result.by_recording[0] == 0.0
    assert result.by_recording[1] > result.interval[1]


def test_an_onset_missed_in_one_of_two_hearings_is_half_missed() -> None:
    speech = ((10.0, 11.0), (20.0, 21.0))
    result = stage([trial("a", 10.1, 20.3, speech=speech), trial("a", 10.3, speech=speech)], clips=False)

    assert result.missed is not None
    assert (result.missed.share, result.missed.of) == (0.25, 2)
    assert result.delay is not None
    assert result.delay.median_ms == pytest.approx(300)
    assert result.delay.median_interval_ms is None


def test_delays_of_many_recordings_have_intervals() -> None:
    delay = stage(
        [trial(f"{n}", 10 + n / 100, speech=((10.0, 11.0),)) for n in range(1, 21)],
        clips=True,
    ).delay

    assert delay is not None
    assert delay.p95_ms == pytest.approx(190.5)
    assert delay.median_interval_ms is not None
    assert delay.median_interval_ms[0] < 105 < delay.median_interval_ms[1]


def test_what_is_labelled_by_turns_counts_for_nothing() -> None:
    by_turns = trial("a", 1.0, 10.1, speech=((10.0, 11.0),), label_precision="turn")

    assert stage([by_turns], clips=False) == stage([], clips=False)


def test_false_starts_that_do_not_count_are_not_counted() -> None:
    words = trial("a", 1.0, 10.1, speech=((10.0, 11.0),), count_false_starts=False)
    result = stage([words], clips=True)

    assert (result.clips, result.false) == (None, None)
    assert result.missed is not None
    assert result.missed.share == 0.0


def test_a_clip_with_speech_is_none_that_should_not_cut() -> None:
    assert stage([trial("word", 10.1, speech=((10.0, 11.0),)), trial("cough")], clips=True).clips == (
        stage([trial("cough")], clips=True).clips
    )


def test_groups_are_joined_by_source_by_kind_and_together() -> None:
    def judged(kind: str, source: str, condition: str = WHOLE) -> Judged:
        nothing = trial(source)
        group = Group(kind, source, "telephone", condition)
        case = Case(source, group, nothing.recording, 0.0, lambda: Sound(np.zeros(1, np.int16), 8000))
        return Judged(case, nothing, nothing)

    all_of_it = [
        judged("music", "one"),
        judged("music", "two"),
        judged("cough", "three", BEHIND_SPEECH),
        judged("made_up", "four"),
        judged("echo", "five", "10 dB"),
        judged("door", "six"),
    ]

    def names(joined: object) -> list[tuple[str, str, int]]:
        return [(each.kind, each.source, each.units) for each in figures(all_of_it, joined)]  # type: ignore[arg-type]

    assert names(by_source) == [(each.case.group.kind, each.case.group.source, 1) for each in all_of_it]
    assert names(by_kind) == [
        ("music", "", 2), ("cough", "", 1), ("made_up", "", 1), ("echo", "", 1), ("door", "", 1)
    ]  # fmt: skip
    assert names(together) == [("recorded", "", 3), ("recorded", "", 1), ("made_up", "", 1), ("echo", "", 1)]
