from relay.logic.playback.frame import PlayFrame
from relay.logic.playback.held import MAX_HELD_FRAMES, Held

SOUND, SILENCE = PlayFrame(2, b"s", audible=True), PlayFrame(2, b".", audible=False)


def held(*pauses_s: float) -> Held:
    result = Held()
    for pause_s in pauses_s:
        result.add(SOUND, pause_s)
    return result


def test_the_longest_pause_and_the_last_are_found() -> None:
    runs = held(0.0, 0.3, 0.0, 0.5, 0.0, 0.25, 0.0, 0.19)

    assert (runs.longest_pause_s, runs.after_longest, runs.after_last) == (0.5, 3, 5)


def test_of_two_equal_pauses_the_later_counts() -> None:
    assert held(0.4, 0.0, 0.4).after_longest == 2


def test_without_a_pause_between_words_nothing_begins() -> None:
    runs = held(0.0, 0.19)
    runs.add(SILENCE, 5.0)

    assert (runs.longest_pause_s, runs.after_longest, runs.after_last) == (0.0, None, None)


def test_forgotten_pauses_leave_the_frames() -> None:
    runs = held(0.5, 0.0)
    runs.forget_pauses()

    assert (runs.after_longest, runs.after_last, len(runs.frames)) == (None, None, 2)


def test_a_flood_is_bounded_and_counted_and_gives_no_start() -> None:
    runs = held(0.5, *[0.0] * (MAX_HELD_FRAMES + 9))

    assert (len(runs.frames), runs.overflow) == (MAX_HELD_FRAMES, 10)
    assert (runs.after_longest, runs.after_last) == (None, None)
