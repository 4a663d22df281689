"""File systems that tests fill, freeze and make read-only. They need the right to mount, and are skipped without.

`files_of_at_most` needs none.
"""

import resource
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of 1 MB in memory, mounted there: a new store and its journal take 260 KB."""
    folder.mkdir()
    _mount(["-t", "tmpfs", "-o", "size=1m", "none"], folder)
    try:
        yield folder
    finally:
        _unmount(folder)


@contextmanager
def files_of_at_most(n_bytes: int) -> Iterator[None]:
    """What would make a file of this process longer fails (setrlimit(2), RLIMIT_FSIZE)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def freezable_disk(folder: Path) -> Iterator[Path]:
    """A file system in a file, which `frozen` stops."""
    folder.mkdir()
    image = folder.with_suffix(".image")
    with image.open("wb") as file:
        file.truncate(16 * 1024 * 1024)
    if shutil.which("mkfs.ext4") is None or shutil.which("fsfreeze") is None:
        pytest.skip("no tools to make and freeze a file system")
    subprocess.run(["mkfs.ext4", "-q", image], check=True)
    _mount(["-o", "loop", str(image)], folder)
    try:
        yield folder
    finally:
        _unmount(folder)


@contextmanager
def frozen(disk: Path) -> Iterator[None]:
    """Whoever writes to this disk waits, in the kernel, until the block is left."""
    subprocess.run(["fsfreeze", "--freeze", disk], check=True)
    try:
        yield
    finally:
        subprocess.run(["fsfreeze", "--unfreeze", disk], check=True)


def fill(disk: Path) -> Path:
    """Leave no byte of it free. Returns the file that takes the room."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(1024))
    return filler


def remount(disk: Path, how: str) -> None:
    """`how` is "ro" or "rw"."""
    subprocess.run(["mount", "-o", f"remount,{how}", disk], check=True)


def _mount(how: list[str], folder: Path) -> None:
    if shutil.which("mount") is None or subprocess.run(["mount", *how, folder], capture_output=True).returncode:  # noqa: PLW1510
        pytest.skip("no right to mount a file system")


def _unmount(folder: Path) -> None:
    subprocess.run(["umount", "--lazy", folder], check=True)
