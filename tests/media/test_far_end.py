"""What was played while the caller was recorded is known, whatever the jitter, and after a loss."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.media.far_end import KEPT_S, FarEnd
from relay.media.frames import TELEPHONE

FRAME_S = 0.02
SILENCE = b"\xff" * 160


def word(n: int) -> bytes:
    return bytes([n % 251]) * 160


def far_end(words: int, *, at: float = 10.0) -> FarEnd:
    """So many frames are sent from this time on, the first six at once, as the lead allows."""
    end = FarEnd(TELEPHONE)
    for n in range(words):
        end.sent(word(n), at + max(0, n - 5) * FRAME_S)
    return end


def test_frames_are_played_one_after_the_other_from_the_first_one_on() -> None:
    end = far_end(10)

    assert [end.played(160, 10.0 + n * FRAME_S) for n in range(12)] == [
        None,
        *(word(n) for n in range(10)),
        None,
    ]


def test_what_is_sent_later_begins_when_it_is_sent() -> None:
    end = far_end(1)
    end.sent(word(7), 10.03)

    assert end.played(480, 10.06) == word(0) + SILENCE[:80] + word(7) + SILENCE[:80]


def test_a_clear_ends_what_is_played_at_once() -> None:
    end = far_end(10)
    end.cleared(10.03)
    end.sent(word(99), 10.05)

    assert end.played(640, 10.08) == word(0) + word(1)[:80] + SILENCE + word(99) + SILENCE[:80]


def test_jitter_of_the_callers_frames_moves_nothing() -> None:
    end, dice = far_end(200), random.Random(1)
    end.played(160, 10.02)

    got = [end.played(160, 10.02 + n * FRAME_S + dice.uniform(0, 0.4)) for n in range(1, 200)]

    assert got == [word(n) for n in range(1, 200)]


def test_a_first_frame_that_came_late_is_made_up_for_by_the_next() -> None:
    end = far_end(10)
    end.played(160, 10.10)

    assert end.played(160, 10.04) == word(1)


@given(st.lists(st.sampled_from(["frame", "frame", "half", "clear", "pause", "none"]), max_size=120))
def test_it_says_what_a_plain_record_of_each_sample_says(steps: list[str]) -> None:
    """At each step something is sent, or cleared, or much time passes; then the caller's next 20 ms come, in time."""
    end, record, now, next_free = FarEnd(TELEPHONE), dict[int, int](), 80_000, 0
    for number, step in enumerate(steps):
        sent_at = now + number * 7 % 160
        match step:
            case "frame" | "half":
                data = word(number + 1)[: 160 if step == "frame" else 80]
                end.sent(data, sent_at / 8000)
                next_free = max(next_free, sent_at)
                record.update((next_free + at, sample) for at, sample in enumerate(data))
                next_free += len(data)
            case "clear":
                end.cleared(sent_at / 8000)
                record = {at: sample for at, sample in record.items() if at < sent_at}
                next_free = min(next_free, sent_at)
            case "pause":
                end.new_stream()
                now += 4000
        now += 160
        played = [record.get(at) for at in range(now - 160, now)]
        heard = None if set(played) == {None} else bytes(0xFF if it is None else it for it in played)
        assert end.played(160, now / 8000) == heard


def test_missing_frames_were_recorded_too() -> None:
    end = far_end(10)
    end.played(160, 10.02)

    assert end.played(480, 10.08) == word(1) + word(2) + word(3)


def test_time_that_passes_without_audio_and_without_a_number_is_found_out_within_a_second_or_two() -> None:
    end = far_end(250)
    before = [end.played(160, 10.02 + n * FRAME_S) for n in range(50)]
    after = [end.played(160, 10.12 + n * FRAME_S) for n in range(50, 200)]

    assert before[-1] == word(49)
    assert after[0] == word(50)
    assert after[110:] == [word(n + 5) for n in range(160, 200)]


@pytest.mark.parametrize("ppm", [-200, 200])
def test_a_clock_that_drifts_is_followed(ppm: int) -> None:
    """Five minutes, over which the two clocks part by 60 ms."""
    end = far_end(6)
    apart = set()
    for n in range(15000):
        end.sent(word(n + 6), 10 + n * FRAME_S)
        recorded = n * (1 + ppm / 1e6)
        played = end.played(160, 10 + (recorded + 1) * FRAME_S)
        assert played is not None
        apart.add((round(recorded) - played[80] + 125) % 251 - 125)

    assert apart <= {-1, 0, 1}


def test_a_new_stream_begins_anew() -> None:
    end = far_end(100)
    end.played(160, 10.02)
    end.new_stream()

    assert end.played(160, 10.62) == word(30)


def test_what_nobody_asks_for_is_forgotten_after_a_minute() -> None:
    end = far_end(5000)

    assert end.played(160, 10.02) is None


def test_nothing_that_was_sent_keeps_what_follows_it_in_memory() -> None:
    end = FarEnd(TELEPHONE)
    end.sent(b"", 9.0)
    for n in range(5000):
        end.sent(word(n), 10.0 + n * FRAME_S)
        end.played(160, 10.02 + n * FRAME_S)

    assert sum(len(run.sound) for run in end._runs) <= 3 * KEPT_S * TELEPHONE.rate_hz
