"""Huge pages: what is loaded moves into them where Linux can do that, and stays what it is."""

import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from relay.daemon.huge_pages import HUGE_PAGE_BYTES, huge_pages

CODE = f"""
from pathlib import Path

from relay.daemon.huge_pages import move_to_huge_pages


def moved_bytes() -> int:
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("AnonHugePages:"))


kept = [bytes([n % 256]) * 400 for n in range(50_000)]
moved = move_to_huge_pages()
assert moved_bytes() >= moved * {HUGE_PAGE_BYTES}, (moved_bytes(), moved)
assert kept == [bytes([n % 256]) * 400 for n in range(50_000)]
"""


def mapping(start: int, size: int, rights: str = "rw-p", inode: int = 0, name: str = "") -> str:
    return f"{start:x}-{start + size:x} {rights} 00000000 00:00 {inode:<26} {name}".rstrip()


def test_what_is_loaded_moves_and_stays_what_it_is() -> None:
    subprocess.run([sys.executable, "-c", CODE], check=True, timeout=60)


def test_only_a_heap_that_may_be_written_is_moved() -> None:
    two = 2 * HUGE_PAGE_BYTES
    assert list(huge_pages([mapping(two, two)])) == [two, two + HUGE_PAGE_BYTES]
    assert list(huge_pages([mapping(two, two, name="[heap]")])) == [two, two + HUGE_PAGE_BYTES]
    for other in (
        mapping(two, two, name="[stack]"),
        mapping(two, two, rights="r-xp"),
        mapping(two, two, rights="---p"),
        mapping(two, two, rights="rw-s"),
        mapping(two, two, inode=17, name="/a file with a space"),
    ):
        assert list(huge_pages([other])) == [], other


@given(st.integers(1, 2**35), st.integers(1, 5 * 2**9))
def test_each_lies_whole_within_its_mapping(page: int, pages: int) -> None:
    start, size = page * 4096, pages * 4096
    found = list(huge_pages([mapping(start, size)]))
    assert all(at % HUGE_PAGE_BYTES == 0 and start <= at <= start + size - HUGE_PAGE_BYTES for at in found)
    assert size - len(found) * HUGE_PAGE_BYTES < 2 * HUGE_PAGE_BYTES
