"""Has what the start has loaded moved into huge pages, of which the processor remembers more than of small ones.

Every frame goes through some hundred functions and their tables, which lie all over the heap, and after each rest the
processor has forgotten where: it walks the page tables for each page of 4 KiB, and on a virtual machine those of the
host as well. What one page of 2 MiB holds is found with one walk.

Only what is whole by now is moved: a page that is filled later by a call is not, as to move it would stop all audio.
Linux from 6.1 on does so when it is asked (madvise(2), MADV_COLLAPSE), whatever its own setting for huge pages is; any
other goes on with small ones.
"""

import ctypes
from collections.abc import Iterable, Iterator
from pathlib import Path

HUGE_PAGE_BYTES = 2**21
_MADV_COLLAPSE = 25


def move_to_huge_pages() -> int:
    """Move what this process has loaded; returns how many huge pages that are, 0 where it cannot be done.

    Blocks for some ms a page. To be called at the end of the start.
    """
    madvise = getattr(ctypes.CDLL(None), "madvise", None)
    try:
        mappings = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return 0
    if madvise is None:
        return 0
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return sum(madvise(at, HUGE_PAGE_BYTES, _MADV_COLLAPSE) == 0 for at in huge_pages(mappings))


def huge_pages(mappings: Iterable[str]) -> Iterator[int]:
    """The addresses of the huge pages that fit into what a process may write and has of no file (proc(5), pid/maps)."""
    for mapping in mappings:
        span, rights, _, _, inode, *name = mapping.split(maxsplit=5)
        if rights != "rw-p" or inode != "0" or name not in ([], ["[heap]"]):
            continue
        start, end = (int(address, 16) for address in span.split("-"))
        first = -(-start // HUGE_PAGE_BYTES) * HUGE_PAGE_BYTES
        yield from range(first, end - HUGE_PAGE_BYTES + 1, HUGE_PAGE_BYTES)
