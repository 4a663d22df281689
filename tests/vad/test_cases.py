"""Cases: what a detector hears of a recording and of its clips, and which of its starts count."""

import numpy as np
import pytest

from relay.media import g711
from relay.media.sound import Sound
from relay.vad.cases import ALONE, BEHIND_SPEECH, WHOLE, Case, Group, clips, line_noise, on_the_way, whole
from relay.vad.evaluation import Recording
from relay.vad.sound import Route

VOICE = Sound(np.full(8000, 1000, np.int16), 8000)
OTHER_VOICE = Sound(np.full(16000, 2000, np.int16), 8000)
COUGHS = Recording("coughs.wav", 4.0, "cough", [(2.5, 3.0)], clips=[(0.0, 1.5), (1.5, 4.0)])
SOUND = Sound(np.repeat(np.array([100, 200], np.int16), [12000, 20000]), 8000)


def levels(case: Case) -> list[tuple[int, int]]:
    """The steps of a stream of steps, as (level, samples). The noise of the line is no step."""
    samples = case.sound().samples.astype(int)
    return [(level, int(np.sum(samples == level))) for level in sorted(set(samples.tolist())) if abs(level) >= 100]


@pytest.fixture
def cases() -> list[Case]:
    return list(clips(COUGHS, SOUND, [VOICE, OTHER_VOICE]))


def heard(level: int) -> int:
    return int(g711.decode(g711.encode(np.array([level], np.int16)))[0])


def test_each_clip_is_heard_alone_and_behind_speech_in_each_phase(cases: list[Case]) -> None:
    assert [(case.recording.file, case.group.condition) for case in cases] == [
        (f"coughs.wav#{clip}", condition) for clip in (0, 1) for _ in range(2) for condition in (ALONE, BEHIND_SPEECH)
    ]
    assert len({case.name for case in cases}) == len(cases)


def test_the_voices_take_turns_and_nothing_of_another_clip_is_heard(cases: list[Case]) -> None:
    first, second = heard(100), heard(200)

    assert [levels(case) for case in cases] == [
        [(level, samples), *voice]
        for level, samples in ((first, 12000), (second, 20000))
        for voice in ([], [(heard(1000), 8000)], [], [(heard(2000), 16000)])
    ]


def test_the_stretch_that_is_judged_begins_with_the_clip_in_every_phase(cases: list[Case]) -> None:
    for case in cases:
        samples = case.sound().samples
        clip = samples[round(case.from_s * 8000) :]

        assert len(clip) == round(case.recording.duration_s * 8000)
        assert set(clip.tolist()) in ({heard(100)}, {heard(200)})

    assert [round(case.from_s * 1000) for case in cases[:4]] == [0, 2000, 16, 3016]


def test_labels_of_a_clip_count_from_its_start(cases: list[Case]) -> None:
    assert [case.recording.speech for case in cases[::4]] == [[], [(1.0, 1.5)]]
    assert [case.recording.clips for case in cases] == [[]] * 8


def test_only_starts_within_the_stretch_count(cases: list[Case]) -> None:
    behind = cases[1]

    assert behind.trial([1990, 2000, 2500, 3500, 3501]).starts_s == pytest.approx([0.0, 0.5, 1.5])


def test_a_whole_recording_is_heard_in_four_phases_on_its_route() -> None:
    cases = list(whole(COUGHS, SOUND, Route.WIDEBAND))

    assert [case.group for case in cases] == [Group("cough", "coughs", "PCM 16 kHz", WHOLE)] * 4
    assert [case.from_s for case in cases] == pytest.approx([0.0, 0.008, 0.016, 0.024])
    assert [len(case.sound().samples) for case in cases] == [64000 + 128 * phase for phase in range(4)]
    assert {case.sound().rate_hz for case in cases} == {16000}


def test_the_telephone_carries_mu_law() -> None:
    samples = np.arange(-4000, 4000, dtype=np.int16)
    carried = on_the_way(Sound(samples, 8000), Route.TELEPHONE)

    assert carried.samples.tolist() == g711.decode(g711.encode(samples)).tolist()
    assert on_the_way(Sound(samples, 8000), Route.AS_IT_IS).samples is samples


def test_a_quiet_line_is_the_same_each_time_and_quiet() -> None:
    noise = line_noise(1.0, 8000)

    assert noise.tolist() == line_noise(1.0, 8000).tolist()
    assert 15 < np.std(noise) < 25
