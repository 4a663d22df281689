"""A queue of frames whose older ones are kept as what they were made of."""

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from relay.logic.assistant.kept_frames import PAGE_FRAMES, KeptFrames


def made(before: bytes, original: bytes) -> bytes:
    """A stream in which each frame tells of the one before, as that of a resampler does."""
    return before[-1:] + original + b"made"


def original(number: int) -> bytes:
    return number.to_bytes(2)


Steps = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 30)),
        st.tuples(st.just("cut"), st.integers(1, 3)),
        st.tuples(st.just("pop"), st.integers(1, 30)),
    ),
    max_size=25,
)


@given(Steps)
def test_any_frame_is_read_as_it_came_at_any_time(steps: list[tuple[str, int]]) -> None:
    """ "cut": frames without an original, such as those that were cleaned of noise."""
    kept, expected, number = KeptFrames(made), list[bytes](), 0
    for step, count in steps:
        for _ in range(count):
            if step == "pop":
                if expected:
                    kept.popleft()
                    expected.pop(0)
                continue
            number += 1
            follows = step == "append"
            frame = made(original(number - 1), original(number)) if follows else b"cleaned" + original(number)
            kept.append(frame, original(number) if follows else None)
            expected.append(frame)
        assert len(kept) == len(expected)
        assert [kept[place] for place in range(len(kept))] == expected


def test_without_a_way_to_make_them_again_frames_are_kept_as_they_came() -> None:
    kept = KeptFrames()
    for number in range(50):
        kept.append(made(b"", original(number)), original(number))

    assert [kept[place] for place in range(50)] == [made(b"", original(number)) for number in range(50)]


def test_the_newest_frames_are_not_made_twice_and_of_older_ones_each_when_it_is_read() -> None:
    asked: list[bytes] = []

    def remake(before: bytes, after: bytes) -> bytes:
        asked.append(after)
        return made(before, after)

    kept = KeptFrames(remake)
    for number in range(30):
        kept.append(made(original(number - 1) if number else b"", original(number)), original(number))
        assert kept[len(kept) - 1]
        assert kept[max(0, len(kept) - PAGE_FRAMES)]
    assert asked == []

    assert [kept[place] for place in (3, 15)] == [made(original(n - 1), original(n)) for n in (3, 15)]
    assert asked == [original(3), original(15)]


def test_ten_seconds_take_the_room_of_their_originals() -> None:
    """And but for the newest two pages, and the objects of the others, no more."""
    tracemalloc.start()
    try:
        kept, before = KeptFrames(lambda _, after: after * 4), tracemalloc.get_traced_memory()[0]
        for number in range(500):
            kept.append(number.to_bytes(2) * 320, number.to_bytes(2) * 80)
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()

    assert taken < 500 * 160 + 2 * PAGE_FRAMES * (640 + 33 + 33) + 500 // PAGE_FRAMES * 50 + 1500
