"""The commands of `relay`: each reads its arguments and calls the function that does the work.

A command loads its own part of the program only when it is called: `relay --help` waits for none of them.
"""

import gc

import click

from relay import __version__
from relay.cli import accounts, calls, daemon, measured, simulated

COMMANDS = [
    *(daemon.serve, daemon.check, daemon.setup),
    *(simulated.assistant, simulated.call, simulated.lab, simulated.demo),
    *(calls.tail, calls.top, calls.report, calls.replay),
    *(measured.bench, measured.vad),
    accounts.probe,
]


@click.group(commands=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="relay")
def main() -> None:
    """Relay live calls between telephones or browsers and a voice assistant."""


def run() -> None:
    """Be the program: this process is the command's.

    The garbage collector rests until the command is loaded (`finish` of `relay.cli.options`): nothing of that is
    garbage, and to look for some took a seventh of the CPU that it takes the daemon to start (measured).
    """
    gc.disable()
    main()
