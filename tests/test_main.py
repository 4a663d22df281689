"""`python -m relay`."""

import subprocess

from relay import __version__
from tests.support.daemons import RELAY


def test_it_is_the_same_as_the_command_relay() -> None:
    done = subprocess.run([*RELAY, "--version"], capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout == f"relay, version {__version__}\n"
