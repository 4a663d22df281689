"""The caller's recordings leave in whole frames, one after the other, with silence between."""

import numpy as np

from relay.standin.echo import EchoPath
from relay.standin.phone.lips import Lips
from relay.standin.sound import level_dbfs, mulaw_to_samples, samples_to_mulaw, tone


def test_recordings_are_said_one_after_the_other_without_a_hole() -> None:
    lips = Lips(5.0)
    one, two = lips.say(b"a" * 200), lips.say(b"b" * 100)
    frames = [lips.next_frame(5.0 + n * 0.02) for n in range(3)]
    assert b"".join(frames) == b"a" * 200 + b"b" * 100 + b"\xff" * 180
    assert (one.began_s, one.ended_s) == (5.0, 5.02)
    assert (two.began_s, two.ended_s) == (5.02, 5.02)


def test_silence_fills_frames_in_which_nothing_is_said() -> None:
    lips = Lips(5.0)
    assert lips.next_frame(5.0) == b"\xff" * 160


def test_the_time_between_streams_is_silence_in_what_was_said() -> None:
    lips = Lips(5.0)
    lips.say(b"a" * 160)
    lips.next_frame(5.0)
    lips.say(b"b" * 160)
    lips.next_frame(6.0)
    assert bytes(lips.said) == b"a" * 160 + b"\xff" * 7840 + b"b" * 160


def test_a_line_with_an_echo_brings_back_what_was_heard_later_and_weaker() -> None:
    lips = Lips(5.0)
    lips.echo = EchoPath(8000, delay_ms=40, loss_db=20)
    loud = samples_to_mulaw(tone(440, 0.02, 8000))
    frames = [lips.next_frame(5.0 + n * 0.02, loud) for n in range(4)]
    levels = [level_dbfs(mulaw_to_samples(frame)) for frame in frames]

    assert frames[:2] == [b"\xff" * 160] * 2
    assert all(-45 < level < -25 for level in levels[2:])
    assert bytes(lips.said) == b"".join(frames)


def test_the_caller_is_heard_over_the_echo() -> None:
    lips = Lips(5.0, echo=EchoPath(8000, delay_ms=0, loss_db=60))
    word = samples_to_mulaw(tone(440, 0.02, 8000))
    lips.say(word)
    frame = mulaw_to_samples(lips.next_frame(5.0, word)).astype(int)

    assert 0 < np.abs(frame - mulaw_to_samples(word)).max() < 500
