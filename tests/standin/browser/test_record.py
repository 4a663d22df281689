"""A browser keeps every message once, plays nothing late, and knows how much of each turn was heard."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.media.frames import AudioFormat, Encoding
from relay.standin.browser.record import (
    BrowserOptions,
    BrowserPlayback,
    BrowserRecord,
    BrowserRefused,
    HeardFrame,
    Ready,
    newer,
)


def frame(n: int, turn: int = 1, *, late: bool = False) -> HeardFrame:
    return HeardFrame(n, turn, f"{n} ".encode(), at_s=n / 50, late=late)


def test_the_start_says_which_audio_comes_and_who_asks() -> None:
    hd = BrowserOptions(AudioFormat(Encoding.PCM_F32LE, 48_000, 2), token="t")

    assert hd.start() == {"type": "start", "sampleRate": 48000, "channels": 2, "encoding": "pcm_f32le", "token": "t"}
    assert "token" not in BrowserOptions().start()


def test_the_answer_to_start_is_read() -> None:
    message = {"type": "ready", "sessionId": "s", "token": "t", "resume": "r", "sampleRate": 16000}

    assert Ready.of(message) == Ready("s", "t", "r", 16000, None)
    assert Ready.of({**message, "next": 7}).next == 7


def test_no_secret_is_shown() -> None:
    shown = repr((BrowserOptions(token="secret-1"), Ready("s", "secret-2", "secret-3", 16000)))

    assert "secret" not in shown


def test_a_refusal_has_the_relays_code() -> None:
    refused = BrowserRefused("FULL", "no room")

    assert (refused.code, str(refused)) == ("FULL", "FULL: no room")


@given(st.lists(st.integers(1, 20), max_size=40))
def test_a_message_counts_once_however_often_it_comes(numbers: list[int]) -> None:
    record = BrowserRecord()
    for n in numbers:
        if n % 3:
            record.take_audio(frame(n))
        else:
            record.take_text({"type": "final", "n": n}, 0.0)
    kept = sorted([*(frame.n for frame in record.frames), *(message["n"] for message in record.messages)])

    assert kept == sorted(set(kept))
    assert record.cursor == max(numbers, default=0)


def test_audio_is_played_when_it_is_new_and_not_late() -> None:
    record = BrowserRecord()

    assert [record.take_audio(one) for one in (frame(1), frame(1), frame(2, late=True), frame(3))] == [
        *(True, False, False, True)
    ]
    assert record.heard() == b"1 3 "


def test_the_audio_of_one_turn_can_be_had() -> None:
    record = BrowserRecord()
    for one in (frame(1, 1), frame(2, 2), frame(3, 2, late=True), frame(4, 2)):
        record.take_audio(one)

    assert record.heard(2) == b"2 4 "


def test_an_interruption_fences_its_turn_and_all_before_it_and_its_first_time_counts() -> None:
    record = BrowserRecord()
    for n, (turn, at_s) in enumerate([(2, 1.0), (1, 2.0), (2, 3.0)], start=1):
        record.take_text({"type": "interrupt", "turn": turn, "n": n}, at_s)

    assert record.fence == 2
    assert record.interrupted_at_s == {2: 1.0, 1: 2.0}


def test_a_message_without_a_number_is_always_kept() -> None:
    record = BrowserRecord()
    for _ in range(2):
        record.take_text({"type": "error", "code": "X"}, 0.0)

    assert len(record.messages) == 2
    assert record.cursor == 0


def played(*pieces: tuple[int, float, float]) -> BrowserPlayback:
    """Turn, seconds of audio, and when it came."""
    playback = BrowserPlayback()
    for turn, duration_s, at_s in pieces:
        playback.play(turn, duration_s, at_s)
    return playback


@pytest.mark.parametrize(
    ("pieces", "now_s", "heard_ms"),
    [
        ([], 5.0, {}),
        ([(1, 1.0, 10.0)], 10.0, {}),
        ([(1, 1.0, 10.0)], 10.4, {1: 400}),
        ([(1, 1.0, 10.0)], 20.0, {1: 1000}),
        ([(1, 1.0, 10.0), (2, 1.0, 10.5)], 11.25, {1: 1000, 2: 250}),
        ([(1, 1.0, 10.0), (1, 1.0, 15.0)], 15.5, {1: 1500}),
    ],
)
def test_audio_is_heard_at_its_own_speed_one_piece_after_the_other(
    pieces: Sequence[tuple[int, float, float]], now_s: float, heard_ms: dict[int, int]
) -> None:
    assert played(*pieces).heard_ms(now_s) == heard_ms


def test_what_was_to_sound_after_its_interruption_is_never_heard() -> None:
    playback = played((1, 1.0, 10.0), (2, 1.0, 10.5))
    playback.interrupt(2, 11.5)

    assert playback.heard_ms(20.0) == {1: 1000, 2: 500}


def test_a_new_turn_sounds_at_once_after_an_interruption() -> None:
    playback = played((1, 5.0, 10.0))
    playback.interrupt(1, 10.5)
    playback.play(2, 1.0, 10.6)

    assert playback.heard_ms(11.1) == {1: 500, 2: 500}


def test_an_interruption_leaves_the_turns_after_it_alone() -> None:
    playback = played((1, 1.0, 10.0), (2, 1.0, 10.1))
    playback.interrupt(1, 10.5)

    assert playback.heard_ms(20.0) == {1: 500, 2: 1000}


def test_only_what_has_grown_is_worth_a_report() -> None:
    assert list(newer({1: 1000, 2: 250, 3: 0}, {1: 1000, 2: 200})) == [(2, 250)]
