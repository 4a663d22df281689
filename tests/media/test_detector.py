"""The two-stage detector, driven by made-up probabilities and levels."""

from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from itertools import repeat
from math import inf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from relay.media.detector import (
    LONGEST_RISE_MS,
    WINDOW_MS,
    Confirmed,
    Decision,
    Detector,
    DetectorSettings,
    Ended,
    Likely,
    Rejected,
    State,
)
from relay.media.features import level_dbfs

DEFAULTS = DetectorSettings()
QUIET_DBFS, VOICE_DBFS = -60, -25
ROOM = [(0.01, QUIET_DBFS)] * 20
"""A quiet room, 640 ms of it: what each scene begins with."""


@cache
def window(dbfs: int, samples: int = 512) -> NDArray[np.int16]:
    return np.full(samples, round(32767 * 10 ** (dbfs / 20)), np.int16)


def run(
    scene: Iterable[tuple[float, int]],
    settings: DetectorSettings = DEFAULTS,
    samples: int = 512,
    bounds: Iterable[float] = repeat(inf),
) -> list[Decision]:
    """What the detector decides of windows of (probability, dBFS), the first of which ends at 32 ms."""
    detector = Detector(settings)
    pushed = (
        detector.push(level_dbfs(window(dbfs, samples)), probability, index * WINDOW_MS, bound)
        for index, ((probability, dbfs), bound) in enumerate(zip(scene, bounds, strict=False), 1)
    )
    return [decision for decision in pushed if decision]


def kinds(decisions: list[Decision]) -> list[type[Decision]]:
    return [type(decision) for decision in decisions]


def at(windows: int) -> float:
    """The end of that window of the scene after the room."""
    return (len(ROOM) + windows) * WINDOW_MS


def test_clear_speech_is_guessed_at_once_confirmed_in_the_next_window_and_ended_after_the_hangover() -> None:
    scene = [*ROOM, (0.9, VOICE_DBFS), *[(0.99, VOICE_DBFS)] * 10, *[(0.01, QUIET_DBFS)] * 8]

    assert run(scene) == [
        Likely(at(0) - 16, at(1)),
        Confirmed(at(0) - 16, at(1), at(2)),
        Ended(at(11), at(19)),
    ]


@pytest.mark.parametrize(
    ("probabilities", "windows_to_confirm"),
    [
        ([0.99] * 9, 2),
        ([0.9] * 9, 3),
        ([0.8] * 15, 6),
        ([0.7] * 15, None),
        ([0.55] * 15, None),
        ([0.99, 0.4, 0.3, 0.1], None),
        ([0.99, 0.4, 0.99], 3),
    ],
)
def test_the_more_doubtful_the_longer_it_takes(probabilities: list[float], windows_to_confirm: int | None) -> None:
    decisions = run([*ROOM, *((probability, VOICE_DBFS) for probability in probabilities)])

    assert decisions[0] == Likely(at(0) - 16, at(1))
    confirmed = [decision.decided_ms for decision in decisions if isinstance(decision, Confirmed)]
    assert confirmed == ([] if windows_to_confirm is None else [at(windows_to_confirm)])


def test_under_the_threshold_nothing_is_guessed() -> None:
    assert run([*ROOM, *[(0.49, VOICE_DBFS)] * 50]) == []


def test_one_window_never_confirms_however_sure() -> None:
    assert run([*ROOM, (1.0, VOICE_DBFS), *[(0.0, QUIET_DBFS)] * 9]) == [
        Likely(at(0) - 16, at(1)),
        Rejected(at(1), at(4)),
    ]


def test_a_false_guess_is_taken_back_after_three_windows_well_under_the_threshold() -> None:
    scene = [*ROOM, (0.6, VOICE_DBFS), (0.3, VOICE_DBFS), (0.4, VOICE_DBFS), *[(0.3, VOICE_DBFS)] * 3]

    assert run(scene)[1:] == [Rejected(at(1), at(6))]


def test_a_guess_ends_after_512_ms_and_is_not_made_again_while_the_same_sound_lasts() -> None:
    doubtful = [(0.6, VOICE_DBFS)] * 60

    decisions = run([*ROOM, *doubtful])
    assert decisions == [Likely(at(0) - 16, at(1)), Rejected(at(1), at(17))]

    assert kinds(run([*ROOM, *doubtful, (0.2, VOICE_DBFS), (0.6, VOICE_DBFS)])) == [Likely, Rejected, Likely]


def test_a_sound_whose_guess_was_taken_back_can_still_turn_into_speech() -> None:
    scene = [*ROOM, *[(0.6, VOICE_DBFS)] * 30, *[(0.99, VOICE_DBFS)] * 3]

    assert kinds(run(scene)) == [Likely, Rejected, Likely, Confirmed]


def test_what_dies_away_after_a_burst_is_no_speech() -> None:
    """The tail of a cough: the model takes it for speech, but it is 12 dB under the bark before it."""
    bark, tail = [(0.1, -10)] * 3, [(0.9, -25)] * 5

    assert run([*ROOM, *bark, *tail, *[(0.05, QUIET_DBFS)] * 5]) == []
    assert kinds(run([*ROOM, *[(0.1, -20)] * 3, *tail])) == [Likely, Confirmed]


def test_a_burst_is_forgotten_after_480_ms() -> None:
    wait = [(0.1, QUIET_DBFS)]
    speech = [(0.99, VOICE_DBFS)] * 3

    assert run([*ROOM, (0.1, -5), *wait * 12, *speech]) == []
    assert kinds(run([*ROOM, (0.1, -5), *wait * 15, *speech])) == [Likely, Confirmed]


def test_the_callers_own_loud_voice_is_no_burst() -> None:
    loud, pause, soft = [(0.99, -10)] * 6, [(0.01, QUIET_DBFS)] * 8, [(0.99, -30)] * 3

    assert kinds(run([*ROOM, *loud, *pause, *soft])) == [Likely, Confirmed, Ended, Likely, Confirmed]


@pytest.mark.parametrize(("over_floor_db", "windows"), [(0, 3), (4, 3), (15, 6), (35, 6)])
def test_speech_buried_in_noise_needs_less_evidence(over_floor_db: int, windows: int) -> None:
    scene = [*[(0.01, QUIET_DBFS)] * 20, *[(0.8, QUIET_DBFS + over_floor_db)] * 10]

    assert [d.decided_ms for d in run(scene) if isinstance(d, Confirmed)] == [at(windows)]


def test_a_higher_threshold_is_slower_and_a_lower_one_quicker() -> None:
    scene = [*ROOM, (0.35, VOICE_DBFS), (0.6, VOICE_DBFS), (0.85, VOICE_DBFS), *[(0.97, VOICE_DBFS)] * 8]
    by_threshold = {
        threshold: [d.decided_ms for d in run(scene, replace(DEFAULTS, threshold=threshold))]
        for threshold in (0.3, 0.5, 0.7, 0.9)
    }

    assert [at_ms for at_ms, _ in by_threshold.values()] == [at(1), at(2), at(3), at(4)]
    confirmed = [at_ms for _, at_ms in by_threshold.values()]
    assert confirmed == sorted(confirmed)
    assert len(set(confirmed)) >= 3


def test_the_onset_is_where_the_model_began_to_rise_but_not_long_ago() -> None:
    rise = [*ROOM, (0.12, VOICE_DBFS), (0.3, VOICE_DBFS), (0.7, VOICE_DBFS)]
    assert run(rise) == [Likely(at(0) - 16, at(3))]

    slow = [*ROOM, *[(0.2, VOICE_DBFS)] * 40, (0.7, VOICE_DBFS)]
    assert run(slow) == [Likely(at(41) - LONGEST_RISE_MS, at(41))]


def test_the_onset_is_not_before_the_audio_began() -> None:
    assert run([(0.9, VOICE_DBFS)]) == [Likely(0.0, WINDOW_MS)]


def test_a_pause_within_speech_shorter_than_the_hangover_does_not_end_it() -> None:
    speech = [(0.99, VOICE_DBFS)] * 4
    pause = [(0.01, QUIET_DBFS)] * 7

    assert kinds(run([*ROOM, *speech, *pause, *speech, *pause, *speech])) == [Likely, Confirmed]


def test_windows_of_the_8_khz_model_are_as_good() -> None:
    scene = [*ROOM, *[(0.9, VOICE_DBFS)] * 10, *[(0.01, QUIET_DBFS)] * 8]

    assert run(scene, samples=256) == run(scene, samples=512)


def test_the_state_follows_the_last_decision() -> None:
    detector = Detector()
    scene = [(0.01, QUIET_DBFS), (0.9, VOICE_DBFS), (0.99, VOICE_DBFS), *[(0.01, QUIET_DBFS)] * 8]
    states = []
    for index, (probability, dbfs) in enumerate(scene, 1):
        detector.push(level_dbfs(window(dbfs)), probability, index * WINDOW_MS)
        states.append(detector.state)

    assert states == [State.QUIET, State.GUESSING, *[State.SPEAKING] * 8, State.QUIET]


@pytest.mark.parametrize("threshold", [0.15, 1.0, -1.0])
def test_a_threshold_that_can_not_work_is_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match="threshold"):
        DetectorSettings(threshold=threshold)


scenes = st.lists(
    st.tuples(st.sampled_from([0.0, 0.05, 0.2, 0.34, 0.4, 0.55, 0.7, 0.9, 0.99, 1.0]), st.integers(-90, 0))
    | st.tuples(st.floats(0, 1), st.integers(-90, 0)),
    max_size=80,
)
stretches = st.lists(st.tuples(scenes, st.integers(1, 12)), max_size=6).map(
    lambda parts: [each for scene, times in parts for each in scene[:12] for _ in range(times)]
)


@given(scenes | stretches)
def test_decisions_come_in_order_and_in_time(scene: list[tuple[float, int]]) -> None:
    """Likely, then Confirmed or Rejected within its limit; after Confirmed only Ended; times never run backwards."""
    allowed: dict[type | None, set[type]] = {
        None: {Likely},
        Likely: {Confirmed, Rejected},
        Rejected: {Likely},
        Confirmed: {Ended},
        Ended: {Likely},
    }
    before: Decision | None = None
    for decision in run(scene):
        assert type(decision) in allowed[type(before) if before else None]
        assert before is None or decision.decided_ms > before.decided_ms
        if isinstance(decision, Likely):
            assert 0 <= decision.onset_ms <= decision.decided_ms - WINDOW_MS
            assert decision.decided_ms - decision.onset_ms <= LONGEST_RISE_MS
        elif isinstance(decision, Ended):
            assert isinstance(before, Confirmed)
            assert before.decided_ms - WINDOW_MS < decision.at_ms < decision.decided_ms
        else:
            assert isinstance(before, Likely)
            assert decision.likely_ms == before.decided_ms
            assert decision.decided_ms - before.decided_ms <= DEFAULTS.longest_guess_ms
            assert not isinstance(decision, Confirmed) or decision.onset_ms == before.onset_ms
        before = decision


@given(scenes | stretches)
def test_the_short_way_for_silence_comes_to_the_same(scene: list[tuple[float, int]]) -> None:
    short, long = Detector(DEFAULTS), Detector(DEFAULTS)
    long._nothing = -1.0
    for index, (probability, dbfs) in enumerate(scene, 1):
        decisions = [detector.push(dbfs, probability, index * WINDOW_MS) for detector in (short, long)]

        assert decisions[0] == decisions[1]
        assert {**vars(short), "_floor": None} == {**vars(long), "_floor": None, "_nothing": short._nothing}


@given(scenes)
def test_no_guess_stays_open(scene: list[tuple[float, int]]) -> None:
    """Whatever came before and however the sound goes on, each guess is settled after its longest time."""
    decisions = run([*scene, *[(0.6, VOICE_DBFS)] * 20])

    open_since = decisions[-1].decided_ms if decisions and isinstance(decisions[-1], Likely) else None
    assert open_since is None or (len(scene) + 20) * WINDOW_MS - open_since < DEFAULTS.longest_guess_ms


def first_cut_ms(decisions: list[Decision]) -> float:
    return next((decision.decided_ms for decision in decisions if isinstance(decision, Confirmed)), inf)


bounded_scenes = (scenes | stretches).flatmap(
    lambda scene: st.lists(
        st.sampled_from([-inf, -20.0, -1.0, 0.0, 1.0, 2.0, 5.0, inf]), min_size=len(scene), max_size=len(scene)
    ).map(lambda bounds: list(zip(scene, bounds, strict=True)))
)


@given(bounded_scenes)
def test_the_cough_probe_never_adds_evidence(scene: list[tuple[tuple[float, int], float]]) -> None:
    """No cut comes that would not come without it, none comes earlier, and the first guess is the same."""
    windows, bounds = [window for window, _ in scene], [bound for _, bound in scene]
    without, bounded = run(windows), run(windows, bounds=bounds)

    assert first_cut_ms(bounded) >= first_cut_ms(without)
    assert bounded[:1] == without[:1]


@given(scenes | stretches)
def test_bounds_that_allow_everything_or_are_not_to_count_change_nothing(scene: list[tuple[float, int]]) -> None:
    without = run(scene)

    assert run(scene, bounds=[100.0] * len(scene)) == without
    assert run(scene, replace(DEFAULTS, ignore_coughs=False), bounds=[-inf] * len(scene)) == without


@pytest.mark.parametrize(
    ("bounds", "windows_to_confirm"),
    [
        ([inf] * 9, 2),
        ([5.0] * 9, 2),
        ([2.0] * 9, 4),
        ([0.5] * 9, None),
        ([-20.0] * 9, None),
        ([-20.0, -20.0, *[5.0] * 7], 4),
    ],
)
def test_a_sound_that_the_probe_doubts_pauses_at_once_and_cuts_when_the_doubt_allows(
    bounds: list[float], windows_to_confirm: int | None
) -> None:
    decisions = run([*ROOM, *[(0.99, VOICE_DBFS)] * 9], bounds=[inf] * len(ROOM) + bounds)

    assert decisions[0] == Likely(at(0) - 16, at(1))
    assert first_cut_ms(decisions) == (inf if windows_to_confirm is None else at(windows_to_confirm))


def test_a_long_cough_pauses_once() -> None:
    cough, pause = [(0.99, VOICE_DBFS)] * 40, [(0.01, QUIET_DBFS)] * 12
    scene = [*ROOM, *cough, *pause, *cough]

    assert kinds(run(scene, bounds=[-3.0] * len(scene))) == [Likely, Rejected, Likely, Rejected]


def test_speech_behind_a_cough_cuts() -> None:
    cough, speech = [(0.99, VOICE_DBFS)] * 30, [(0.99, VOICE_DBFS)] * 6
    bounds = [inf] * len(ROOM) + [-3.0] * len(cough) + [5.0] * len(speech)

    decisions = run([*ROOM, *cough, *speech], bounds=bounds)
    assert kinds(decisions) == [Likely, Rejected, Likely, Confirmed]
    assert first_cut_ms(decisions) == at(33)
