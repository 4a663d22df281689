"""What a canceller leaves is weakened where it is echo, and a caller who drowns the echo is heard untouched."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.media.echo_residue import BLOCK, EARLY_BLOCKS, FADED_BY_MAX_DB, LATE_BLOCKS, EchoResidue
from relay.media.features import level_dbfs
from relay.media.resample import Samples

AROUND = EARLY_BLOCKS + LATE_BLOCKS
LOSS_DB = 20.0
SILENT = -90.0


def tone(dbfs: float, blocks: int = 1) -> Samples:
    """Of whole periods in each block."""
    size = 10 ** (dbfs / 20) * 32768 * 2**0.5
    wave: Samples = (size * np.sin(2 * np.pi * 3 * np.arange(BLOCK * blocks) / BLOCK)).astype(np.int16)
    return wave


def settled(residue: EchoResidue, *, heard: float, cleaned: float, played: float = SILENT, blocks: int = 50) -> float:
    """The level of the last block of as many at these levels."""
    out = residue.push(tone(heard, blocks), tone(cleaned, blocks), tone(played, blocks + AROUND))
    assert len(out) == blocks * BLOCK
    return level_dbfs(out[-BLOCK:])


@pytest.mark.parametrize(
    ("removed_db", "weaker_db"), [(0, 0), (5, 0), (10, 0), (16, 6), (28, FADED_BY_MAX_DB), (34, FADED_BY_MAX_DB)]
)
def test_the_rest_of_an_echo_is_weakened_by_what_was_taken_away(removed_db: float, weaker_db: float) -> None:
    left = settled(EchoResidue(LOSS_DB), heard=-20, cleaned=-20 - removed_db, played=0)

    assert left == pytest.approx(-20 - removed_db - weaker_db, abs=0.6)


@pytest.mark.parametrize(("heard", "is_untouched"), [(-10, True), (-18, True), (-28, False), (-40, False)])
def test_what_is_clearly_louder_than_the_echo_can_be_is_heard_as_it_came(heard: float, *, is_untouched: bool) -> None:
    """-16 dBFS was played, so the echo has at most -30 or so, and the canceller takes 9 dB of the caller away."""
    left = settled(EchoResidue(LOSS_DB), heard=heard, cleaned=heard - 9, played=-16)

    assert left == pytest.approx(heard if is_untouched else heard - 9, abs=3.5 if heard == -18 else 0.5)


def test_without_a_loss_nothing_is_mixed_in() -> None:
    assert settled(EchoResidue(), heard=-10, cleaned=-19) == pytest.approx(-19, abs=0.1)


def test_what_the_canceller_takes_for_echo_stays_out_however_loud_it_is() -> None:
    """The caller's telephone has become louder by 20 dB."""
    assert settled(EchoResidue(LOSS_DB), heard=-16, cleaned=-40, played=-16) < -50


def test_how_loud_an_echo_is_is_learnt() -> None:
    """One 12 dB louder than its loss says is no caller, when the canceller then takes less of it away."""
    learnt, new = EchoResidue(LOSS_DB), EchoResidue(LOSS_DB)
    settled(learnt, heard=-18, cleaned=-36, played=-16, blocks=100)

    levels = [settled(residue, heard=-18, cleaned=-24, played=-16, blocks=2) for residue in (learnt, new)]

    assert levels[0] < levels[1] - 3


def test_an_echo_outlives_what_was_played_by_the_time_a_room_needs() -> None:
    residue = EchoResidue(LOSS_DB)
    settled(residue, heard=-34, cleaned=-60, played=-16)
    after_50_ms = settled(residue, heard=-40, cleaned=-48, blocks=5)
    after_a_second = settled(residue, heard=-40, cleaned=-48, blocks=100)

    assert after_50_ms == pytest.approx(-48, abs=1)
    assert after_a_second == pytest.approx(-40, abs=0.1)


@pytest.mark.parametrize(("cleaned", "is_explained"), [(-21, False), (-30, True), (-80, True)])
def test_an_echo_explains_what_is_heard_if_most_of_it_is_taken_away(cleaned: float, *, is_explained: bool) -> None:
    residue = EchoResidue()
    settled(residue, heard=-20, cleaned=cleaned)

    assert residue.is_explained == is_explained


@given(st.lists(st.integers(0, 6), max_size=8), st.integers(0, 99))
def test_chunking_changes_nothing(sizes: list[int], seed: int) -> None:
    random = np.random.default_rng(seed)
    heard, cleaned, played = (
        (random.normal(0, 1, (sum(sizes) + more) * BLOCK) * 10 ** random.uniform(1, 4)).clip(-32768, 32767)
        for more in (0, 0, AROUND)
    )
    sounds = [sound.astype(np.int16) for sound in (heard, cleaned, played)]
    whole, chunked, at = EchoResidue(LOSS_DB), EchoResidue(LOSS_DB), 0
    pieces = [sounds[0][:0]]
    for size in sizes:
        start, end = at * BLOCK, (at + size) * BLOCK
        pieces.append(chunked.push(sounds[0][start:end], sounds[1][start:end], sounds[2][start : end + AROUND * BLOCK]))
        at += size

    assert np.concatenate(pieces).tolist() == whole.push(*sounds).tolist()
