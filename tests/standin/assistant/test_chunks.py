"""Messages of audio have the sizes of a recorded call, the same for the same seed."""

from relay.media.frames import TELEPHONE, WIDEBAND
from relay.standin.assistant.chunks import Chunks


def test_irregular_mulaw_has_the_recorded_sizes_and_never_160_bytes() -> None:
    chunks = Chunks(TELEPHONE, "irregular", seed=1)
    sizes = [chunks.next_bytes() for _ in range(2000)]
    assert set(sizes) == {170, 185, 186, 371, 372, 557, 558, 743}
    assert 330 < sum(sizes) / len(sizes) < 410  # about 46 ms


def test_irregular_pcm_often_ends_in_the_middle_of_a_sample() -> None:
    chunks = Chunks(WIDEBAND, "irregular", seed=1)
    odd = [chunks.next_bytes() % 2 for _ in range(1000)]
    assert 300 < sum(odd) < 700


def test_the_same_seed_gives_the_same_sizes() -> None:
    one, other = (Chunks(TELEPHONE, "irregular", seed=7) for _ in range(2))
    assert [one.next_bytes() for _ in range(50)] == [other.next_bytes() for _ in range(50)]


def test_even_chunks_are_frames() -> None:
    assert {Chunks(WIDEBAND, "even", seed=1).next_bytes() for _ in range(9)} == {640}
