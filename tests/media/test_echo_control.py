"""Echoes are taken out from the first word on; a line without one is not touched."""

import sys
from itertools import pairwise
from unittest.mock import Mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.media.echo_canceller import DELAY_MS, RATE_HZ
from relay.media.echo_control import EchoControl, EchoFound, EchoGone, EchoMode, EchoState
from relay.media.echo_estimate import EchoEstimate
from relay.media.features import level_dbfs
from relay.media.resample import Samples
from relay.standin import phrases
from relay.standin.echo import EchoPath, mix

FRAME = RATE_HZ // 50
FAR = phrases.phrase("description").samples
QUESTION = phrases.phrase("question").samples
SILENCE: Samples = np.zeros(RATE_HZ, np.int16)
LOUD: Samples = np.random.default_rng(5).normal(0, 3000, 4 * RATE_HZ).astype(np.int16)
"""Noise, of which each moment is as good as the other to look for an echo."""
News = EchoFound | EchoGone


def hiss(samples: int) -> Samples:
    noise: Samples = np.random.default_rng(3).normal(0, 12, samples).astype(np.int16)
    return noise


def frames(near: Samples, far: Samples, control: EchoControl) -> tuple[Samples, list[News]]:
    """What comes out of 20 ms frames, and what is told."""
    cleaned, news = [], []
    for at in range(0, min(len(near), len(far)) // FRAME * FRAME, FRAME):
        cleaned.append(control.push(near[at : at + FRAME], far[at : at + FRAME]))
        if control.news is not None:
            news.append(control.news)
    return np.concatenate(cleaned), news


def echo_of(far: Samples, loss_db: float, delay_ms: float, drive: float = 0.0) -> Samples:
    return mix(hiss(len(far)), EchoPath(RATE_HZ, delay_ms=delay_ms, loss_db=loss_db, drive=drive).push(far))


@pytest.mark.parametrize("delay_ms", [50, 300, 700])
@pytest.mark.parametrize("loss_db", [10, 25])
def test_an_echo_is_told_once_and_taken_out(loss_db: int, delay_ms: int) -> None:
    near = echo_of(FAR, loss_db, delay_ms)

    cleaned, news = frames(near, FAR, EchoControl("auto"))

    (found,) = news
    assert isinstance(found, EchoFound)
    assert found.delay_ms == pytest.approx(delay_ms, abs=5)
    assert found.loss_db == pytest.approx(loss_db, abs=6)
    settled = 8 * RATE_HZ
    assert level_dbfs(cleaned[settled:]) <= level_dbfs(near[settled:]) - min(20, 40 - loss_db)


def test_before_an_echo_is_certain_the_detector_already_hears_less_of_it() -> None:
    """The assistant gets only what is certain."""
    near, control = echo_of(FAR, 15, 180), EchoControl("auto")
    doubted = []
    for at in range(0, 4 * RATE_HZ, FRAME):
        cleaned = control.push(near[at : at + FRAME], FAR[at : at + FRAME])
        if control.state is EchoState.DOUBT:
            doubted.append((level_dbfs(near[at : at + FRAME]), level_dbfs(cleaned), control.for_assistant))

    assert doubted
    assert all(after < max(before - 6, -55) and not given for before, after, given in doubted)


def test_while_the_caller_is_quiet_nothing_is_compared_and_then_the_line_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    control, compare = EchoControl("auto"), Mock(return_value=0)
    monkeypatch.setattr(EchoEstimate, "push", compare)

    frames(hiss(2 * RATE_HZ), FAR, control)

    compare.assert_not_called()
    assert control.state is EchoState.RESTING


@pytest.mark.parametrize("mode", ["auto", "on"])
@pytest.mark.parametrize("delay_ms", [50, 700])
def test_an_echo_of_what_was_said_before_it_was_loud_is_found_at_once(delay_ms: int, mode: EchoMode) -> None:
    near, control = echo_of(LOUD, 15, delay_ms), EchoControl(mode)

    for at in range(0, len(near) - FRAME, FRAME):
        control.push(near[at : at + FRAME], LOUD[at : at + FRAME])
        if isinstance(control.news, EchoFound):
            break

    assert at / RATE_HZ * 1000 < delay_ms + 250


@pytest.mark.parametrize(
    "near",
    [QUESTION, np.concatenate((SILENCE, SILENCE, QUESTION)), hiss(5 * RATE_HZ)],
    ids=["at once", "later", "hiss"],
)
def test_without_an_echo_the_assistant_never_gets_anything_else(near: Samples) -> None:
    near = np.resize(near, len(FAR))
    control, given = EchoControl("auto"), False
    for at in range(0, len(FAR) // FRAME * FRAME, FRAME):
        frame = near[at : at + FRAME]
        heard = control.push(frame, FAR[at : at + FRAME])
        given = given or control.for_assistant
        assert heard is frame or control.state is EchoState.DOUBT

    assert not given


def test_a_caller_who_waits_for_a_second_of_the_assistant_is_heard_untouched() -> None:
    near, control = np.concatenate((SILENCE, SILENCE, QUESTION)), EchoControl("auto")

    assert np.array_equal(frames(near, FAR, control)[0], near[: len(near) // FRAME * FRAME])


def test_a_caller_is_heard_over_an_echo_that_was_found() -> None:
    near = echo_of(FAR, 15, 180)
    speaks = slice(10 * RATE_HZ, 10 * RATE_HZ + len(QUESTION))
    near[speaks] = mix(near[speaks], QUESTION)

    cleaned, _ = frames(near, FAR, EchoControl("auto"))

    assert level_dbfs(cleaned[speaks]) > level_dbfs(QUESTION) - 6


def test_an_echo_that_is_gone_is_told_and_the_canceller_goes_off() -> None:
    half = len(FAR) // 2
    near = echo_of(FAR, 15, 180)
    near[half:] = hiss(len(near) - half)
    control = EchoControl("auto")

    cleaned, news = frames(near, FAR, control)

    assert [type(event) for event in news] == [EchoFound, EchoGone]
    assert not control.is_on
    assert np.array_equal(cleaned[-RATE_HZ:], near[: len(cleaned)][-RATE_HZ:])


def test_an_echo_that_is_gone_is_not_found_again_when_the_caller_speaks() -> None:
    """While the caller is silent nothing is compared, so nothing that was found is forgotten by that."""
    far = np.concatenate((FAR, FAR))
    quiet = echo_of(FAR[: 3 * RATE_HZ], 15, 180)
    near = np.concatenate((quiet, np.zeros(8 * RATE_HZ, np.int16), QUESTION))

    _, news = frames(near, far, EchoControl("auto"))

    assert [type(event) for event in news] == [EchoFound, EchoGone]


@pytest.mark.parametrize("mode", ["auto", "on", "off"])
def test_only_auto_waits_for_an_echo(mode: EchoMode) -> None:
    control = EchoControl(mode)
    frame = QUESTION[:FRAME]

    assert (control.push(frame, SILENCE[:FRAME]) is frame) == (mode != "on")
    assert control.for_assistant == (mode == "on")


def test_a_sound_comes_out_of_the_canceller_later_by_its_delay() -> None:
    click = np.zeros(RATE_HZ, np.int16)
    click[4000] = 20000

    cleaned = EchoControl("on").push(click, SILENCE)

    assert int(np.argmax(np.abs(cleaned))) == 4000 + DELAY_MS * RATE_HZ / 1000


@settings(max_examples=20)
@given(st.lists(st.integers(0, 900), max_size=20))
def test_chunking_changes_nothing_of_what_the_canceller_gives(sizes: list[int]) -> None:
    edges = np.cumsum([0, *sizes])
    near, far = QUESTION[: edges[-1]], FAR[: edges[-1]]
    chunked, at_once = EchoControl("on"), EchoControl("on")
    pieces = [chunked.push(near[a:b], far[a:b]) for a, b in pairwise(edges)]

    cleaned = np.concatenate((SILENCE[:0], *pieces))
    assert len(cleaned) == len(near) // 160 * 160
    assert cleaned.tolist() == at_once.push(near, far).tolist()


def test_two_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="320 samples"):
        EchoControl("auto").push(SILENCE[:320], SILENCE[:160])


def test_without_the_library_a_bar_on_the_level_silences_the_echo_for_the_detector_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "pywebrtc_audio", None)
    near, control = echo_of(FAR, 20, 180), EchoControl("auto")

    cleaned, news = frames(near, FAR, control)

    assert [(type(event), event.has_canceller) for event in news if isinstance(event, EchoFound)] == [
        (EchoFound, False)
    ]
    assert level_dbfs(cleaned[3 * RATE_HZ :]) < level_dbfs(near[3 * RATE_HZ :]) - 15
    assert not control.for_assistant
    assert control.is_on


@pytest.mark.parametrize("mode", ["auto", "on"])
def test_without_the_library_a_line_without_an_echo_is_not_touched(
    mode: EchoMode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pywebrtc_audio", None)
    near, control = np.resize(QUESTION, len(FAR)), EchoControl(mode)

    assert np.array_equal(frames(near, FAR, control)[0], near[: len(near) // FRAME * FRAME])
    assert not control.for_assistant
