"""The caller's recordings leave in whole frames, one after the other, with silence between."""

from relay.standin.phone.lips import Lips


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
