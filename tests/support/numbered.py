"""Audio whose every byte pair says which frame it belongs to, so that what was heard can be read off to the byte."""

from collections import Counter
from itertools import groupby, pairwise

FRAME_BYTES = 160
PAIRS = FRAME_BYTES // 2


def numbered(first: int, count: int) -> bytes:
    """Loud mu-law frames `first`, `first + 1`, ...; numbers under 4096. No byte of them is silence."""
    return b"".join(bytes((n // 64, 0x80 + n % 64)) * PAIRS for n in range(first, first + count))


def heard_pairs(heard: bytes) -> list[int]:
    """The frame number of every byte pair in what was heard, silence left out."""
    found, high = [], 0
    for byte in heard:
        if byte < 0x80:
            high = byte
        elif byte < 0xC0:
            found.append(high * 64 + byte - 0x80)
    return found


def heard_frames(heard: bytes) -> list[tuple[int, int]]:
    """Runs of (frame number, byte pairs heard of it), in order."""
    return [(number, len(list(run))) for number, run in groupby(heard_pairs(heard))]


def whole_and_in_order(heard: bytes, first: int, count: int, *, repeated_frames: int = 0) -> bool:
    """Whether all of these frames were heard to the last byte, and no more than so many pairs of them twice."""
    pairs = heard_pairs(heard)
    counts = dict.fromkeys(range(first, first + count), 0)
    for number in pairs:
        counts[number] = counts.get(number, 0) + 1
    complete = all(counts[number] >= PAIRS for number in range(first, first + count))
    extra = len(pairs) - count * PAIRS
    return complete and 0 <= extra <= repeated_frames * PAIRS and backward_steps(pairs) <= repeated_frames


def backward_steps(pairs: list[int]) -> int:
    """How often what was heard went back to an earlier frame, or began one again."""
    runs = [(number, len(list(run))) for number, run in groupby(pairs)]
    back = sum(1 for (now, _), (then, _) in pairwise(runs) if then < now)
    return back + sum(1 for _, length in runs if length > PAIRS)


def heard_twice_ms(heard: list[list[int]]) -> list[float]:
    """For each stream after the first: what of it had been heard already, to the pair of samples."""
    before: Counter[int] = Counter()
    twice = []
    for pairs in heard:
        now = Counter(pairs)
        twice.append(sum(max(0, min(count, before[n] + count - PAIRS)) for n, count in now.items()) / 4)
        before += now
    return twice[1:]
